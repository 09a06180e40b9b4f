import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quadratic import batches, first, init, quadratic
from refusals import refused

import gru_jax as gj

KEY, PARAMS, SGD = jax.random.key(0), {"w": jnp.float32(1)}, optax.sgd(0.1)


def test_a_step_is_the_optimisers_update():
    tx = optax.sgd(0.1)
    step = gj.make_train_step(quadratic, tx)
    batch = first(batches(1))
    state, metrics = jax.jit(step)(init(tx), batch)
    x, y = (np.asarray(batch[name], float) for name in "xy")
    np.testing.assert_allclose(metrics["loss"], ((x - y) ** 2).mean(), rtol=1e-6)
    grad = (2 * (x - y) * x).mean()
    np.testing.assert_allclose(metrics["grad_norm"], abs(grad), rtol=1e-6)
    np.testing.assert_allclose(state.params["w"], 1 - 0.1 * grad, rtol=1e-6)
    assert (state.step, metrics["finite"]) == (1, True)


def test_init_train_state_leaves_the_callers_buffers_alone():
    tx, params, key = optax.adam(0.1), {"w": jnp.float32(1)}, jax.random.key(0)
    state = gj.init_train_state(key, params, tx)
    gj.make_train_loop(gj.make_train_step(quadratic, tx))(state, batches(2))
    assert params["w"] == 1
    assert jax.random.uniform(key) > 0


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


def run_step(loss_fn, tx=SGD):
    """Returns state and metrics after one step on a batch of the quadratic problem."""
    return jax.jit(gj.make_train_step(loss_fn, tx))(init(tx), first(batches(1)))


@pytest.mark.parametrize(
    "name", ["loss", "grad_norm", "finite", "epoch", "step", "seconds", "waiting"]
)
def test_a_metric_of_the_loss_function_may_not_have_the_name_of_one_of_the_steps(name):
    message = (
        "make_train_step: the metrics of loss_fn must not be named loss, grad_norm, finite, epoch, "
        f"step, seconds, waiting, which training adds, got '{name}'."
    )
    with refused(message):
        run_step(lambda params, batch, key: (quadratic(params, batch, key)[0], {name: 0.0}))


