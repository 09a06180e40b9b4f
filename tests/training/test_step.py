import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

import gru_jax as gj


def quadratic(params, batch, key):
    """A loss whose training can be followed by hand: the mean of (w x - y)^2, with a key in use."""
    loss = ((params["w"] * batch["x"] - batch["y"]) ** 2).mean()
    return loss, {"draw": jax.random.uniform(key)}


def batches(steps, bad=()):
    x = np.linspace(1, 2, steps * 4, dtype=np.float32).reshape(steps, 4)
    x[list(bad)] = np.nan
    return {"x": jnp.asarray(x), "y": jnp.asarray(3 * x)}


def init(tx, w=1.0):
    return gj.init_train_state(jax.random.key(0), {"w": jnp.float32(w)}, tx)


def test_a_step_is_the_optimisers_update():
    tx = optax.sgd(0.1)
    step = gj.make_train_step(quadratic, tx)
    batch = jax.tree.map(lambda a: a[0], batches(1))
    state, metrics = jax.jit(step)(init(tx), batch)
    x, y = (np.asarray(batch[name], float) for name in "xy")
    np.testing.assert_allclose(metrics["loss"], ((x - y) ** 2).mean(), rtol=1e-6)
    grad = (2 * (x - y) * x).mean()
    np.testing.assert_allclose(metrics["grad_norm"], abs(grad), rtol=1e-6)
    np.testing.assert_allclose(state.params["w"], 1 - 0.1 * grad, rtol=1e-6)
    assert (state.step, metrics["finite"]) == (1, True)


def test_the_loop_is_its_steps():
    tx = optax.adam(0.1)
    step = gj.make_train_step(quadratic, tx)
    state, rows = init(tx), []
    for i in range(5):
        state, row = jax.jit(step)(state, jax.tree.map(lambda a, i=i: a[i], batches(5)))
        rows.append(row)
    looped, metrics = gj.make_train_loop(step)(init(tx), batches(5))
    chex.assert_trees_all_close((looped.params, looped.opt_state), (state.params, state.opt_state))
    np.testing.assert_allclose(metrics["loss"], [row["loss"] for row in rows], rtol=1e-6)
    assert len(set(np.asarray(metrics["draw"]).tolist())) == 5


def test_the_loop_compiles_once_for_each_shape_and_donates_its_state():
    tx = optax.adam(0.1)
    step = gj.make_train_step(quadratic, tx)
    chex.clear_trace_counter()
    loop = gj.make_train_loop(chex.assert_max_traces(step, n=2))  # eval_shape and the scan itself
    state = init(tx)
    for _ in range(3):
        before, (state, _) = state, loop(state, batches(5))
        assert before.params["w"].is_deleted()


def test_init_train_state_leaves_the_callers_buffers_alone():
    tx, params, key = optax.adam(0.1), {"w": jnp.float32(1)}, jax.random.key(0)
    state = gj.init_train_state(key, params, tx)
    gj.make_train_loop(gj.make_train_step(quadratic, tx))(state, batches(2))
    assert params["w"] == 1
    assert jax.random.uniform(key) > 0


def test_a_step_that_is_not_finite_changes_nothing_and_stops_the_loop():
    tx = optax.adam(0.1)
    step = gj.make_train_step(quadratic, tx)
    good, _ = gj.make_train_loop(step)(init(tx), batches(2))
    all_five = batches(5, bad=[2])
    first_two = jax.tree.map(lambda a: a[:2], all_five)
    want, _ = gj.make_train_loop(step)(init(tx), first_two)
    state, metrics = gj.make_train_loop(step)(init(tx), all_five)
    chex.assert_trees_all_equal((state.params, state.opt_state), (want.params, want.opt_state))
    assert state.step == 2
    np.testing.assert_array_equal(metrics["finite"], [True, True, False, False, False])
    chex.assert_tree_all_finite(good.params)


def test_a_gradient_that_is_not_finite_is_noticed_where_the_loss_is():
    def loss_fn(params, batch, key):
        del key
        return jnp.sqrt(params["w"] * batch), {}

    state = init(optax.sgd(0.1), w=0.0)
    state, metrics = gj.make_train_step(loss_fn, optax.sgd(0.1))(state, jnp.float32(1))
    assert metrics["loss"] == 0
    assert not metrics["finite"]
    assert (state.params["w"], state.step) == (0, 0)


def test_parameters_that_overflow_are_not_kept():
    state = init(optax.sgd(3e38))
    batch = {"x": jnp.ones(4), "y": jnp.full(4, -9.0)}
    state, metrics = gj.make_train_step(quadratic, optax.sgd(3e38))(state, batch)
    assert np.isfinite(metrics["loss"])
    assert not metrics["finite"]
    assert state.params["w"] == 1


def test_a_metric_of_the_loss_function_cannot_hide_what_the_step_found():
    def loss_fn(params, batch, key):
        loss, _ = quadratic(params, batch, key)
        return loss, {"loss": 0.0, "finite": True}

    batch = {"x": jnp.full(4, jnp.nan), "y": jnp.ones(4)}
    _, metrics = gj.make_train_step(loss_fn, optax.sgd(0.1))(init(optax.sgd(0.1)), batch)
    assert not metrics["finite"]
    assert np.isnan(metrics["loss"])


