import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quadratic import batches, first, init, quadratic
from refusals import refused

import gru_jax as gj

SGD = optax.sgd(0.1)
STEP = gj.make_train_step(quadratic, SGD)


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


def test_the_loop_is_compiled_ahead_of_time_from_shapes():
    loop, state = gj.make_train_loop(STEP), init(SGD)
    compiled = loop.lower(jax.eval_shape(lambda: state), batches(2)).compile()
    expected = loop(jax.tree.map(jnp.copy, state), batches(2))
    chex.assert_trees_all_equal(compiled(state, batches(2)), expected)


def test_the_loop_runs_inside_another_program_and_as_shapes():
    loop, data = gj.make_train_loop(STEP), batches(3)
    (inside, rows), outside = jax.jit(loop)(init(SGD), data), loop(init(SGD), data)
    chex.assert_trees_all_close((inside.params, rows), (outside[0].params, outside[1]), rtol=1e-6)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(loop, init(SGD), data), outside)


def test_a_state_that_was_donated_is_refused_by_name():
    loop = gj.make_train_loop(STEP)
    state = init(SGD)
    loop(state, batches(2))
    message = (
        "train_loop: state must not be one that a training loop has taken, as it donates it: use "
        "the one that it returned, got params.w deleted."
    )
    with refused(message):
        loop(state, batches(2))


ONE_BATCH = {
    "a Batch": (
        next(gj.make_batches(gj.Dataset([np.ones((5, 2))] * 4, np.arange(4)), 4)),
        "xs float32[4, 5, 2], lengths int32[4], targets int32[4], valid bool[4]",
    ),
    "xs and labels": (
        (np.ones((4, 5, 2), np.float32), np.arange(4, dtype=np.int32)),
        "0 float32[4, 5, 2], 1 int32[4]",
    ),
}


@pytest.mark.parametrize("name", ONE_BATCH)
def test_one_batch_is_no_stack_of_batches(name):
    batch, got = ONE_BATCH[name]
    batch = first(batch) if name == "a Batch" else batch
    message = (
        "train_loop: batches must be stacked, [steps, batch, ...], also where it is one: "
        f"jax.tree.map(lambda a: a[None], batch), got {got}."
    )

    def loss_fn(params, batch, key):
        del key
        return params["w"] * batch[0].mean(), {}

    loop = gj.make_train_loop(gj.make_train_step(loss_fn, SGD))
    with refused(message):
        loop(init(SGD), batch)
    state, _ = loop(init(SGD), jax.tree.map(lambda a: a[None], batch))
    assert state.step == 1


X = np.ones((3, 4), np.float32)
WRONG_BATCHES = {
    "x float32[3, 4], y float32[2, 4]": {"x": X, "y": X[:2]},
    "x float32[3, 4], y float32[]": {"x": X, "y": 1.0},
    "float32[]": np.float32(1),
    "x float32[0, 4]": {"x": X[:0]},
    "nothing": (),
}


@pytest.mark.parametrize("got", WRONG_BATCHES)
def test_batches_share_an_axis_of_steps(got):
    message = (
        "train_loop: batches must be arrays [steps, batch, ...] with one number of steps, "
        f"got {got}."
    )
    with refused(message):
        gj.make_train_loop(STEP)(init(SGD), WRONG_BATCHES[got])


@pytest.mark.parametrize("with_arrays", [False, True])
def test_keys_have_an_axis_of_steps_alone(with_arrays):
    keys = jax.random.split(jax.random.key(3), 5)

    def loss_fn(params, batch, key):
        del key
        loss, _ = quadratic(params, batch.get("data", first(batches(1))), batch["key"])
        return loss, {"draw": jax.random.uniform(batch["key"])}

    data = {"data": batches(5)} if with_arrays else {}
    loop = gj.make_train_loop(gj.make_train_step(loss_fn, SGD))
    _, metrics = loop(init(SGD), {"key": keys, **data})
    np.testing.assert_array_equal(metrics["draw"], jax.vmap(jax.random.uniform)(keys))


def test_step_numbers_alone_are_batches():
    def loss_fn(params, number, key):
        del key
        return (params["w"] - 1) ** 2, {"number": number}

    loop = gj.make_train_loop(gj.make_train_step(loss_fn, SGD))
    _, metrics = loop(init(SGD), jnp.arange(4))
    np.testing.assert_array_equal(metrics["number"], [0, 1, 2, 3])


