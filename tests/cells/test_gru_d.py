from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import check_dtype, check_unroll, draw, join
from refusals import refused

import gru_jax as gj
from gru_jax.testing import check_cell

FEATURES = 3
PARAMS = gj.gru_d(64).init(jax.random.key(0), 12)
X, H, LAST = jnp.zeros((4, 12)), jnp.zeros((4, 64)), jnp.zeros((4, 4))


def draw_gaps(rng, batch=(4,), dtype=jnp.float64):
    """Returns a cell, random parameters, inputs of which half are missing, and a state."""
    cell = gj.gru_d(5, dtype=dtype)
    params, xs, state = draw(rng, cell, 3 * FEATURES, batch=batch)
    values = rng.normal(size=(*batch, 7, FEATURES))
    values[rng.random(values.shape) < 0.5] = np.nan
    times = np.cumsum(rng.uniform(0, 2, (*batch, 7)), -1)
    inputs = gj.gru_d_inputs(jnp.asarray(values, dtype), jnp.asarray(times, dtype))
    assert inputs.shape == xs.shape
    return cell, params, inputs, state


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.usefixtures("x64")
def test_a_step_is_the_equations(rng, batch):
    cell, params, xs, state = draw_gaps(rng, batch)
    want = reference.gru_d_gates(params, np.asarray(xs[..., 3, :]), join(state))[-1]
    np.testing.assert_allclose(join(cell.step(params, xs[..., 3, :], state)), want, rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_unroll_is_the_numpy_loop(rng):
    cell, *problem = draw_gaps(rng)
    check_unroll(rng, cell, reference.gru_d_gates, *problem)


@pytest.mark.usefixtures("x64")
def test_each_parameter_reaches_its_own_place(rng):
    cell, params, xs, _ = draw_gaps(rng)
    start = join(cell.initial_state(params, xs[:, 0].shape))
    np.testing.assert_array_equal(start[:, 5:], np.tile(params.mean, (4, 1)))
    before = join(gj.unroll(cell, params, xs)[1])
    leaves, tree = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        moved = tree.unflatten([*leaves[:i], leaf + 0.1, *leaves[i + 1 :]])
        first = join(cell.initial_state(moved, xs[:, 0].shape))
        steps = np.ones((4, 7), bool)
        want = reference.unroll(moved, np.asarray(xs), first, steps, gates=reference.gru_d_gates)
        _, last = gj.unroll(cell, moved, xs)
        np.testing.assert_allclose(join(last), want[1], rtol=1e-10, atol=1e-13)
        assert np.abs(want[1] - before).max() > 1e-4


@pytest.mark.usefixtures("x64")
def test_without_gaps_and_decay_it_is_a_gru(rng):
    cell, params, *_ = draw_gaps(rng)
    params = params._replace(W_h=0 * params.W_h, b_h=0 * params.b_h)
    values = jnp.asarray(rng.normal(size=(4, 7, FEATURES)))
    xs = gj.gru_d_inputs(values, jnp.arange(28.0).reshape(4, 7))
    hs, last = gj.unroll(cell, params, xs)
    want, _ = gj.unroll(
        gj.gru(5, dtype=jnp.float64),
        params.gru,
        jnp.concatenate([values, jnp.ones_like(values)], -1),
    )
    np.testing.assert_allclose(hs.h, want, rtol=1e-11)
    np.testing.assert_array_equal(last.x_last, values[:, -1])


@pytest.mark.parametrize("memory", ["gates", "states", "chunked"])
def test_missing_values_are_never_read(rng, memory):
    """NaN there changes no state and no gradient, not even that of the values."""
    cell, params, xs, state = draw_gaps(rng, dtype=jnp.float32)
    values, mask, since = jnp.split(xs, 3, -1)
    dirty = jnp.concatenate([jnp.where(mask == 1, values, jnp.nan), mask, since], -1)
    assert jnp.isnan(dirty).any()

    def loss(params, xs, state):
        results = gj.unroll(cell, params, xs, state, memory=memory)
        return sum((a**2).sum() for a in jax.tree.leaves(results)), results

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    got, want = gradient(params, dirty, state), gradient(params, xs, state)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert not got[0][1][..., :FEATURES][mask == 0].any()


def test_the_output_is_h_and_gradients_reach_the_mean(rng):
    cell, params, xs, _ = draw_gaps(rng, dtype=jnp.float32)
    layer = gj.recurrent(cell)
    ys, state = layer.apply(params, xs)
    np.testing.assert_array_equal(ys, gj.unroll(cell, params, xs)[0].h)
    assert isinstance(state, gj.GRUDState)
    grads = jax.grad(lambda params: layer.apply(params, xs)[0].sum())(params)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    one = cell.initial_state(params, (9,))
    assert one.x_last.unsafe_buffer_pointer() != params.mean.unsafe_buffer_pointer()


HALF = pytest.param(jnp.float16, marks=pytest.mark.slow("compiles in half precision"))


@pytest.mark.parametrize("dtype", [HALF, jnp.bfloat16, jnp.float64])
@pytest.mark.usefixtures("x64")
def test_results_have_the_dtype_of_the_parameters(rng, dtype):
    check_dtype(rng, partial(gj.gru_d, 5), dtype, 3 * FEATURES)


@pytest.mark.slow("compiles many derivatives")
def test_it_passes_the_battery():
    check_cell(gj.gru_d(5), 3 * FEATURES)


def test_it_begins_with_slow_decays():
    params = gj.gru_d(200).init(jax.random.key(0), 30)
    assert params.gru.W_r.shape == (2 * 10 + 200, 200)
    assert 0 <= params.w_x.min() < params.w_x.max() < 0.1
    assert 0 <= params.W_h.min() < 0.0005 < 0.0095 < params.W_h.max() < 0.01
    for leaf in (params.b_x, params.b_h, params.mean):
        assert not leaf.any()


CASES = {
    "gru_d: hidden_size must be a whole number from 1, got 0.": lambda: gj.gru_d(0),
    "gru_d: dtype must be a floating type, got int32.": lambda: gj.gru_d(3, dtype=jnp.int32),
    "gru_d: input_size must be a whole number from 1, got 0.": lambda: gj.gru_d(3).init(
        jax.random.key(0), 0
    ),
    "gru_d: input_size must be 3 * features, got 7.": lambda: gj.gru_d(3).init(
        jax.random.key(0), 7
    ),
    "gru_d: params must be GRUDParams, got a GRUParams.": lambda: gj.unroll(
        gj.gru_d(64), PARAMS.gru, X
    ),
    "gru_d: params.gru.W_r must be [joint, 65] to match the cell, got (72, 64).": (
        lambda: gj.unroll(gj.gru_d(65), PARAMS, X)
    ),
    "gru_d: params.gru.b_z must be (64,) float32 to match params.gru.W_r (72, 64), "
    "got (63,) float32.": lambda: gj.unroll(
        gj.gru_d(64), PARAMS._replace(gru=PARAMS.gru._replace(b_z=jnp.zeros(63))), X
    ),
    'gru_d: params.gru.b_h must be None with reset="before", got an array.': lambda: gj.unroll(
        gj.gru_d(64), PARAMS._replace(gru=PARAMS.gru._replace(b_h=jnp.zeros(64))), X
    ),
    "gru_d: params.gru.W_r must be (74, 64) float32 to match params.mean (5,), "
    "got (72, 64) float32.": lambda: gj.unroll(gj.gru_d(64), PARAMS._replace(mean=jnp.zeros(5)), X),
    "gru_d: params.W_h must be (4, 64) float32 to match params.mean (4,), got (4, 64) bfloat16.": (
        lambda: gj.unroll(gj.gru_d(64), PARAMS._replace(W_h=PARAMS.W_h.astype(jnp.bfloat16)), X)
    ),
    "gru_d: x must be [*batch, 12] float32 to match params.mean (4,), got (4, 11) float32.": (
        lambda: gj.gru_d(64).step(PARAMS, X[:, 1:], gj.GRUDState(H, LAST))
    ),
    "gru_d: state.h must be [*batch, 64] float32 to match params.b_h (64,), "
    "got (4, 63) float32.": lambda: gj.gru_d(64).step(PARAMS, X, gj.GRUDState(H[:, 1:], LAST)),
    "gru_d: state.x_last must have the batch axes of x (4, 12), got (3, 4).": (
        lambda: gj.gru_d(64).step(PARAMS, X, gj.GRUDState(H, LAST[1:]))
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()


@pytest.mark.parametrize("name", ["zoneout", "recurrent_dropout"])
def test_noise_on_a_state_that_holds_data_is_refused(name):
    cell = gj.gru_d(4)
    params = cell.init(jax.random.key(0), 6)
    message = f"unroll: {name} must be 0 for gru_d(4), whose state holds data, got 0.5."
    with refused(message):
        gj.unroll(cell, params, jnp.zeros((2, 3, 6)), **{name: 0.5})


@pytest.mark.untyped
def test_a_state_of_another_kind_is_refused():
    cell = gj.gru_d(4)
    params = cell.init(jax.random.key(0), 6)
    with refused("gru_d: state must be a GRUDState, got a tuple."):
        cell.step(params, jnp.zeros((2, 6)), (jnp.zeros((2, 4)), jnp.zeros((2, 2))))
