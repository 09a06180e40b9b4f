"""Resets, time axis and order of results of both Flax modules, `GRU` and `Net`."""

import chex
import jax
import jax.numpy as jnp
import module_cases
import numpy as np
import pytest
import reference
from flax import nnx
from module_cases import BATCH, HIDDEN, INPUT, KEY, LENGTHS, TIME, draw, draw_data
from refusals import refused

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx

make = module_cases.make  # The fixture: each of these tests is run for both.

VALID = np.arange(TIME) < LENGTHS[:, None]
LAYER = gj.stack(gj.recurrent(gj.conv_gru(3)), gj.pool_space(), gj.recurrent(gj.mgu(4)))


@pytest.mark.usefixtures("x64")
def test_segments_begin_with_the_state_that_is_given(rng, make):
    params = draw(rng, 1, True, "after", jnp.float64)
    xs, h0 = draw_data(rng, 1, True, jnp.float64)
    _, h_reset = draw_data(rng, 1, True, jnp.float64)
    resets = rng.random((BATCH, TIME)) < 0.4
    options = {"bidirectional": True, "reset": "after", "param_dtype": jnp.float64}
    _, apply = make(params, **options)
    ys, last = apply(xs, h0=h0, h_reset=h_reset, mask=VALID, resets=resets)
    sides = [
        reference.unroll(cell, np.asarray(xs), h, VALID, reverse=i, resets=resets, h_reset=start)
        for i, (cell, h, start) in enumerate(zip(params, h0, h_reset, strict=True))
    ]
    np.testing.assert_allclose(ys, np.concatenate([hs for hs, _ in sides], -1), atol=1e-12)
    chex.assert_trees_all_close(tuple(last), tuple(h for _, h in sides), atol=1e-12)


@pytest.mark.parametrize("given", [True, False], ids=["h_reset", "zeros"])
def test_steps_begin_episodes_and_skip_padding(rng, make, given):
    gru, apply = make(draw(rng, 2, False), num_layers=2)
    xs, state = draw_data(rng, 2)
    begins, valid = rng.random((2, BATCH, TIME)) < 0.5
    h_reset = draw_data(rng, 2)[1] if given else None
    start = h_reset if given else gru.initial_state((BATCH, INPUT))
    kept = state
    for t in range(TIME):
        limits = {"begins": begins[:, t], "valid": valid[:, t], "h_reset": h_reset}
        y, state = apply(xs[:, t], state, method="step", **limits)

        def where(rows, these, those):
            return jax.tree.map(lambda a, b: np.where(rows[:, None], a, b), these, those)

        enters = where(begins[:, t] & valid[:, t], start, kept)
        expected, after = apply(xs[:, t], enters, method="step")
        kept = where(valid[:, t], after, kept)
        np.testing.assert_allclose(y, where(valid[:, t], expected, 0 * expected), atol=1e-6)
        chex.assert_trees_all_close(state, kept, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -2])
@pytest.mark.parametrize("count", [1, 2])
def test_time_may_be_any_axis(rng, make, axis, count):
    """Of two batch axes, with time before, between or behind them."""
    options = {"num_layers": count, "bidirectional": True}
    params = draw(rng, count, True)
    xs = jnp.asarray(rng.normal(size=(2, BATCH, TIME, INPUT)), jnp.float32)
    resets, padded = rng.random((2, 2, BATCH, TIME)) < 0.3
    lengths = rng.integers(0, TIME + 1, (2, BATCH))
    _, apply = make(params, **options)
    expected, last = apply(xs, resets=resets, mask=~padded, lengths=lengths)

    def moved(a):
        return np.moveaxis(a, 2, 2 if axis == -2 else axis)

    _, apply = make(params, **options, time_axis=axis)
    ys, moved_last = apply(moved(xs), resets=moved(resets), mask=moved(~padded), lengths=lengths)
    np.testing.assert_allclose(ys, moved(expected), atol=1e-6)
    chex.assert_trees_all_close(moved_last, last, atol=1e-6)


def test_noise_is_that_of_the_step_wherever_time_stands(rng, make):
    params, (xs, _) = draw(rng, 2, False), draw_data(rng)
    options = {"num_layers": 2, "dropout": 0.5, "zoneout": 0.3, "recurrent_dropout": 0.3}
    expected, _ = make(params, **options)[1](xs, key=KEY, deterministic=False)
    _, apply = make(params, **options, time_axis=0)
    ys, _ = apply(xs.swapaxes(0, 1), key=KEY, deterministic=False)
    np.testing.assert_allclose(ys.swapaxes(0, 1), expected, atol=1e-6)