def halve(state, batch):
    """A step of one's own: no TrainState, no optimiser."""
    new = state / 2 + 0 * batch.sum()
    return new, {"finite": jnp.isfinite(new), "size": new}


def test_a_step_of_ones_own_runs_in_the_loop():
    state, metrics = gj.make_train_loop(halve)(jnp.float32(8), X)
    assert state == 1
    np.testing.assert_array_equal(metrics["size"], [4, 2, 1])


WRONG_STEPS = {
    "(state, metrics), metrics a dict, got float32[].": lambda new, _: new,
    "(state, metrics), metrics a dict, got tuple of float32[], float32[].": (
        lambda new, metrics: (new, metrics["size"])
    ),
    "a metric finite, a boolean scalar that is False where the state is unchanged, got size "
    "float32[].": lambda new, metrics: (new, {"size": metrics["size"]}),
    "a metric finite, a boolean scalar that is False where the state is unchanged, got finite "
    "float32[].": lambda new, _: (new, {"finite": new}),
    "the state as it came, float32[], got float16[].": (
        lambda new, metrics: (new.astype(jnp.float16), metrics)
    ),
    "the state as it came, PyTreeDef(*), got PyTreeDef((*, *)).": (
        lambda new, metrics: ((new, new), metrics)
    ),
}


@pytest.mark.parametrize("message", WRONG_STEPS)
def test_a_step_that_breaks_the_contract_is_refused(message):
    def step(state, batch):
        return WRONG_STEPS[message](*halve(state, batch))

    with refused(f"make_train_loop: train_step must return {message}"):
        gj.make_train_loop(step)(jnp.float32(8), X)


def test_the_loop_is_mapped_over_an_ensemble():
    keys = jax.random.split(jax.random.key(0), 3)
    weights = {"w": jnp.arange(3.0)}
    states = jax.vmap(lambda key, params: gj.init_train_state(key, params, SGD))(keys, weights)
    loop = gj.make_train_loop(STEP)
    states, metrics = jax.vmap(loop, in_axes=(0, None))(states, batches(4))
    for i in range(3):
        alone, row = loop(init(SGD, i), batches(4))
        np.testing.assert_allclose(states.params["w"][i], alone.params["w"], rtol=1e-6)
        np.testing.assert_allclose(metrics["loss"][i], row["loss"], rtol=1e-5)


OPTIMISERS = {"adam": optax.adam(0.1), "ours": gj.make_optimizer(0.1, steps=4)}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64", "mixed"])
def test_training_is_the_same_where_promotion_is_strict(name, dtype):
    """Of one dtype and of two: parameters in bfloat16 beside others in float32."""

    def loss_fn(params, batch, key):
        errors = [(leaf * batch["x"].astype(leaf.dtype) - 3) ** 2 for leaf in params]
        loss = sum(error.mean().astype(jnp.float32) for error in errors)
        return loss, {"draw": jax.random.uniform(key)}

    tx, results = OPTIMISERS[name], []
    loop = gj.make_train_loop(gj.make_train_step(loss_fn, tx))
    for promotion in ("standard", "strict"):
        with jax.enable_x64(True), jax.numpy_dtype_promotion(promotion):
            dtypes = ("bfloat16", "float32") if dtype == "mixed" else (dtype,)
            params = tuple(jnp.ones(4, dtype) for dtype in dtypes)
            state = gj.init_train_state(jax.random.key(0), params, tx)
            results.append(loop(state, batches(4)))
    chex.assert_trees_all_equal(*results)
    assert results[0][1]["finite"].all()
    assert (np.asarray(results[0][0].params[0], float) != 1).all()


def adding(rng, cases, time):
    """The adding problem (Hochreiter and Schmidhuber 1997): the sum of the two marked numbers."""
    xs = np.zeros((cases, time, 2), np.float32)
    xs[..., 0] = rng.random((cases, time))
    marks = np.stack([rng.integers(0, time // 2, cases), rng.integers(time // 2, time, cases)], 1)
    np.put_along_axis(xs[..., 1], marks, 1, axis=1)
    return xs, np.take_along_axis(xs[..., 0], marks, 1).sum(1)


@pytest.mark.slow("trains a network")
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
