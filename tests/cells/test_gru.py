import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from problems import draw_gru

import gru_jax as gj
from gru_jax.ops.activations import ACTIVATIONS

RESETS = ("before", "after")


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.usefixtures("x64")
def test_the_gates_are_the_equations(rng, reset, batch):
    params, x, h = draw_gru(rng, reset, np.float64, batch=batch)
    r, z, c, h_next = reference.gates(params, np.asarray(x), np.asarray(h))
    np.testing.assert_allclose(gj.reset_gate(params, x, h), r, rtol=1e-13)
    np.testing.assert_allclose(gj.update_gate(params, x, h), z, rtol=1e-13)
    np.testing.assert_allclose(gj.candidate(params, x, h, jnp.asarray(r)), c, rtol=1e-12)
    got = gj.hidden_state(h, jnp.asarray(z), jnp.asarray(c))
    np.testing.assert_allclose(got, h_next, rtol=1e-12)
    cell = gj.gru(5, reset=reset, dtype=jnp.float64)
    np.testing.assert_allclose(cell.step(params, x, h), h_next, rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.usefixtures("x64")
def test_an_activation_is_the_function_of_its_name(rng, name):
    a = rng.normal(0, 4, 1000)
    np.testing.assert_allclose(ACTIVATIONS[name](a), reference.ACTIVATIONS[name](a), rtol=1e-12)
    half = ACTIVATIONS[name](jnp.asarray(a, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.usefixtures("x64")
def test_activations_and_clip_are_in_the_equations_where_they_belong(rng, reset, clip):
    params, x, h = draw_gru(rng, reset, np.float64)
    names = {"activation": "softplus", "gate_activation": "hard_sigmoid"}
    functions = {option: reference.ACTIVATIONS[name] for option, name in names.items()}
    r, z, c, h_next = reference.gates(params, np.asarray(x), np.asarray(h), **functions)
    gate = {"activation": names["gate_activation"]}
    np.testing.assert_allclose(gj.reset_gate(params, x, h, **gate), r, rtol=1e-12)
    np.testing.assert_allclose(gj.update_gate(params, x, h, **gate), z, rtol=1e-12)
    got = gj.candidate(params, x, h, jnp.asarray(r), activation=names["activation"])
    np.testing.assert_allclose(got, c, rtol=1e-12)
    if clip:
        assert (np.abs(h_next) > clip).any()
        h_next = np.clip(h_next, -clip, clip)
        kept = gj.hidden_state(h, jnp.asarray(z), jnp.asarray(c), clip=clip)
        np.testing.assert_allclose(kept, h_next, rtol=1e-12)
    options = {"reset": reset, "clip": clip, "dtype": jnp.float64}
    by_name = gj.gru(5, **names, **options)
    by_function = gj.gru(
        5, activation=jax.nn.softplus, gate_activation=jax.nn.hard_sigmoid, **options
    )
    for cell in (by_name, by_function):
        np.testing.assert_allclose(cell.step(params, x, h), h_next, rtol=1e-12)
        hs, _ = gj.unroll(cell, params, x[:, None], h)
        np.testing.assert_allclose(hs[:, 0], h_next, rtol=1e-12)


def test_only_the_equations_own_activations_have_the_derivative():
    derivative = gj.gru(5).fast.derivative
    assert derivative is not None
    own = gj.gru(5, activation=jnp.tanh, gate_activation=jax.nn.sigmoid)
    assert own.fast.derivative == derivative
    for options in ({"activation": "relu"}, {"gate_activation": "hard_sigmoid"}):
        fast = gj.gru(5, **options).fast
        assert fast.derivative is None
        assert fast.gru is None
    clipped = gj.gru(5, clip=1.0).fast
    assert (clipped.gru, clipped.clip) == (gj.gru(5).fast.gru, 1.0)
    assert clipped.derivative not in (None, derivative)


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.usefixtures("x64")
def test_the_rule_of_clipped_states_is_the_derivative_of_the_loop(reset, rng):
    cell = gj.gru(5, reset=reset, clip=0.3, dtype=jnp.float64)
    params, *_ = draw_gru(rng, reset, np.float64)
    xs, h0 = jnp.asarray(rng.normal(size=(2, 7, 3))), jnp.asarray(rng.normal(size=(2, 5)))
    noise = {"key": jax.random.key(0), "zoneout": 0.2, "recurrent_dropout": 0.3}

    def loss(params, xs, h0, derivative):
        hs, _ = gj.unroll(cell, params, xs, h0, derivative=derivative, **noise)
        return jnp.sin(hs).sum()

    assert 0.2 < (jnp.abs(gj.unroll(cell, params, xs, h0)[0]) == 0.3).mean() < 0.9
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)), static_argnums=3)
    rule, loop = (jax.tree.leaves(gradient(params, xs, h0, way)) for way in ("rule", "autodiff"))
    for a, b in zip(rule, loop, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_every_bias_of_the_after_form_reaches_its_own_gate(rng):
    params, x, h = draw_gru(rng, "after", np.float64)
    for name in ("b_r", "b_z", "b_c", "b_h"):
        moved = params._replace(**{name: getattr(params, name) + 0.1})
        h_next = reference.gates(moved, np.asarray(x), np.asarray(h))[-1]
        cell = gj.gru(5, reset="after", dtype=jnp.float64)
        np.testing.assert_allclose(cell.step(moved, x, h), h_next, rtol=1e-12)
        assert np.abs(h_next - np.asarray(cell.step(params, x, h))).max() > 1e-4


def test_b_h_is_there_in_the_after_form_alone():
    key = jax.random.key(0)
    assert gj.gru(5).init(key, 3).b_h is None
    assert gj.gru(5, reset="after").init(key, 3).b_h.shape == (5,)


def test_parameters_count_three_gates():
    params = gj.gru(64).init(jax.random.key(0), 12)
    assert gj.count_parameters(params) == 3 * (76 * 64 + 64)


def test_recurrent_rows_are_orthogonal_and_input_rows_within_glorots_bound():
    params = gj.gru(8).init(jax.random.key(1), 3)
    for W in (params.W_r, params.W_z, params.W_c):
        np.testing.assert_allclose(W[3:].T @ W[3:], np.eye(8), atol=1e-5)
        bound = np.sqrt(6 / (3 + 8))
        assert 0.7 * bound < jnp.abs(W[:3]).max() <= bound
    pairs = (params.W_r, params.W_z), (params.W_z, params.W_c), (params.W_c, params.W_r)
    assert not any(np.allclose(a, b) for a, b in pairs)
    assert all(not b.any() for b in (params.b_r, params.b_z, params.b_c))


def test_init_uniform_has_pytorchs_bound_and_spread():
    cell = gj.gru(
        100,
        kernel_init=gj.init_uniform,
        recurrent_init=gj.init_uniform,
        bias_init=gj.init_uniform,
    )
    for leaf in jax.tree.leaves(cell.init(jax.random.key(0), 50)):
        assert 0.09 < jnp.abs(leaf).max() <= 0.1
        assert abs(leaf.mean()) < 0.02
        assert leaf.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.15)


def test_init_chrono_spreads_time_constants_evenly_over_its_range():
    b_z = gj.init_chrono(600, 10)(jax.random.key(0), (20_000,), jnp.float32)
    times = 1 / reference.sigmoid(np.asarray(b_z, float))
    assert times.min() >= 10 - 1e-2
    assert times.max() <= 600 + 1e-2
    np.testing.assert_allclose(
        np.quantile(times, [0.25, 0.5, 0.75]), [157.5, 305, 452.5], rtol=0.03
    )


def test_update_bias_init_is_for_b_z_alone():
    cell = gj.gru(8, reset="after", update_bias_init=gj.init_chrono(600))
    params = cell.init(jax.random.key(0), 3)
    assert (params.b_z < 0).all()
    assert not any(b.any() for b in (params.b_r, params.b_c, params.b_h))


def test_half_precision_follows_the_equations(rng):
    params, x, h = draw_gru(rng, "before", jnp.bfloat16)
    exact = reference.gates(params, np.asarray(x, float), np.asarray(h, float))[-1]
    got = gj.gru(5, dtype=jnp.bfloat16).step(params, x, h)
    np.testing.assert_allclose(np.asarray(got, float), exact, atol=4 * 2**-8)
