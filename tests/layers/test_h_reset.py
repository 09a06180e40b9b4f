"""The state that a new segment begins with, given to layers: each cell takes its own part."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads
from refusals import refused

import gru_jax as gj
from gru_jax.layers.recurrent import Directions

BATCH, TIME, INPUT, HIDDEN = 3, 7, 4, 4
VALID = np.arange(TIME) < np.array([TIME, 5, 0])[:, None]
ONE = gj.recurrent(gj.gru(HIDDEN, dtype="float64"))
BOTH = gj.bidirectional(gj.gru(HIDDEN, dtype="float64"), merge="sum")


def draw_params(rng):
    leaves = reference.random_params(rng, INPUT, HIDDEN, "before")
    return gj.GRUParams(*(a if a is None else jnp.asarray(a) for a in leaves))


def draw_state(rng):
    return rng.normal(size=(BATCH, HIDDEN))


def draw_both(rng, draw):
    return Directions(draw(rng), draw(rng))


def draw_xs(rng):
    return rng.normal(size=(BATCH, TIME, INPUT)), rng.random((BATCH, TIME)) < 0.4


def loop(params, xs, h0, resets, h_reset, reverse=False):
    ends = {"resets": resets, "h_reset": h_reset, "reverse": reverse}
    return reference.unroll(params, xs, h0, VALID, **ends)


@pytest.mark.usefixtures("x64")
def test_each_layer_of_a_stack_and_each_direction_resets_to_its_own_state(rng):
    net = gj.stack(ONE, gj.dropout(0.5), BOTH)
    params = draw_params(rng), (), draw_both(rng, draw_params)
    h0, h_reset = ((draw_state(rng), (), draw_both(rng, draw_state)) for _ in range(2))
    xs, resets = draw_xs(rng)
    bounds = {"mask": VALID, "resets": resets, "h_reset": h_reset}
    ys, (first, _, last) = net.apply(params, xs, h0, **bounds)

    between, expected_first = loop(params[0], xs, h0[0], resets, h_reset[0])
    ahead, forward = loop(params[2][0], between, h0[2][0], resets, h_reset[2][0])
    back, backward = loop(params[2][1], between, h0[2][1], resets, h_reset[2][1], reverse=True)
    np.testing.assert_allclose(ys, ahead + back, atol=1e-12)
    expected = expected_first, Directions(forward, backward)
    chex.assert_trees_all_close((first, last), expected, atol=1e-12)

    traces = gj.trace(net, params, xs, h0, **bounds)
    begun = (resets & VALID)[..., None]
    starts = np.broadcast_to(h_reset[0][:, None], (*begun.shape[:2], HIDDEN))
    np.testing.assert_array_equal(np.where(begun, traces[0].h_before, starts), starts)


@pytest.mark.usefixtures("x64")
def test_steps_reset_to_it_as_the_whole_sequence_does(rng):
    net = gj.stack(gj.residual(ONE), gj.recurrent(gj.lstm(HIDDEN, dtype="float64")), gj.dense(2))
    params = jax.tree.map(lambda a: a.astype(float), net.init(jax.random.key(0), INPUT))
    state, h_reset = (
        jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), net.initial_state(params, s))
        for s in [(BATCH, INPUT)] * 2
    )
    xs, resets = draw_xs(rng)
    ys, last = net.apply(params, xs, state, resets=resets, h_reset=h_reset)
    by_hand = state
    for x, begins, expected in zip(*(np.swapaxes(a, 0, 1) for a in (xs, resets, ys)), strict=True):
        y, state = net.step(params, x, state, begins=begins, h_reset=h_reset)
        by_hand = jax.tree.map(partial(jnp.where, begins[:, None]), h_reset, by_hand)
        y_by_hand, by_hand = net.step(params, x, by_hand)
        np.testing.assert_allclose(y, expected, atol=1e-12)
        np.testing.assert_allclose(y, y_by_hand, atol=1e-12)
    chex.assert_trees_all_close(state, last, atol=1e-12)
    other, _ = net.apply(params, xs, resets=resets)
    assert np.abs(other - ys).max() > 0.01


@pytest.mark.usefixtures("x64")
def test_it_has_a_gradient_in_every_part(rng):
    params = draw_params(rng), draw_both(rng, draw_params)
    h_reset = draw_state(rng), draw_both(rng, draw_state)
    xs, resets = draw_xs(rng)
    net = gj.stack(ONE, BOTH)

    @jax.jit
    def loss(h_reset):
        return jnp.sin(net.apply(params, xs, resets=resets, h_reset=h_reset)[0]).sum()

    check_grads(loss, (h_reset,), 1, modes=["rev"], atol=1e-6, rtol=1e-6)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(jax.grad(loss)(h_reset)))


@pytest.mark.usefixtures("x64")
def test_it_goes_before_a_learned_initial_state(rng):
    cell = gj.learned_initial_state(gj.gru(HIDDEN, dtype="float64"))
    params = cell.init(jax.random.key(0), INPUT)
    params = jax.tree.map(lambda a: a + 1, params)
    x, state, h_reset = rng.normal(size=(BATCH, INPUT)), draw_state(rng), draw_state(rng)
    begins = np.array([True, False, True])
    rnn = gj.recurrent(cell)
    for given, start in ((h_reset, h_reset), (None, rnn.initial_state(params, x.shape))):
        expected, _ = rnn.step(params, x, jnp.where(begins[:, None], start, state))
        actual, _ = rnn.step(params, x, state, begins=begins, h_reset=given)
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_a_forecast_begins_its_segments_with_it_too(rng):
    params, h_reset = draw_params(rng), draw_state(rng)
    xs, resets = draw_xs(rng)
    result = gj.forecast(ONE, params, xs, steps=2, resets=resets, h_reset=h_reset)
    hs, last = gj.unroll(
        gj.gru(HIDDEN, dtype="float64"), params, xs, resets=resets, h_reset=h_reset
    )
    np.testing.assert_allclose(result.ys, hs, atol=1e-12)
    np.testing.assert_allclose(result.future[:, 0], last, atol=1e-12)


def test_a_pool_goes_on_over_all_segments():
    net = gj.stack(gj.pool("last"), gj.dense(2))
    params = net.init(jax.random.key(0), INPUT)
    xs = jax.random.normal(jax.random.key(1), (BATCH, TIME, INPUT))
    h_reset = jax.tree.map(lambda a: a + 1, net.initial_state(params, (BATCH, INPUT)))
    resets = jnp.ones((BATCH, TIME), bool)
    actual = net.apply(params, xs, resets=resets, h_reset=h_reset)
    chex.assert_trees_all_equal(actual, net.apply(params, xs))


@pytest.mark.untyped
def test_a_state_of_another_form_is_refused():
    net = gj.stack(gj.recurrent(gj.gru(5)), gj.dense(2))
    params = net.init(jax.random.key(0), 3)
    xs, h = jnp.ones((2, 4, 3)), jnp.zeros((2, 5))
    resets, state = jnp.ones((2, 4), bool), net.initial_state(params, (2, 3))
    needed = "('(2, 5) float32', ())"
    with refused(f"stack: h_reset must be {needed}, got (2, 5) float32."):
        net.apply(params, xs, resets=resets, h_reset=h)
    with refused(f"stack: h_reset must be {needed}, got ('(5,) float32', ())."):
        net.step(params, xs[:, 0], state, begins=resets[:, 0], h_reset=(h[0], ()))
    with refused("stack: h_reset must come with resets, got resets None."):
        net.apply(params, xs, h_reset=state)
    with refused("stack: h_reset must come with begins, got begins None."):
        net.step(params, xs[:, 0], state, h_reset=state)
