"""PyTorch's GRUs: what they computed, from golden/torch.npz, beside ours with the same weights."""

import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import GOLDEN, same_bits, torch_case

import gru_jax as gj
from gru_jax import interop

CASES = sorted({key.split("/")[0] for key in GOLDEN.files})


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(name):
    state, golden = torch_case(name)
    net, params = interop.from_torch(state)
    assert isinstance(net, gj.Cell) == (name == "cell")
    xs, h0 = jnp.asarray(golden["xs"]), jnp.asarray(golden["h0"])
    tree = jax.tree.structure(net.initial_state(params, xs.shape if name == "cell" else (2, 3)))

    def run(params, xs, h0):
        if name == "cell":
            return {"ys": net.step(params, xs, h0)}
        ys, h_last = net.apply(params, xs, tree.unflatten(h0))
        return {"ys": ys, "h_n": jnp.stack(jax.tree.leaves(h_last))}

    def loss(*args):
        results = run(*args)
        return sum((golden[f"weigh_{k}"] * v).sum() for k, v in results.items()), results

    tolerance = 1e-12 if xs.dtype == jnp.float64 else 1e-5
    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    all_grads, results = differentiate(params, xs, h0)
    for key, value in results.items():
        assert value.dtype == xs.dtype
        np.testing.assert_allclose(value, golden[key], rtol=tolerance, atol=tolerance)
    *grads, xs_grad, h0_grad = jax.tree.leaves(all_grads)
    np.testing.assert_allclose(xs_grad, golden["grad.xs"], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(h0_grad, golden["grad.h0"], rtol=tolerance, atol=tolerance)
    # Gates and signs stand in gradients where they stand in weights.
    mine = interop.to_torch_state(net, jax.tree.unflatten(jax.tree.structure(params), grads))
    for key in state:
        theirs, ours = golden[f"grad.{key}"], np.array(mine[key])
        if key.startswith("bias_hh"):  # of r and z they are only added to the others
            ours[:8] = mine[key.replace("_hh", "_ih")][:8]
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_a_round_trip_gives_the_same_bits_and_biases_that_are_added_are_one(name):
    state, _ = torch_case(name)
    net, params = interop.from_torch(state)
    again = interop.to_torch_state(net, params, bias=name != "no-bias")
    assert list(again) == list(state)
    for key, value in state.items():
        if key.startswith("weight"):
            assert np.asarray(again[key]).tobytes() == value.tobytes()
        elif key.startswith("bias_ih"):
            added = value + np.where(np.arange(12) < 8, state[key.replace("_ih", "_hh")], 0)
            assert np.asarray(again[key]).tobytes() == added.tobytes()
        else:
            np.testing.assert_array_equal(again[key], np.where(np.arange(12) < 8, 0, value))
    net_again, params_again = interop.from_torch(again)
    assert net_again.architecture == net.architecture
    same_bits(params_again, params)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_signed_zeros_and_the_smallest_numbers_cross_and_come_back(rng, dtype):
    cell = gj.gru(4, reset="after", dtype=dtype)
    odd = [0.0, -0.0, 1e-40, -3e-39, 6e-8, 1.5, np.inf]
    params = jax.tree.map(
        lambda a: jnp.asarray(rng.choice(odd, a.shape), dtype), cell.init(jax.random.key(0), 3)
    )
    same_bits(interop.from_torch(interop.to_torch_state(cell, params))[1], params)


def test_a_gru_is_found_inside_a_larger_model():
    state, _ = torch_case("plain")
    larger = {f"encoder.gru.{k}": v for k, v in state.items()} | {"fc.weight": np.zeros((2, 4))}
    _, params = interop.from_torch(state)
    same_bits(interop.from_torch(larger)[1], params)
    two = larger | {f"decoder.{k}": v for k, v in state.items()}
    same_bits(interop.from_torch(two, name="encoder.gru")[1], params)
    same_bits(interop.from_torch({"epoch": 3, "state": two}, name="encoder.gru")[1], params)
    same_bits(interop.from_torch(two, name="gru")[1], params)
    same_bits(interop.from_torch(state | {"head.weight": np.zeros((2, 4))})[1], params)
    with pytest.raises(ValueError, match=r"got 'ru'"):
        interop.from_torch(two, name="ru")
    with pytest.raises(ValueError, match=r"name must be 'encoder.gru' or 'decoder', got None"):
        interop.from_torch(two)
    both = two | {f"best.{k}": v for k, v in two.items()}
    with pytest.raises(ValueError, match=r"got 'gru'"):
        interop.from_torch(both, name="gru")
    same_bits(interop.from_torch(both, name="encoder.gru")[1], params)


def rows(count):
    """Returns the state dict of another recurrent network: with so many rows a unit."""
    state, _ = torch_case("plain")
    return {k: np.ones((count * 4, *v.shape[1:]), "f") for k, v in state.items()}


def plain(**changes):
    state, _ = torch_case("plain")
    return {k: v for k, v in (state | changes).items() if v is not None}


def layers(inputs, dtypes=("f", "f")):
    """Returns the state dict of two layers, the second in both directions for so many inputs."""
    return {
        f"weight_{kind}_l{number}{way}": np.ones((12, size), dtypes[number])
        for number in (0, 1)
        for way, second in zip(("", "_reverse"), inputs, strict=True)
        for kind, size in (("ih", second if number else 3), ("hh", 4))
    }


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "there must be a GRU or an LSTM, got nothing."),
        (None, "source must be a module or a state dict, got a NoneType."),
        (gj.GRUParams, "source must be a module or a state dict, got GRUParams."),
        ("a.pt", "source must be a module or a state dict, got a str."),
        (
            plain(weight_ih_l1_reverse=np.ones((12, 4), "f")),
            "source must have all layers from 0, each in the directions of the first, got one too "
            "many or too few: weight_ih_l1_reverse.",
        ),
        (
            plain(**{"parametrizations.bias_hh_l0.original": np.ones(12, "f")}, bias_hh_l0=None),
            "source must have plain weights, got parametrizations of bias_hh_l0: torch.nn.utils."
            "parametrize.remove_parametrizations makes them plain.",
        ),
        ({"fc.weight": np.ones(3)}, "there must be a GRU or an LSTM, got fc.weight."),
        (
            rows(1),
            "source must be a GRU or an LSTM, with 3 or 4 x 4 rows for 4 units, got an RNN, with "
            "1 x 4.",
        ),
        (plain(weight_hr_l0=np.ones((2, 4), "f")), "proj_size of source must be 0, got an LSTM"),
        (plain(weight_hh_l0=np.ones((16, 4), "f")), "weight_hh_l0 must be (12, 4), got (16, 4)"),
        (plain(weight_ih_l0=np.ones((9, 3), "f")), "weight_ih_l0 must be (12, 3), got (9, 3)"),
        (plain(weight_hh_l0=None), "source must have weight_hh_l0, got none"),
        (plain(bias_hh_l0=None), "source must have bias_hh_l0, got none"),
        (plain(bias_hh_l0=np.ones(4, "f")), "bias_hh_l0 must be (12,), got (4,)"),
        (plain(bias_hh_l0=np.ones(12, int)), "bias_hh_l0 must be floating-point numbers"),
        (plain(bias_hh_l0=np.ones(12, np.float16)), "must have one dtype, got float16 and float32"),
        (
            plain(weight_hh_l0=np.ones((12, 4), np.float16)),
            "must have one dtype, got float16 and float32",
        ),
        (layers((8, 8), ("f", np.float16)), "must have one dtype, got float16 and float32"),
        (layers((8, 9)), "layer 1 must be for 8 inputs, the outputs of the layer before, got 9"),
        (plain(bias_hh_l0=np.ones(12)), "must be float32 while JAX holds 32 bits, got float64"),
        (
            plain(weight_hx_l0=np.ones((2, 4), "f")),
            "must be a GRU or an LSTM of PyTorch's, got one with weight_hx_l0, too.",
        ),
        (
            plain(weight_ih_l1=np.ones((12, 9), "f"), weight_hh_l1=np.ones((12, 4), "f")),
            "layer 1 must be for 4 inputs, the outputs of the layer before, got 9",
        ),
        (
            plain(weight_ih_l2=np.ones((12, 4), "f"), weight_hh_l2=np.ones((12, 4), "f")),
            "must have all layers from 0, each in the directions of the first, got one too many or "
            "too few: weight_ih_l1.",
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_is_one_sentence(state, message):
    with pytest.raises(ValueError, match=r"^from_torch: ") as error:
        interop.from_torch(state)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_dicts_that_hold_each_other_without_end_are_refused():
    twice = {}
    for _ in range(60):
        twice = {"a": twice, "b": twice}
    itself = {}
    itself["a"] = itself
    for endless in (twice, itself):
        with pytest.raises(ValueError, match="at most 100000 arrays in dicts 64 deep, got more"):
            interop.from_torch(endless)


def test_an_archive_with_pickles_in_it_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", weight_ih_l0=np.array([{}], object))
    with pytest.raises(ValueError, match=r"a\.npz must be a whole \.npz, without pickles"):
        interop.read(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("weight_ih_l0.npy", b"no array")
    with pytest.raises(ValueError, match=r"b\.npz must be a whole \.npz"):
        interop.read(tmp_path / "b.npz")
