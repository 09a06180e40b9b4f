"""SegRNN against the equations in NumPy, one segment after another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj

HORIZON, SEGMENT, HIDDEN, SERIES = 7, 4, 6, 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_step(p, x, h):
    """Returns the state after x, as PyTorch's nn.GRU has it."""
    size = len(x)
    r = sigmoid(x @ p.W_r[:size] + h @ p.W_r[size:] + p.b_r)
    z = sigmoid(x @ p.W_z[:size] + h @ p.W_z[size:] + p.b_z)
    c = np.tanh(x @ p.W_c[:size] + p.b_c + r * (h @ p.W_c[size:] + p.b_h))
    return (1 - z) * h + z * c


def forecast(p, x, number, size=1):
    """Returns the forecast of one series by loops; NaN is missing."""
    last = x[~np.isnan(x)][-1] if (~np.isnan(x)).any() else 0.0
    steps = np.where(np.isnan(x), 0, x - last)
    steps = np.concatenate([np.zeros(-len(steps) % SEGMENT), steps])
    h = np.zeros(HIDDEN)
    for k in range(0, len(steps), SEGMENT):
        s = np.maximum(steps[k : k + SEGMENT] @ p.encode.W + p.encode.b, 0)
        h = gru_step(p.gru, s, h)
    ys = []
    for position in p.position:
        e = position if p.series is None else np.concatenate([position, p.series[number]])
        y = gru_step(p.gru, e, h) @ p.decode.W + p.decode.b
        ys += list(y.reshape(SEGMENT, size))
    return np.array(ys[:HORIZON]) + last


def draw(net, features, rng):
    """Returns random parameters in float64, biases too."""
    params = net.init(jax.random.key(0), features)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), params)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("series", "size", "time"), [(1, 1, 8), (SERIES, 1, 10), (SERIES, 3, 3)])
def test_it_forecasts_as_loops_do(series, size, time, rng):
    net = gj.seg_rnn(
        HORIZON, size, hidden_size=HIDDEN, segment=SEGMENT, series=series, dtype=np.float64
    )
    params = draw(net, 1 + (series > 1), rng)
    xs = rng.normal(size=(2, 5, time, 1 + (series > 1)))
    numbers = rng.integers(0, series, (2, 5))
    if series > 1:
        xs[..., 1] = numbers[..., None]
    xs[0, 0, -1, 0] = xs[0, 1, 0, 0] = np.nan
    xs[1, 0, :, 0] = np.nan
    ys, _ = net.apply(params, xs)
    plain = jax.tree.map(np.asarray, params)
    expected = [
        [forecast(plain, x[:, 0], number, size) for x, number in zip(*row, strict=True)]
        for row in zip(xs, numbers, strict=True)
    ]
    np.testing.assert_allclose(ys, expected, rtol=1e-12, atol=1e-12)


def test_products_with_the_state_are_not_repeated_for_each_segment():
    net = gj.seg_rnn(8 * SEGMENT, hidden_size=HIDDEN, segment=SEGMENT)
    params = net.init(jax.random.key(0), 1)
    xs = jnp.zeros((50, SEGMENT, 1))
    cost = jax.jit(net.apply).lower(params, xs).compile().cost_analysis()["flops"]
    one = 2 * 3 * 50 * HIDDEN**2
    assert cost < 8 * one  # 2 in the encoder, 1 of the state for all 8 segments; the rest is small


def test_missing_steps_have_a_finite_gradient(rng):
    net = gj.seg_rnn(HORIZON, hidden_size=HIDDEN, segment=SEGMENT, dropout=0)
    params = net.init(jax.random.key(0), 1)
    xs = jnp.asarray(rng.normal(size=(2, 9, 1)), jnp.float32).at[0, 3:].set(jnp.nan)
    gradients = jax.grad(lambda p, xs: net.apply(p, xs)[0].sum(), (0, 1))(params, xs)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_dropout_acts_in_training_alone(rng):
    net = gj.seg_rnn(HORIZON, hidden_size=HIDDEN, segment=SEGMENT, dropout=0.5)
    params, xs = net.init(jax.random.key(0), 1), jnp.asarray(rng.normal(size=(2, 9, 1)), "float32")
    (ys, _), (again, _) = net.apply(params, xs), net.apply(params, xs, key=None)
    np.testing.assert_array_equal(ys, again)
    keys = jax.random.split(jax.random.key(1), 4000)
    mean = jax.vmap(lambda key: net.apply(params, xs, key=key)[0])(keys).mean(0)
    np.testing.assert_allclose(mean, ys, atol=0.06)  # of values about 1, in 4000 draws
    assert net.random
    assert not gj.seg_rnn(HORIZON, dropout=0).random


