from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import check_gradient_of_zeros

import gru_jax as gj

RESETS = ("before", "after")


def draw(rng, reset, dtype=np.float64, batch=(4,), input_size=3, hidden_size=5):
    cell = gj.layer_norm_gru(hidden_size, reset=reset, dtype=dtype)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.8, leaf.shape), dtype),
        cell.init(jax.random.key(0), input_size),
    )
    xs = jnp.asarray(rng.normal(size=(*batch, 7, input_size)), dtype)
    h = jnp.asarray(rng.normal(size=(*batch, hidden_size)), dtype)
    return cell, params, xs, h


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.usefixtures("x64")
def test_a_step_is_the_equations(rng, reset, batch):
    cell, params, xs, h = draw(rng, reset, batch=batch)
    want = reference.layer_norm_gates(params, np.asarray(xs[..., 0, :]), np.asarray(h))[-1]
    np.testing.assert_allclose(cell.step(params, xs[..., 0, :], h), want, rtol=1e-11)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("x64")
def test_unroll_is_the_numpy_loop(rng, reset, reverse):
    cell, params, xs, h0 = draw(rng, reset)
    valid, resets = rng.random((4, 7)) < 0.7, rng.random((4, 7)) < 0.3
    h_reset = rng.normal(size=h0.shape)
    boundaries = {"resets": resets, "h_reset": h_reset, "reverse": reverse}
    want = reference.unroll(
        params, np.asarray(xs), h0, valid, gates=reference.layer_norm_gates, **boundaries
    )
    got = gj.unroll(cell, params, xs, h0, mask=valid, **boundaries)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.usefixtures("x64")
def test_every_bias_and_gain_reaches_its_own_place(rng, reset):
    cell, params, xs, h = draw(rng, reset)
    x = xs[:, 0]
    for name in params._fields:
        if name[0] in "bg" and getattr(params, name) is not None:
            moved = params._replace(**{name: getattr(params, name) + 0.1})
            want = reference.layer_norm_gates(moved, np.asarray(x), np.asarray(h))[-1]
            np.testing.assert_allclose(cell.step(moved, x, h), want, rtol=1e-11)
            assert np.abs(want - cell.step(params, x, h)).max() > 1e-4


@pytest.mark.usefixtures("x64")
def test_epsilon_is_the_one_asked_for(rng):
    _, params, xs, h = draw(rng, "after")
    cell = gj.layer_norm_gru(5, reset="after", epsilon=0.3, dtype=jnp.float64)
    gates = partial(reference.layer_norm_gates, epsilon=0.3)
    want = gates(params, np.asarray(xs[:, 0]), np.asarray(h))[-1]
    np.testing.assert_allclose(cell.step(params, xs[:, 0], h), want, rtol=1e-11)
    np.testing.assert_allclose(gj.unroll(cell, params, xs[:, :1], h)[0][:, 0], want, rtol=1e-11)


def test_it_begins_with_gains_of_one_and_the_weights_of_a_gru():
    params = gj.layer_norm_gru(8, reset="after").init(jax.random.key(0), 3)
    assert gj.count_parameters(params) == 3 * (11 * 8 + 8) + 8 + 6 * 8
    for name in params._fields:
        leaf = getattr(params, name)
        if name.startswith("g"):
            np.testing.assert_array_equal(leaf, 1)
        elif name.startswith("b"):
            np.testing.assert_array_equal(leaf, 0)
        else:
            np.testing.assert_allclose(leaf[3:].T @ leaf[3:], np.eye(8), atol=1e-5)
    keyed = gj.layer_norm_gru(8, gain_init=jax.nn.initializers.normal()).init(jax.random.key(0), 3)
    gains = [leaf for name, leaf in keyed._asdict().items() if name.startswith("g")]
    assert len({float(gain[0]) for gain in gains}) == 6


@pytest.mark.usefixtures("x64")
def test_the_scale_and_shift_of_the_weights_no_longer_matter(rng):
    """What normalisation is for: N(s a + t) = N(a), so far as epsilon is small."""
    cell, params, xs, h0 = draw(rng, "after")
    n = xs.shape[-1]
    W_r = params.W_r.at[:n].multiply(10).at[n:].multiply(7)
    W_r = W_r.at[:n].add(jnp.arange(1.0, n + 1)[:, None] @ jnp.ones((1, 5)))
    hs, _ = gj.unroll(cell, params, xs, h0)
    scaled, _ = gj.unroll(cell, params._replace(W_r=W_r), xs, h0)
    np.testing.assert_allclose(scaled, hs, atol=1e-3)


def test_a_product_without_spread_has_a_finite_gradient():
    check_gradient_of_zeros(gj.layer_norm_gru(5))