WRONG_LOSSES = {
    "loss_fn must return two values, the loss and the metrics ({} for none), got float32[].": (
        lambda loss, _: loss
    ),
    "loss_fn must return two values, the loss and the metrics ({} for none), got None.": (
        lambda *_: None
    ),
    "loss_fn must return two values, the loss and the metrics ({} for none), got tuple of "
    "float32[], float32[4], float32[4].": lambda loss, each: (loss, each, each),
    "the loss of loss_fn must be a floating-point scalar, e.g. a mean, got float32[4].": (
        lambda _, each: (each, {})
    ),
    "the loss of loss_fn must be a floating-point scalar, e.g. a mean, got int32[].": (
        lambda loss, _: (loss.astype(int), {})
    ),
    "the metrics of loss_fn must be a dict of scalars, {} for none, got float32[4].": (
        lambda loss, each: (loss, each)
    ),
    "the metrics of loss_fn must be a dict of scalars, {} for none, got None.": (
        lambda loss, _: (loss, None)
    ),
    "the metrics of loss_fn must be scalars, e.g. means, got each float32[4].": (
        lambda loss, each: (loss, {"each": each})
    ),
    "the metrics of loss_fn must be scalars, e.g. means, got part dict of float32[].": (
        lambda loss, _: (loss, {"part": {"loss": loss}})
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", WRONG_LOSSES)
def test_a_loss_function_that_returns_something_else_is_refused(message):
    def loss_fn(params, batch, key):
        del key
        each = (params["w"] * batch["x"] - batch["y"]) ** 2
        return WRONG_LOSSES[message](each.mean(), each)

    with refused(f"make_train_step: {message}"):
        run_step(loss_fn)


def test_metrics_may_be_plain_numbers():
    _, metrics = run_step(lambda *args: (quadratic(*args)[0], {"half": 0.5, "two": 2, "yes": True}))
    assert {name: metrics[name].item() for name in ("half", "two", "yes")} == {
        "half": 0.5,
        "two": 2,
        "yes": True,
    }


WRONG_STATES = {
    "key must be a key, e.g. jax.random.key(0), got dict of float32[]; the order is key, params, "
    "tx.": lambda: gj.init_train_state(PARAMS, KEY, SGD),
    "key must be a key, e.g. jax.random.key(0), got int; the order is key, params, tx.": (
        lambda: gj.init_train_state(0, PARAMS, SGD)
    ),
    "key must be a key, e.g. jax.random.key(0), got key<fry>[2]; the order is key, params, tx.": (
        lambda: gj.init_train_state(jax.random.split(KEY), PARAMS, SGD)
    ),
    "params must be a tree of floating-point arrays, got tuple of nothing; the order is key, "
    "params, tx.": lambda: gj.init_train_state(KEY, (), SGD),
    "params must be a tree of floating-point arrays, got key<fry>[]; the order is key, params, "
    "tx.": lambda: gj.init_train_state(KEY, KEY, SGD),
    "params must be a tree of floating-point arrays, got dict of int32[]; the order is key, "
    "params, tx.": lambda: gj.init_train_state(KEY, {"w": jnp.int32(1)}, SGD),
    "tx must be an Optax optimiser, e.g. optax.adam(1e-3), got float.": (
        lambda: gj.init_train_state(KEY, PARAMS, 0.1)
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", WRONG_STATES)
def test_init_train_state_refuses_arguments_of_another_kind(message):
    with refused(f"init_train_state: {message}"):
        WRONG_STATES[message]()


def test_keys_of_the_older_kind_are_keys():
    state = gj.init_train_state(jax.random.PRNGKey(0), PARAMS, SGD)
    state, metrics = gj.make_train_step(quadratic, SGD)(state, first(batches(1)))
    assert metrics["draw"] == jax.random.uniform(jax.random.fold_in(jax.random.PRNGKey(0), 0))


@pytest.mark.untyped
@pytest.mark.parametrize("make", [gj.make_train_step, gj.make_truncated_step])
def test_a_step_needs_an_optimiser(make):
    message = "tx must be an Optax optimiser, e.g. optax.adam(1e-3), got function."
    with refused(f"{make.__name__}: {message}"):
        make(quadratic, quadratic)


@pytest.mark.parametrize("jit", [True, False])
def test_layers_can_ask_whether_they_are_being_trained(jit):
    asked = []

    def loss_fn(params, batch, key):
        asked.append(gj.is_differentiating())
        return quadratic(params, batch, key)

    step = gj.make_train_step(loss_fn, SGD)
    assert not gj.is_differentiating()
    (jax.jit(step) if jit else step)(init(SGD), first(batches(1)))
    assert asked == [True]
    assert not gj.is_differentiating()
    loss_fn(PARAMS, first(batches(1)), KEY)
    jax.grad(lambda params: loss_fn(params, first(batches(1)), KEY)[0])(PARAMS)
    assert asked == [True, False, False]


def test_an_error_in_the_loss_function_ends_the_training_that_layers_see():
    def loss_fn(*_):
        assert gj.is_differentiating()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_step(loss_fn)
    assert not gj.is_differentiating()


NOISY = gj.stack(gj.recurrent(gj.gru(3), zoneout=0.1), gj.dense(1))
CALLS = {
    "apply": lambda *args, **options: NOISY.apply(*args, **options)[0],
    "trace": lambda *args, **options: gj.trace(NOISY, *args, **options)[0].h,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_trained_loss_gives_a_layer_with_noise_a_key_or_none(name):
    params, xs = NOISY.init(KEY, 2), jnp.ones((1, 4, 2))

    def train(**options):
        def loss_fn(params, xs, key):
            given = {"key": options["choose"](key)} if options else {}
            return CALLS[name](params, xs, **given).sum(), {}

        state = gj.init_train_state(KEY, params, SGD)
        return gj.make_train_step(loss_fn, SGD)(state, xs)[1]["loss"]

    needed = "stack: key must be given in a training loss, because the layer is random in "
    with refused(f"{needed}training; key=None selects evaluation."):
        train()
    evaluated = CALLS[name](params, xs).sum()
    np.testing.assert_allclose(train(choose=lambda _: None), evaluated, rtol=1e-6)
    assert abs(train(choose=lambda key: key) - evaluated) > 1e-3


def test_a_gradient_of_half_precision_has_a_norm_beyond_its_range():
    """Three numbers of 300: the sum of their squares is more than float16 holds."""
    state = init(SGD)._replace(params=jnp.ones(3, jnp.float16))
    step = gj.make_train_step(lambda params, *_: ((300 * params).sum(), {}), SGD)
    state, metrics = step(state._replace(opt_state=SGD.init(state.params)), None)
    assert metrics["finite"]
    np.testing.assert_allclose(metrics["grad_norm"], 300 * 3**0.5, rtol=1e-6)