@pytest.mark.parametrize("number", [SERIES, -1, 0.5, np.nan])
def test_a_series_without_a_vector_is_nan(number):
    net = gj.seg_rnn(HORIZON, hidden_size=HIDDEN, segment=SEGMENT, series=SERIES)
    params = net.init(jax.random.key(0), 2)
    xs = jnp.ones((1, 4, 2)).at[..., 1].set(number)
    assert np.isnan(net.apply(params, xs)[0]).all()


def test_the_work_does_not_grow_with_the_number_of_series():
    def cost(series):
        net = gj.seg_rnn(HORIZON, hidden_size=HIDDEN, segment=SEGMENT, series=series)
        params = jax.eval_shape(lambda: net.init(jax.random.key(0), 2))
        compiled = jax.jit(net.apply).lower(params, jnp.zeros((5, 8, 2))).compile()
        return compiled.cost_analysis()["flops"]

    assert cost(10_000) < 1.1 * cost(2)


def test_it_is_data():
    net = gj.seg_rnn(HORIZON, 3, hidden_size=HIDDEN, segment=SEGMENT, series=SERIES)
    assert gj.build(net.architecture) == net
    assert str(net) == "seg_rnn(7, 3, hidden_size=6, segment=4, series=3)"
    assert gj.stack(net, gj.dense(5)).output_size(2) == 5


@pytest.mark.untyped
def test_it_can_be_saved_and_exported(tmp_path, rng):
    net = gj.seg_rnn(HORIZON, 3, hidden_size=HIDDEN, segment=SEGMENT, series=SERIES, dropout=0.1)
    params = draw(net, 2, rng)
    gj.save(tmp_path / "net.safetensors", net, params)
    same, loaded = gj.load(tmp_path / "net.safetensors")
    assert same == net
    xs = np.zeros((5, 8, 2), np.float32) + rng.normal(size=(5, 8, 2)).round()
    xs[..., 1] = 1
    (b,) = jax.export.symbolic_shape("b")
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)
    call = jax.jit(lambda params, xs: net.apply(params, xs)[0])
    program = jax.export.export(call)(shapes, jax.ShapeDtypeStruct((b, 8, 2), np.float32))
    expected = [forecast(jax.tree.map(np.asarray, params), x[:, 0], 1, 3) for x in xs]
    for actual in (program.call(params, xs), net.apply(loaded, xs)[0]):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)  # float32


@pytest.mark.untyped
def test_refusals():
    net = gj.seg_rnn(HORIZON, hidden_size=HIDDEN, segment=SEGMENT)
    params, xs = net.init(jax.random.key(0), 1), jnp.zeros((2, 8, 1))
    with refused("seg_rnn: hidden_size must be even with several series, got 7."):
        gj.seg_rnn(4, hidden_size=7, series=2)
    with refused("seg_rnn: series must be 256 or fewer in bfloat16, got 257."):
        gj.seg_rnn(4, series=257, dtype="bfloat16")
    with refused("seg_rnn: segment must be a whole number from 1, got 0."):
        gj.seg_rnn(4, segment=0)
    with refused("dropout: rate must be 0 <= rate < 1, got 1.0."):
        gj.seg_rnn(4, dropout=1.0)
    with refused("seg_rnn: input_size must be 1 for 1 series, got 2."):
        net.init(jax.random.key(0), 2)
    for limits in ({"lengths": [8, 3]}, {"resets": jnp.zeros((2, 8), bool)}):
        with refused(
            "seg_rnn: lengths, mask and resets must be None; NaN tells which steps are missing."
        ):
            net.apply(params, xs, **limits)
    with refused("seg_rnn: xs must have one step or more, got (2, 0, 1)."):
        net.apply(params, xs[:, :0])
    with refused("seg_rnn: step must see the whole look-back, so it cannot stream; use apply."):
        net.step(params, xs[:, 0], ())
