"""A layer on its own outputs, against the same steps in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads
from refusals import refused

import gru_jax as gj

NET = gj.stack(gj.recurrent(gj.gru(5, dtype=jnp.float64)), gj.dense(3, dtype=jnp.float64))
IMAGES = gj.stack(
    gj.space_to_depth(2),
    gj.recurrent(gj.conv_gru(4, dtype=jnp.float64)),
    gj.conv(8, dtype=jnp.float64),
    gj.depth_to_space(2),
)
GENERATOR = gj.stack(gj.embed(7, 4), gj.recurrent(gj.gru(5)), gj.dense(7))


@pytest.fixture
def problem(rng):
    """Random parameters of NET, and inputs."""
    params = NET.init(jax.random.key(0), 3)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    return params, rng.normal(size=(2, 6, 3))


def run_on(params, xs, steps):
    """Returns one sequence's outputs and the future ones, with tanh as feedback."""
    cell, head = jax.tree.map(np.asarray, params)
    h, ys = np.zeros(5), []
    for t in range(len(xs) + steps - 1):
        x = xs[t] if t < len(xs) else np.tanh(ys[-1])
        _, z, c, *_ = reference.gates(cell, x, h)
        h = (1 - z) * h + z * c
        ys.append(h @ head.W + head.b)
    return np.stack(ys[: len(xs)]), np.stack(ys[len(xs) - 1 :]), h


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("padding", ["none", "lengths", "mask"])
def test_forecast_is_the_net_on_its_own_output(problem, padding):
    params, xs = problem
    mask = np.ones((2, 6), bool)
    mask[1, [1, 5]] = False
    options = {"none": {}, "lengths": {"lengths": np.array([6, 4])}, "mask": {"mask": mask}}[
        padding
    ]
    steps = {"none": [*range(6)], "lengths": [0, 1, 2, 3], "mask": [0, 2, 3, 4]}[padding]
    result = gj.forecast(NET, params, xs, steps=4, feedback="tanh", **options)
    for i, kept in enumerate([[*range(6)], steps]):
        ys, future, h = run_on(params, xs[i, kept], 4)
        np.testing.assert_allclose(result.ys[i, kept], ys, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(result.future[i], future, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(result.state[0][i], h, rtol=1e-11, atol=1e-13)


@pytest.mark.untyped
@pytest.mark.usefixtures("x64")
def test_lengths_may_be_a_list(problem):
    params, xs = problem
    listed = gj.forecast(NET, params, xs, steps=2, lengths=[6, 4])
    given = gj.forecast(NET, params, xs, steps=2, lengths=np.array([6, 4]))
    np.testing.assert_array_equal(listed.future, given.future)


@pytest.mark.usefixtures("x64")
def test_it_goes_on_where_it_ended(problem):
    params, xs = problem
    long = gj.forecast(NET, params, xs, steps=5)
    short = gj.forecast(NET, params, xs, steps=3)
    y, _ = NET.step(params, short.future[:, -1], short.state)
    np.testing.assert_allclose(y, long.future[:, 3], rtol=1e-12)
    again = gj.forecast(NET, params, xs[:, 2:], NET.apply(params, xs[:, :2])[1], steps=5)
    np.testing.assert_allclose(again.future, long.future, rtol=1e-12)
    one = gj.forecast(NET, params, xs, steps=1)
    np.testing.assert_array_equal(one.future[:, 0], one.ys[:, -1])


@pytest.mark.usefixtures("x64")
def test_gradients_pass_through_the_feedback(problem):
    params, xs = problem

    @jax.jit
    def loss(params, xs):
        return (gj.forecast(NET, params, xs, steps=4, feedback="tanh").future ** 2).sum()

    check_grads(loss, (params, jnp.asarray(xs)), order=1, modes=["rev"], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_images_run_on_as_the_net_over_the_same_frames(rng):
    """The net over all frames, with its own outputs written behind those seen."""
    params = IMAGES.init(jax.random.key(0), 2)
    xs = jnp.asarray(rng.normal(size=(2, 3, 4, 6, 2)))
    future = gj.forecast(IMAGES, params, xs, steps=4, feedback="sigmoid").future
    frames = jnp.concatenate([xs, jax.nn.sigmoid(future[:, :-1])], axis=1)
    np.testing.assert_allclose(IMAGES.apply(params, frames)[0][:, 2:], future, rtol=1e-11)


def test_a_function_turns_logits_into_the_next_token(rng):
    params = GENERATOR.init(jax.random.key(0), 7)
    xs = rng.integers(7, size=(3, 4)).astype(np.int32)

    def likeliest(logits):
        return logits.argmax(-1).astype(jnp.int32)

    future = gj.forecast(GENERATOR, params, xs, steps=5, feedback=likeliest).future
    tokens = np.concatenate([xs, likeliest(future[:, :-1])], axis=1)
    np.testing.assert_allclose(GENERATOR.apply(params, tokens)[0][:, 3:], future, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_noise_acts_on_the_steps_seen_alone():
    net = gj.stack(gj.dropout(0.5), NET)
    params = net.init(jax.random.key(0), 3)
    xs = jnp.ones((1, 4, 3), jnp.float64)
    key = jax.random.key(1)
    noisy = gj.forecast(net, params, xs, steps=3, key=key)
    ys, state = net.apply(params, xs, key=key)
    np.testing.assert_array_equal(noisy.ys, ys)
    y, _ = net.step(params, ys[:, -1], state)
    np.testing.assert_allclose(noisy.future[:, 1], y, rtol=1e-6)


GRU = gj.recurrent(gj.gru(4))
PARAMS = GRU.init(jax.random.key(0), 3)
XS = np.ones((2, 5, 3), np.float32)
BOTH = gj.bidirectional(gj.gru(3), merge="sum")


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (
            "forecast: feedback must map the layer's output, (2, 4) float32, to an input, (2, 3) "
            "float32, got (2, 4) float32: give the layer outputs of its inputs' size, or another "
            "feedback.",
            lambda: gj.forecast(GRU, PARAMS, XS, steps=2),
        ),
        (
            "forecast: feedback must map the layer's output, (2, 4) float32, to an input, (2, 3) "
            "float32, got a tuple: give the layer outputs of its inputs' size, or another "
            "feedback.",
            lambda: gj.forecast(GRU, PARAMS, XS, steps=2, feedback=lambda y: (y, y)),
        ),
        (
            "forecast: steps must be a whole number from 1, got 0.",
            lambda: gj.forecast(GRU, PARAMS, XS, steps=0),
        ),
        (
            "forecast: xs must have one step or more, got (2, 0, 3).",
            lambda: gj.forecast(GRU, PARAMS, XS[:, :0], steps=2),
        ),
        (
            "forecast: layer must keep the time axis, got stack(pool('last')).",
            lambda: gj.forecast(gj.stack(gj.pool("last")), ((),), XS, steps=2),
        ),
        (
            "bidirectional: step must see the whole sequence first, so it cannot stream; "
            "use apply.",
            lambda: gj.forecast(BOTH, BOTH.init(jax.random.key(0), 3), XS, steps=2),
        ),
        (
            "forecast: layer must be a Layer, e.g. stack(...), got a Cell.",
            lambda: gj.forecast(gj.gru(3), PARAMS, XS, steps=2),
        ),
    ],
)
@pytest.mark.untyped
def test_what_cannot_be_forecast_is_refused(message, call):
    with refused(message):
        call()
