"""Each report against a case worked out by hand, and against NumPy where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import gru_jax as gj
from gru_jax.analysis import dynamics
from gru_jax.cells.gru import GRUGates
from gru_jax.sequence import schedule as loop

RESETS = ("before", "after")
BIASES = np.array([-1.0, -3.0, 0.5])


def tape_of(**values):
    """A trace with these values, [batch, time, hidden], and nothing else in it."""
    some = next(iter(values.values()))
    arrays = {name: jnp.asarray(value) for name, value in values.items()}
    gates = GRUGates(None, None, None)._replace(**arrays)
    return gj.Trace(gates, None, None, None, jnp.ones(some.shape[:-1], bool))


def leaky(reset):
    """A GRU without weights: h_t = (1 - z) h_{t-1}, with z = sigmoid(b_z) of each unit."""
    cell = gj.gru(3, reset=reset, dtype=jnp.float64)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 2))
    return cell, params._replace(b_z=jnp.asarray(BIASES)), 1 - 1 / (1 + np.exp(-BIASES))


def random_gru(seed, size, scale, reset="before"):
    """A GRU with normal weights of this scale, and its parameters."""
    rng = np.random.default_rng(seed)
    cell = gj.gru(size, reset=reset, dtype=jnp.float64)
    params = gj.GRUParams(*reference.random_params(rng, 2, size, reset))
    return cell, jax.tree.map(lambda a: jnp.asarray(scale * a), params)


def test_saturation_counts_the_steps_near_the_ends():
    r = np.array([0.09, 0.2, 0.91, 0.99])[:, None]
    c = np.array([-0.81, -0.79, 0.79, 0.81])[:, None]
    found = gj.saturation(tape_of(r=r, z=1 - r, c=c))
    assert [float(share[0]) for ends in found for share in ends] == [
        0.25,
        0.5,
        0.5,
        0.25,
        0.25,
        0.25,
    ]
    wide = gj.saturation(tape_of(r=r, c=c), margin=0.25)
    assert [float(share[0]) for share in (*wide.r, *wide.c)] == [0.5, 0.5, 0.5, 0.5]
    assert wide.z is None


def test_padding_is_not_counted():
    z = np.array([[[0.05], [0.5], [0.0]], [[0.05], [0.95], [0.05]]])
    trace = tape_of(z=z)._replace(valid=jnp.array([[True, True, False], [True] * 3]))
    low, high = gj.saturation(trace).z
    assert (float(low[0]), float(high[0])) == pytest.approx((3 / 5, 1 / 5))
    found = gj.timescales(trace)[:, 0]
    kept = [0.95 * 0.5, 0.95 * 0.05 * 0.95]
    np.testing.assert_allclose(found, [-2 / np.log(kept[0]), -3 / np.log(kept[1])], rtol=1e-6)


def test_a_timescale_is_the_steps_after_which_1_over_e_is_left():
    z = 1 - np.exp(-1 / np.array([1.0, 5, 100]))
    trace = tape_of(z=np.broadcast_to(z, (7, 3)))
    np.testing.assert_allclose(gj.timescales(trace), [1, 5, 100], rtol=1e-5)
    assert gj.timescales(tape_of(z=np.zeros((2, 1)))) == np.inf


def test_reports_of_images_are_those_of_their_pixels(rng):
    cell = gj.conv_gru(3)
    params = cell.init(jax.random.key(0), 2)
    xs = jnp.asarray(rng.normal(size=(2, 5, 3, 4, 2)), jnp.float32)
    trace = gj.trace(cell, params, xs, lengths=np.array([5, 3]))
    z = np.asarray(trace.z, np.float64)
    for row, length in enumerate((5, 3)):
        expected = -1 / np.log1p(-z[row, :length]).mean(0)
        np.testing.assert_allclose(gj.timescales(trace)[row], expected, rtol=1e-4)
    low = np.concatenate([z[0], z[1, :3]]) < 0.4
    np.testing.assert_allclose(gj.saturation(trace, margin=0.4).z.low, low.mean(0), atol=1e-6)


def test_a_gate_that_rounds_to_1_once_does_not_wipe_out_the_memory():
    """It counts as the largest number below 1: 1 - z is then half the spacing of the dtype."""
    z = np.where(np.arange(1000) == 500, 1.0, 2.0**-10)[:, None]
    for dtype, spacing in ((jnp.float32, 2.0**-23), (jnp.bfloat16, 2.0**-7)):
        trace = tape_of(z=jnp.asarray(z, dtype))
        want = -1000 / (999 * np.log(1 - 2.0**-10) + np.log(spacing / 2))
        np.testing.assert_allclose(gj.timescales(trace), want, rtol=1e-5)


@pytest.mark.slow("compiles the derivatives of a long loop")
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reset", RESETS)
def test_of_a_leaky_integrator_all_is_known(reset):
    """A unit that keeps the share k: tau = -1 / log k, dh_T/dh_t = k^(T-t), exponent log k."""
    cell, params, keep = leaky(reset)
    xs, lengths = np.ones((3, 60, 2)), np.array([60, 25, 0])
    trace = gj.trace(cell, params, xs, jnp.ones((3, 3)), lengths=lengths)
    memory = gj.timescales(trace)
    np.testing.assert_allclose(memory[:2], 2 * [-1 / np.log(keep)], rtol=1e-12)
    assert np.isnan(memory[2]).all()

    norms = gj.gradient_norms(cell, params, xs, lambda _, h: h.sum(), lengths=lengths)
    t = np.arange(60)
    for row, length in enumerate(lengths):
        want = np.linalg.norm(keep[:, None] ** (length - 1 - t), axis=0) * (t < length)
        np.testing.assert_allclose(norms[row], want, rtol=1e-12)

    exponents = gj.lyapunov_exponent(
        jax.random.key(0), cell, params, xs, lengths=np.array([60, 55, 0]), burn_in=50
    )
    # By then the slowest unit is all that is left of the difference, but for e^-50 or so.
    np.testing.assert_allclose(exponents[:2], np.log(keep.max()), rtol=1e-9)
    assert np.isnan(exponents[2])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradient_norms_match_differences_of_the_numpy_loop(reset, reverse):
    """A state is nudged by cutting the sequence there and going on from the nudged state."""
    cell, params = random_gru(1, 3, 1.0, reset)
    rng = np.random.default_rng(2)
    xs, weigh, valid = (
        rng.normal(size=(6, 2)),
        rng.normal(size=(6, 3)),
        np.array([1, 1, 0, 1, 1, 1], bool),
    )

    def loss_fn(hs, h_last):
        return (jnp.asarray(weigh) * hs**2).sum() + jnp.sin(h_last).sum()

    found = gj.gradient_norms(cell, params, xs, loss_fn, mask=valid, reverse=reverse)
    order = np.flatnonzero(valid)[:: -1 if reverse else 1]

    def rest_of_loss(place, h):
        """The loss from the state after step order[place] on."""
        total = 0.0
        for i, t in enumerate(order[place:]):
            if i:
                *_, h = reference.gates(params, xs[t], h)
            total += (weigh[t] * h**2).sum()
        return total + np.sin(h).sum()

    want, h = np.zeros(6), np.zeros(3)
    for place, t in enumerate(order):
        *_, h = reference.gates(params, xs[t], h)
        nudges = 1e-6 * np.eye(3)
        slopes = [(rest_of_loss(place, h + n) - rest_of_loss(place, h - n)) / 2e-6 for n in nudges]
        want[t] = np.linalg.norm(slopes)
    np.testing.assert_allclose(found, want, rtol=1e-7)


@pytest.mark.usefixtures("x64")
def test_no_gradient_crosses_into_the_episode_before():
    cell, params = random_gru(3, 4, 1.0)
    xs = np.random.default_rng(0).normal(size=(2, 8, 2))
    resets = np.arange(8) == np.array([[3], [0]])
    norms = gj.gradient_norms(cell, params, xs, lambda _, h: h.sum(), resets=resets)
    assert (norms[0, :3] == 0).all()
    assert (norms[0, 3:] > 0).all()
    assert (norms[1] > 0).all()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("reset", "size", "scale", "sign"), [("before", 8, 2, -1), ("after", 16, 4, 1)]
)
def test_the_exponent_is_the_growth_of_the_difference_of_two_numpy_trajectories(
    reset, size, scale, sign
):
    """Benettin's way, with a real second trajectory that is pulled back at each step."""
    cell, params = random_gru(0, size, scale, reset)
    params = params._replace(b_z=params.b_z + 2)
    time, burn_in = 80, 30  # Chaos parts JAX and NumPy, too, from the last digit on.
    xs = 0.1 * np.random.default_rng(4).normal(size=(time, 2))
    found = float(gj.lyapunov_exponent(jax.random.key(1), cell, params, xs, burn_in=burn_in))
    h, growth, distance = np.zeros(size), [], 1e-7
    first = np.asarray(jax.random.normal(jax.random.key(1), (size,)))
    near = h + distance * first / np.linalg.norm(first)
    for x in xs:
        *_, h = reference.gates(params, x, h)
        *_, near = reference.gates(params, x, near)
        gap = near - h
        growth.append(np.linalg.norm(gap) / distance)
        near = h + distance * gap / np.linalg.norm(gap)
    want = np.log(growth[burn_in:]).mean()
    assert np.sign(found) == sign
    assert found == pytest.approx(want, abs=1e-6)  # The distance is not nothing.