def test_the_carry_may_come_first(rng, make):
    params, (xs, h0) = draw(rng, 2, False), draw_data(rng, 2)
    plain, apply = make(params, num_layers=2)
    ys, last = apply(xs, h0=h0)
    gru, apply = make(params, num_layers=2, carry_first=True)
    chex.assert_trees_all_equal(apply(xs, h0=h0), (last, ys))

    def body(state, x):
        return apply(x, state, method="step")

    state, stepwise = jax.lax.scan(body, h0, xs.swapaxes(0, 1))
    chex.assert_trees_all_close(state, last, atol=1e-6)
    np.testing.assert_allclose(stepwise.swapaxes(0, 1), ys, atol=1e-6)
    assert gru.net() == plain.net()


@pytest.mark.untyped
def test_a_wrong_argument_is_named_in_the_shapes_that_were_given(rng, make):
    gru, apply = make(draw(rng, 1, False), time_axis=0)
    xs, state = jnp.zeros((TIME, BATCH, INPUT)), gru.initial_state((BATCH, INPUT))
    with refused(
        "recurrent: resets must be (6, 3) bool to match the batch and time axes of xs, got (3, 6) "
        "bool. Its axes of batch and time have changed places."
    ):
        apply(xs, resets=jnp.zeros((BATCH, TIME), bool))
    with refused("recurrent: h_reset must be (3, 5) float32, got (5,) float32."):
        apply(xs, resets=jnp.zeros((TIME, BATCH), bool), h_reset=jnp.zeros(HIDDEN))
    with refused("recurrent: h_reset must come with begins, got begins None."):
        apply(xs[0], state, method="step", h_reset=state)
    with refused("recurrent: time_axis must name one of the first 2 axes of xs (6, 3, 4), got 2."):
        make(draw(rng, 1, False), time_axis=2)[1](xs)
    with refused("recurrent: time_axis must be a whole number, got 'time'."):
        make(draw(rng, 1, False), time_axis="time")[1](xs)


def make_linen_net(**options):
    net = gru_jax.linen.Net(LAYER, **options)
    variables = net.init(KEY, jnp.zeros((2, TIME, 4, 4, 2)))
    return lambda *args, **more: net.apply(variables, *args, **more)


def make_nnx_net(**options):
    net = gru_jax.nnx.Net(LAYER, 2, rngs=nnx.Rngs(0), **options)

    def apply(*args, method="__call__", **more):
        return getattr(net, method)(*args, **more)

    return apply


@pytest.mark.parametrize("build", [make_linen_net, make_nnx_net], ids=["linen", "nnx"])
def test_net_has_the_same_calls(rng, build):
    xs = jnp.asarray(rng.normal(size=(2, TIME, 4, 4, 2)), jnp.float32)
    resets = rng.random((2, TIME)) < 0.4
    plain = build()
    zeros = plain((2, 4, 4, 2), method="initial_state")
    state, h_reset = (
        jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), zeros)
        for _ in range(2)
    )
    ys, last = plain(xs, state, resets=resets, h_reset=h_reset)
    turned = build(time_axis=0, carry_first=True)(
        xs.swapaxes(0, 1), state, resets=resets.T, h_reset=h_reset
    )
    chex.assert_trees_all_close(turned, (last, ys.swapaxes(0, 1)), atol=1e-6)
    for t in range(TIME):
        limits = {"begins": resets[:, t], "h_reset": h_reset}
        y, state = plain(xs[:, t], state, method="step", **limits)
        np.testing.assert_allclose(y, ys[:, t], atol=1e-5)
    chex.assert_trees_all_close(state, last, atol=1e-5)
    skipped = build(carry_first=True)(xs[:, 0], state, method="step", valid=np.zeros(2, bool))
    chex.assert_trees_all_equal(skipped, (state, jnp.zeros_like(ys[:, 0])))


def test_a_pool_takes_any_time_axis_and_leaves_none(rng):
    layer = gj.stack(gj.recurrent(gj.gru(4)), gj.pool("max"))
    xs = jnp.asarray(rng.normal(size=(2, TIME, 3)), jnp.float32)
    nets = [gru_jax.nnx.Net(layer, 3, rngs=nnx.Rngs(0), time_axis=axis) for axis in (None, 0)]
    (expected, _), (actual, _) = nets[0](xs), nets[1](xs.swapaxes(0, 1))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
