"""The linen module as a Flax user meets it; its numbers are tested in test_modules.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors
from flax import linen as nn
from module_cases import BATCH, HIDDEN, INPUT, KEY, TIME, XS, draw, draw_data

from gru_jax.linen import GRU

DEEP = GRU(HIDDEN, num_layers=2, bidirectional=True, dropout=0.3)


def shapes(tree):
    return jax.tree.map(jnp.shape, tree)


def test_init_gives_named_parameters_and_apply_one_shape_of_results():
    variables = DEEP.init(KEY, XS, deterministic=True)
    biases = {name: (HIDDEN,) for name in ("b_r", "b_z", "b_c")}
    first, second = (
        {name: (size + HIDDEN, HIDDEN) for name in ("W_r", "W_z", "W_c")} | biases
        for size in (INPUT, 2 * HIDDEN)
    )
    assert shapes(variables) == {
        "params": {
            "layers_0": {"forward": first, "backward": first},
            "layers_1": {"forward": second, "backward": second},
        }
    }
    after = GRU(HIDDEN, reset="after").init(KEY, XS)["params"]["layers_0"]["forward"]
    assert after["b_h"].shape == (HIDDEN,)
    abstract = jax.eval_shape(lambda: DEEP.init(KEY, XS, deterministic=True))
    assert shapes(abstract) == shapes(variables)
    ys, _ = DEEP.apply(variables, XS, deterministic=True)
    assert ys.shape == (BATCH, TIME, 2 * HIDDEN)


def test_parameters_begin_as_the_initialisers_say():
    three = jax.nn.initializers.constant(3)

    gru = GRU(HIDDEN, kernel_init=three, update_bias_init=three, param_dtype=jnp.bfloat16)
    params = gru.params_from(gru.init(KEY, XS))
    assert {leaf.dtype for leaf in params[:-1]} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(params.W_c[:INPUT], 3)
    U = np.asarray(params.W_c[INPUT:], np.float32)
    np.testing.assert_allclose(U @ U.T, np.eye(HIDDEN), atol=0.03)
    np.testing.assert_array_equal(params.b_z, 3)
    np.testing.assert_array_equal(params.b_r, 0)


def test_every_layer_direction_and_gate_begins_differently():
    leaves = [a for a in jax.tree.leaves(DEEP.init(KEY, XS, deterministic=True)) if a.ndim > 1]
    assert len({leaf[-1].tobytes() for leaf in map(np.asarray, leaves)}) == len(leaves) == 12


def test_values_and_gradients_are_those_of_flax_own_cell(rng):
    """In both directions; `nn.GRUCell` weighs the old state with z, so its z rows are negated."""
    params = draw(rng, 1, True, "after")
    xs, h0 = draw_data(rng, 1, True)
    gru = GRU(HIDDEN, bidirectional=True, reset="after")
    lengths = jnp.array([TIME, 4, 1])
    net = nn.Bidirectional(*(nn.RNN(nn.GRUCell(HIDDEN)) for _ in range(2)), return_carry=True)

    def peer(params, xs, h0):
        weights = {
            f"{name}_rnn": {
                "cell": {
                    "ir": {"kernel": p.W_r[:INPUT], "bias": p.b_r},
                    "iz": {"kernel": -p.W_z[:INPUT], "bias": -p.b_z},
                    "in": {"kernel": p.W_c[:INPUT], "bias": p.b_c},
                    "hr": {"kernel": p.W_r[INPUT:]},
                    "hz": {"kernel": -p.W_z[INPUT:]},
                    "hn": {"kernel": p.W_c[INPUT:], "bias": p.b_h},
                }
            }
            for name, p in params._asdict().items()
        }
        carry, ys = net.apply({"params": weights}, xs, initial_carry=h0, seq_lengths=lengths)
        valid = jnp.arange(TIME)[None, :, None] < lengths[:, None, None]
        return jnp.where(valid, ys, 0), carry

    def ours(params, xs, h0):
        return gru.apply(gru.variables_from(gru.net(), params), xs, h0=h0, lengths=lengths)

    weigh = jnp.asarray(rng.normal(size=(BATCH, TIME, 2 * HIDDEN)), jnp.float32)

    def loss(net):
        def of(*args):
            ys, h_last = net(*args)
            return (weigh * ys).sum() + sum(jnp.sin(h).sum() for h in jax.tree.leaves(h_last))

        return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))

    mine, theirs = (jax.tree.leaves(loss(net)(params, xs, h0)) for net in (ours, peer))
    assert all(np.abs(leaf).max() > 1e-3 for leaf in theirs)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours(params, xs, h0)[0], peer(params, xs, h0)[0], atol=2e-6)


def test_training_needs_its_key_and_one_word_about_determinism():
    variables = DEEP.init(KEY, XS, deterministic=True)
    rngs = {"dropout": KEY}
    with pytest.raises(errors.InvalidRngError):
        DEEP.apply(variables, XS, deterministic=False)
    with pytest.raises(ValueError, match='"deterministic" must be passed'):
        DEEP.apply(variables, XS, rngs=rngs)
    said = DEEP.clone(deterministic=False)
    with pytest.raises(ValueError, match='"deterministic" was passed'):
        said.apply(variables, XS, deterministic=False, rngs=rngs)
    one, _ = said.apply(variables, XS, rngs=rngs)
    np.testing.assert_array_equal(one, DEEP.apply(variables, XS, deterministic=False, rngs=rngs)[0])


def test_tabulate_shows_names_shapes_and_the_number_of_parameters():
    text = GRU(HIDDEN, reset="after").tabulate(KEY, XS, console_kwargs={"width": 120})
    assert "layers_0" in text
    assert "b_h" in text
    assert f"Total Parameters: {3 * (INPUT + HIDDEN + 1) * HIDDEN + HIDDEN}" in text


def test_streaming_may_come_first_and_parameters_are_shared_with_the_call():
    class Both(nn.Module):
        @nn.compact
        def __call__(self, xs):
            gru = GRU(HIDDEN, num_layers=2)
            y, _ = gru.step(xs[:, 0], gru.initial_state((BATCH, INPUT)))
            return y, gru(xs)[0]

    (y, ys), variables = Both().init_with_output(KEY, XS)
    assert list(variables["params"]) == ["GRU_0"]
    np.testing.assert_allclose(y, ys[:, 0], atol=1e-6)


def test_parameters_of_another_size_are_flax_own_error():
    variables = GRU(HIDDEN).init(KEY, XS)
    with pytest.raises(errors.ScopeParamShapeError, match="layers_0"):
        GRU(HIDDEN).apply(variables, XS[..., 1:])
    with pytest.raises(errors.ScopeParamNotFoundError, match="layers_1"):
        GRU(HIDDEN, num_layers=2).apply(variables, XS)


def test_variables_without_their_collection_are_refused():
    gru = GRU(HIDDEN)
    with pytest.raises(ValueError, match=r'must have the collection "params", got layers_0\.$'):
        gru.params_from(gru.init(KEY, XS)["params"])


def test_an_input_without_features_is_one_sentence():
    with pytest.raises(ValueError, match=r"^gru: input_size must be a whole number from 1, got 0"):
        GRU(HIDDEN).init(KEY, XS[..., :0])


def test_initialisation_leaks_no_tracer():
    with jax.checking_leaks():
        GRU(4).init(jax.random.key(0), jnp.ones((1, 3, 2)))