@pytest.mark.usefixtures("x64")
def test_backwards_the_exponent_is_that_of_the_reversed_sequence():
    cell, params = random_gru(6, 5, 2.0)
    xs = np.random.default_rng(0).normal(size=(2, 30, 2))
    key = jax.random.key(0)
    back = gj.lyapunov_exponent(
        key, cell, params, xs, lengths=np.array([30, 20]), reverse=True, burn_in=5
    )
    turned = xs.copy()
    turned[0], turned[1, :20] = xs[0, ::-1], xs[1, :20][::-1]
    ahead = gj.lyapunov_exponent(key, cell, params, turned, lengths=np.array([30, 20]), burn_in=5)
    np.testing.assert_allclose(back, ahead, rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_reports_begin_where_they_are_told_to():
    cell, params = random_gru(2, 4, 1.5)
    rng = np.random.default_rng(0)
    xs, h0 = rng.normal(size=(3, 2)), rng.normal(size=4)
    steps = [h0]
    for x in xs:
        steps.append(reference.gates(params, x, steps[-1])[-1])

    def last(h, x):
        return np.array([(reference.gates(params, x, h + d)[-1]) for d in 1e-6 * np.eye(4)])

    slope = (last(steps[2], xs[2]).sum(1) - steps[3].sum()) / 1e-6  # of the last state's sum
    norms = gj.gradient_norms(cell, params, xs, lambda _, h: h.sum(), h0)
    assert float(norms[1]) == pytest.approx(np.linalg.norm(slope), rel=1e-4)
    u = np.asarray(jax.random.normal(jax.random.key(0), (4,)))
    u, total = u / np.linalg.norm(u), 0.0
    for x, h, h_next in zip(xs, steps, steps[1:], strict=False):
        v = u @ (last(h, x) - h_next) / 1e-6
        total, u = total + np.log(np.linalg.norm(v)), v / np.linalg.norm(v)
    found = gj.lyapunov_exponent(jax.random.key(0), cell, params, xs, h0)
    assert float(found) == pytest.approx(total / 3, abs=1e-4)  # One-sided differences of 1e-6.


def test_a_gradient_that_overflows_is_infinite_not_nan():
    cell = gj.gru(2)
    params = cell.init(jax.random.key(0), 2)
    norms = gj.gradient_norms(cell, params, jnp.ones((3, 2)), lambda _, h: (h * jnp.inf).sum())
    assert np.isinf(norms[-1])


def test_equal_cells_share_what_is_compiled():
    xs, key, sizes = jnp.ones((5, 2)), jax.random.key(0), []
    for _ in range(2):
        cell = gj.gru(3)
        params = cell.init(key, 2)
        gj.gradient_norms(cell, params, xs, lambda _, h: h.sum())
        gj.lyapunov_exponent(key, cell, params, xs)
        sizes.append((loop.run._cache_size(), dynamics._mean_growth._cache_size()))
    assert sizes[0] == sizes[1]


def test_norms_go_as_far_down_as_float32_does():
    """Down to 1e-38; their squares would be lost at half the way."""
    cell = gj.gru(4)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 2))
    norms = gj.gradient_norms(cell, params, jnp.ones((100, 2)), lambda _, h: h.sum())
    want = 2 * 0.5 ** np.arange(99.0, -1, -1)
    np.testing.assert_allclose(norms, want, rtol=1e-6)


def test_reports_may_stand_under_jit_and_in_half_precision():
    cell = gj.gru(4, dtype=jnp.bfloat16)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((2, 9, 2), jnp.bfloat16)

    @jax.jit
    def reports(params):
        trace = gj.trace(cell, params, xs)
        norms = gj.gradient_norms(cell, params, xs, lambda _, h: h.sum())
        exponent = gj.lyapunov_exponent(jax.random.key(0), cell, params, xs)
        return gj.saturation(trace), gj.timescales(trace), norms, exponent

    assert all(np.isfinite(np.asarray(a, float)).all() for a in jax.tree.leaves(reports(params)))
