import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from refusals import refused

import gru_jax as gj


def truncated(reset, tx):
    """Returns a cell's parameters, its first state, the training's, its loop, and data."""
    cell, rng = gj.gru(5, reset=reset), np.random.default_rng(3)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype),
        cell.init(jax.random.key(0), 3),
    )
    xs, ys = rng.normal(size=(4, 12, 3)), rng.normal(size=(4, 12, 5))
    batch = jnp.asarray(xs, jnp.float32), jnp.asarray(ys, jnp.float32)

    def loss_fn(params, carry, batch, key):
        del key
        hs, carry = gj.unroll(cell, params, batch[0], carry)
        return ((hs - batch[1]) ** 2).mean(), ({}, carry)

    h0 = rng.normal(size=(4, 5)).astype(np.float32)
    state = gj.init_train_state(jax.random.key(1), params, tx, jnp.asarray(h0))
    return params, h0, state, gj.make_train_loop(gj.make_truncated_step(loss_fn, tx)), batch


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("size", [1, 4, 12])
def test_truncated_chunks_go_forward_as_the_whole_sequence(reset, size):
    params, h0, state, loop, batch = truncated(reset, optax.set_to_zero())
    state, metrics = loop(state, gj.cut_time(batch, size))
    hs, h_last = reference.unroll(params, np.asarray(batch[0]), h0, np.ones((4, 12), bool))
    errors = ((hs - np.asarray(batch[1])) ** 2).reshape(4, -1, size, 5).mean((0, 2, 3))
    np.testing.assert_allclose(state.carry, h_last, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], errors, rtol=1e-5)


def test_the_gradient_stops_where_a_chunk_begins():
    """The step of the second chunk is that of a sequence which begins there."""
    params, h0, state, loop, batch = truncated("after", optax.sgd(0.1))
    moved, metrics = loop(state, gj.cut_time(batch, 6))
    assert moved.step == len(metrics["loss"]) == 2
    by_hand = params
    for part in (slice(0, 6), slice(6, 12)):

        def loss(params, h0=h0, part=part):
            hs, h_last = gj.unroll(gj.gru(5, reset="after"), params, batch[0][:, part], h0)
            return ((hs - batch[1][:, part]) ** 2).mean(), h_last

        grads, h0 = jax.grad(loss, has_aux=True)(by_hand)
        by_hand = jax.tree.map(lambda p, g: p - 0.1 * g, by_hand, grads)
    chex.assert_trees_all_close(moved.params, by_hand, rtol=1e-5, atol=1e-6)


def test_a_chunk_that_is_not_finite_moves_neither_parameters_nor_carry():
    params, _, state, loop, (xs, ys) = truncated("before", optax.sgd(0.1))
    batch = gj.cut_time((xs.at[:, 4].set(jnp.nan), ys), 4)
    _, _, good, loop_again, _ = truncated("before", optax.sgd(0.1))
    want, _ = loop_again(good, jax.tree.map(lambda a: a[:1], batch))
    state, metrics = loop(state, batch)
    np.testing.assert_array_equal(metrics["finite"], [True, False, False])
    chex.assert_trees_all_equal((state.params, state.carry), (want.params, want.carry))
    assert not np.allclose(state.params.W_c, params.W_c)


WRONG_RETURNS = {
    "loss_fn must return two values, the loss and the metrics ({} for none), got float32[].": (
        lambda loss, _: loss
    ),
    "loss_fn must return (loss, (metrics, carry)), got dict of nothing in place of (metrics, "
    "carry).": lambda loss, _: (loss, {}),
    "the metrics of loss_fn must not be named loss, grad_norm, finite, epoch, step, seconds, "
    "waiting, which training adds, got 'loss'.": lambda loss, carry: (
        loss,
        ({"loss": loss}, carry),
    ),
    "the metrics of loss_fn must be scalars, e.g. means, got carry float32[4, 5].": (
        lambda loss, carry: (loss, ({"carry": carry}, carry))
    ),
    "loss_fn must return the carry as it came, h float32[4, 5], got float16[4, 5].": (
        lambda loss, carry: (loss, ({}, {"h": carry.astype(jnp.float16)}))
    ),
    "loss_fn must return the carry as it came, h float32[4, 5], got float32[2, 5].": (
        lambda loss, carry: (loss, ({}, {"h": carry[:2]}))
    ),
    "loss_fn must return the carry as it came, PyTreeDef({'h': *}), got PyTreeDef(*).": (
        lambda loss, carry: (loss, ({}, carry))
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", WRONG_RETURNS)
def test_a_loss_function_that_returns_something_else_is_refused(message):
    def loss_fn(params, carry, batch, key):
        del key
        return WRONG_RETURNS[message]((params["w"] * batch).mean(), carry["h"])

    tx = optax.sgd(0.1)
    carry = {"h": jnp.zeros((4, 5))}
    state = gj.init_train_state(jax.random.key(0), {"w": jnp.float32(1)}, tx, carry)
    loop = gj.make_train_loop(gj.make_truncated_step(loss_fn, tx))
    with refused(f"make_truncated_step: {message}"):
        loop(state, np.ones((2, 4, 3), "f"))


def test_layers_can_ask_whether_they_are_being_trained():
    asked = []

    def loss_fn(params, carry, batch, key):
        del key
        asked.append(gj.is_differentiating())
        return (params["w"] * batch).mean(), ({}, carry)

    tx = optax.sgd(0.1)
    state = gj.init_train_state(jax.random.key(0), {"w": jnp.float32(1)}, tx)
    gj.make_truncated_step(loss_fn, tx)(state, jnp.ones(3))
    assert asked == [True]


def test_truncation_runs_where_promotion_is_strict():
    def loss_fn(params, carry, batch, key):
        del key
        carry = carry + batch.mean(-1)
        return ((params["w"] * carry - 1) ** 2).mean(), ({}, carry)

    tx, results = optax.adam(0.1), []
    loop = gj.make_train_loop(gj.make_truncated_step(loss_fn, tx))
    for promotion in ("standard", "strict"):
        with jax.numpy_dtype_promotion(promotion):
            params = {"w": jnp.float32(0)}
            state = gj.init_train_state(jax.random.key(0), params, tx, jnp.zeros(4))
            results.append(loop(state, gj.cut_time(jnp.ones((4, 6)), 2)))
    chex.assert_trees_all_equal(*results)
    np.testing.assert_array_equal(results[1][0].carry, [3, 3, 3, 3])


def test_a_carry_that_was_donated_is_refused_by_name():
    _, _, state, loop, batch = truncated("before", optax.sgd(0.1))
    moved, _ = loop(state, gj.cut_time(batch, 6))
    with pytest.raises(ValueError, match=r"^train_loop: state must not be .*, got carry deleted\."):
        loop(moved._replace(carry=state.carry), gj.cut_time(batch, 6))