def test_weight_decay_is_decoupled_from_the_gradient():
    tx = gj.make_optimizer(0.5, steps=10, warmup=0.0, weight_decay=0.1)
    params = {"w": jnp.array([2.0, -4.0])}
    updates, _ = tx.update({"w": jnp.zeros(2)}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.5 * 0.1 * params["w"], rtol=1e-6)


def test_one_step_is_a_whole_training():
    tx = gj.make_optimizer(0.5, steps=1)
    state, _ = gj.make_train_step(quadratic, tx)(init(tx), jax.tree.map(lambda a: a[0], batches(1)))
    np.testing.assert_allclose(state.params["w"], 1.5, rtol=1e-5)


def test_the_optimiser_warms_up_decays_and_clips():
    tx = gj.make_optimizer(1.0, steps=100, warmup=0.2, clip_norm=1.0)
    params = {"w": jnp.zeros(2)}
    opt_state, sizes = tx.init(params), []
    for _ in range(100):
        updates, opt_state = tx.update({"w": jnp.array([3e4, 4e4])}, opt_state, params)
        sizes.append(float(-updates["w"][0]))
    # Adam's update of a constant gradient is the learning rate itself.
    t = np.arange(100)
    want = np.where(t < 20, t / 20, 0.5 * (1 + np.cos(np.pi * (t - 20) / 80)))
    np.testing.assert_allclose(sizes, want, atol=1e-3)
    clip = gj.make_optimizer(1.0, steps=10, clip_norm=1.0)
    _, (_, adam, *_) = clip.update({"w": jnp.array([3.0, 4.0])}, clip.init(params), params)
    np.testing.assert_allclose(adam[0].mu["w"], 0.1 * np.array([0.6, 0.8]), rtol=1e-5)


def adding(rng, cases, time):
    """The adding problem (Hochreiter and Schmidhuber 1997): the sum of the two marked numbers."""
    xs = np.zeros((cases, time, 2), np.float32)
    xs[..., 0] = rng.random((cases, time))
    marks = np.stack([rng.integers(0, time // 2, cases), rng.integers(time // 2, time, cases)], 1)
    np.put_along_axis(xs[..., 1], marks, 1, axis=1)
    return xs, np.take_along_axis(xs[..., 0], marks, 1).sum(1)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_the_adding_problem_is_learned(rng, reset):
    time, cell = 24, gj.gru(24, reset=reset, update_bias_init=gj.init_chrono(24))
    net = gj.stack(gj.recurrent(cell), gj.pool("last"), gj.dense(1))
    steps = 1200
    xs, sums = adding(rng, steps * 32, time)
    data = xs.reshape(steps, 32, time, 2), sums.reshape(steps, 32)

    def loss_fn(params, batch, key):
        del key
        ys, _ = net.apply(params, batch[0])
        return gj.squared_error(ys[:, 0], batch[1]).mean(), {}

    tx = gj.make_optimizer(1e-2, steps=steps)
    state = gj.init_train_state(jax.random.key(0), net.init(jax.random.key(1), 2), tx)
    state, metrics = gj.make_train_loop(gj.make_train_step(loss_fn, tx))(state, data)
    assert metrics["finite"].all()
    test_xs, test_sums = adding(rng, 500, time)
    ys, _ = net.apply(state.params, test_xs)
    # Always answering 1 leaves the variance of the sum of two uniform numbers, 1/6.
    assert np.mean((test_sums - 1) ** 2) == pytest.approx(1 / 6, rel=0.1)
    assert np.mean((ys[:, 0] - test_sums) ** 2) < 0.005


def truncated(reset, tx):
    """Returns a cell's parameters, its state before training, its loop over chunks, and data."""
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

    state = gj.init_train_state(jax.random.key(1), params, tx)
    return params, state, gj.make_train_loop(gj.make_truncated_step(loss_fn, tx)), batch


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("size", [1, 4, 12])
def test_truncated_chunks_go_forward_as_the_whole_sequence(reset, size):
    params, state, loop, batch = truncated(reset, optax.set_to_zero())
    h0 = np.random.default_rng(4).normal(size=(4, 5)).astype(np.float32)
    (_, carry), metrics = loop((state, jnp.asarray(h0)), gj.cut_time(batch, size))
    hs, h_last = reference.unroll(params, np.asarray(batch[0]), h0, np.ones((4, 12), bool))
    errors = ((hs - np.asarray(batch[1])) ** 2).reshape(4, -1, size, 5).mean((0, 2, 3))
    np.testing.assert_allclose(carry, h_last, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], errors, rtol=1e-5)


def test_the_gradient_stops_where_a_chunk_begins():
    """The step of the second chunk is that of a sequence which begins there."""
    params, state, loop, batch = truncated("after", optax.sgd(0.1))
    h0 = np.zeros((4, 5), np.float32)
    (moved, _), metrics = loop((state, jnp.asarray(h0)), gj.cut_time(batch, 6))
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
    params, state, loop, (xs, ys) = truncated("before", optax.sgd(0.1))
    batch = gj.cut_time((xs.at[:, 4].set(jnp.nan), ys), 4)
    _, good, loop_again, _ = truncated("before", optax.sgd(0.1))
    want, _ = loop_again((good, jnp.zeros((4, 5))), jax.tree.map(lambda a: a[:1], batch))
    (state, carry), metrics = loop((state, jnp.zeros((4, 5))), batch)
    np.testing.assert_array_equal(metrics["finite"], [True, False, False])
    chex.assert_trees_all_equal((state.params, carry), (want[0].params, want[1]))
    assert not np.allclose(state.params.W_c, params.W_c)
