"""The NNX module as a Flax user meets it; its numbers are tested in test_modules.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from module_cases import BATCH, HIDDEN, INPUT, KEY, TIME, XS, draw, draw_data, make_deep
from refusals import refused

import gru_jax as gj
from gru_jax.nnx import GRU


def test_parameters_stand_under_their_names():
    gru = make_deep(reset="after")
    found = {
        "/".join(path): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(gru, nnx.Param))
    }
    sizes = {"layers_0": INPUT, "layers_1": 2 * HIDDEN}
    assert found == {
        f"{layer}/{direction}/{name}": (size + HIDDEN, HIDDEN) if name[0] == "W" else (HIDDEN,)
        for layer, size in sizes.items()
        for direction in ("forward", "backward")
        for name in gj.GRUParams._fields
    }
    assert isinstance(gru.layers_0.forward.W_r, nnx.Param)
    assert not hasattr(make_deep().layers_0.forward, "b_h")


def test_parameters_begin_as_the_initialisers_say():
    three = jax.nn.initializers.constant(3)
    gru = GRU(
        INPUT,
        HIDDEN,
        kernel_init=three,
        update_bias_init=three,
        param_dtype=jnp.bfloat16,
        rngs=nnx.Rngs(0),
    )
    params = gru.params()
    assert {leaf.dtype for leaf in params[:-1]} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(params.W_c[:INPUT], 3)
    U = np.asarray(params.W_c[INPUT:], np.float32)
    np.testing.assert_allclose(U @ U.T, np.eye(HIDDEN), atol=0.03)
    np.testing.assert_array_equal(params.b_z, 3)
    np.testing.assert_array_equal(params.b_r, 0)
    leaves = [np.asarray(a) for a in jax.tree.leaves(make_deep().params()) if a.ndim > 1]
    assert len({leaf[-1].tobytes() for leaf in leaves}) == len(leaves) == 12


def test_values_and_gradients_are_those_of_flax_own_cell(rng):
    """`nnx.GRUCell` has no b_h, and weighs the old state with z: its z columns are negated."""
    params = draw(rng, 1, False, "after")
    params = params._replace(b_h=0 * params.b_h)
    xs, h0 = draw_data(rng)
    gru = GRU(INPUT, HIDDEN, reset="after", rngs=nnx.Rngs(0))
    gru.set_params(gru.net(), params)
    cell = nnx.GRUCell(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    peer = nnx.RNN(cell)
    weights = [params.W_r, -params.W_z, params.W_c]
    cell.dense_i.kernel.set_value(jnp.concatenate([W[:INPUT] for W in weights], 1))
    cell.dense_h.kernel.set_value(jnp.concatenate([W[INPUT:] for W in weights], 1))
    cell.dense_i.bias.set_value(jnp.concatenate([params.b_r, -params.b_z, params.b_c]))
    weigh = jnp.asarray(rng.normal(size=(BATCH, TIME, HIDDEN)), jnp.float32)

    def gradient(call):
        def loss(net, xs, h0):
            ys = call(net, xs, h0)
            return (weigh * ys).sum(), ys

        return nnx.jit(nnx.grad(loss, argnums=(0, 1, 2), has_aux=True))

    (mine, *dx), ys = gradient(lambda net, xs, h0: net(xs, h0=h0)[0])(gru, xs, h0)
    (theirs, *dx_peer), ys_peer = gradient(lambda net, xs, h0: net(xs, initial_carry=h0))(
        peer, xs, h0
    )
    np.testing.assert_allclose(ys, ys_peer, atol=2e-6)
    mine = jax.tree.map(lambda leaf: leaf[...], nnx.to_pure_dict(mine))["layers_0"]["forward"]
    theirs = nnx.to_pure_dict(theirs)["cell"]
    signs = {"r": 1, "z": -1, "c": 1}
    i, h, b = (
        jnp.split(theirs[part][kind], 3, -1)
        for part, kind in (("dense_i", "kernel"), ("dense_h", "kernel"), ("dense_i", "bias"))
    )
    for (gate, sign), W_x, W_h, bias in zip(signs.items(), i, h, b, strict=True):
        want = sign * jnp.concatenate([W_x, W_h])
        np.testing.assert_allclose(mine[f"W_{gate}"], want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine[f"b_{gate}"], sign * bias, rtol=1e-4, atol=1e-5)
    for a, b in zip(dx, dx_peer, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_train_and_eval_switch_noise_whose_keys_advance():
    gru = make_deep()
    one, two = gru(XS)[0], gru(XS)[0]
    assert np.abs(one - two).max() > 1e-2
    still, _ = gru(XS, deterministic=True)
    view = nnx.view(gru, deterministic=True)
    np.testing.assert_array_equal(view(XS)[0], still)
    assert not gru.deterministic
    gru.eval()
    np.testing.assert_array_equal(gru(XS)[0], still)
    gru.train()
    assert np.abs(gru(XS)[0] - still).max() > 1e-2
    np.testing.assert_array_equal(make_deep()(XS)[0], one)


def test_keys_may_be_given_in_the_call():
    """And the draws are those of the net with the same key."""
    gru = make_deep(bidirectional=False, recurrent_dropout=0.1)
    want, _ = gru.net().apply(gru.params(), XS, key=KEY)
    np.testing.assert_array_equal(gru(XS, rngs=KEY)[0], want)
    rngs = nnx.Rngs(dropout=3)
    want, _ = gru.net().apply(gru.params(), XS, key=nnx.Rngs(dropout=3).dropout())
    np.testing.assert_array_equal(gru(XS, rngs=rngs)[0], want)
    assert np.abs(gru(XS, rngs=rngs.dropout)[0] - want).max() > 1e-2


def test_the_keys_that_it_was_given_stay_where_they_are():
    rngs = nnx.Rngs(0, dropout=1)
    gru = GRU(INPUT, HIDDEN, num_layers=2, dropout=0.3, rngs=rngs)
    before = rngs.dropout.count[...]
    gru(XS)
    assert rngs.dropout.count[...] == before


def test_options_are_refused_when_it_is_made():
    with pytest.raises(ValueError, match=r"^GRU: dropout must be 0 with num_layers=1"):
        GRU(INPUT, HIDDEN, dropout=0.1, rngs=nnx.Rngs(0))


def test_without_noise_nothing_random_is_kept():
    gru = GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    assert not nnx.to_flat_state(nnx.state(gru, nnx.RngState))
    assert nnx.to_flat_state(nnx.state(make_deep(), nnx.RngState))


def test_weights_for_other_inputs_are_refused_and_change_nothing(rng):
    gru = GRU(INPUT + 1, HIDDEN, rngs=nnx.Rngs(0))
    before = jax.tree.map(np.asarray, gru.params())
    with refused("GRU: params must be for 5 inputs, as input_size says, got those for 4."):
        gru.set_params(gru.net(), draw(rng, 1, False))
    jax.tree.map(np.testing.assert_array_equal, gru.params(), before)


def test_in_training_a_key_must_come_from_somewhere():
    gru = GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    gru.zoneout = 0.5
    with pytest.raises(ValueError, match=r"^GRU: rngs must be given in training, for the module"):
        gru(XS)
    gru(XS, rngs=KEY)
    gru(XS, deterministic=True)


@pytest.mark.parametrize("sizes", [(0, 5), (4.0, 5), (4, 0), (4, 5.0)])
def test_sizes_are_whole_numbers(sizes):
    name = "hidden_size" if sizes[0] == 4 and type(sizes[0]) is int else "input_size"
    with pytest.raises(ValueError, match=f"^gru: {name} must be a whole number from 1, got "):
        GRU(*sizes, rngs=nnx.Rngs(0))
    assert GRU(np.int64(4), np.int64(5), num_layers=np.int64(2), rngs=nnx.Rngs(0))


def test_tabulate_shows_the_number_of_parameters_and_leaves_the_module_whole():
    gru = GRU(INPUT, HIDDEN, num_layers=2, reset="after", rngs=nnx.Rngs(0))
    text = nnx.tabulate(gru, XS, console_kwargs={"width": 160, "force_terminal": False})
    sizes = [3 * (size + HIDDEN + 1) * HIDDEN + HIDDEN for size in (INPUT, HIDDEN)]
    assert f"Total Parameters: {sum(sizes)}" in text
    gru(XS)


def test_without_random_streams_nothing_is_built():
    with pytest.raises(ValueError, match=r"^GRU: rngs must be an nnx\.Rngs, got a NoneType\.$"):
        GRU(INPUT, HIDDEN, rngs=None)
