"""The kernel's gradients without JAX's autodiff: differences of NumPy's loss, and the bound itself.

Each test runs on both kernels, the GPU's on an emulated GPU, and on their twin in JAX.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from kernel_problems import (
    CLIP,
    autodiff,
    close,
    draw,
    every_way,
    gradient,
    make_loss,
    value_and_gradient,
)
from problems import draw_problem

import gru_jax as gj
from gru_jax.sequence.backends import BACKENDS

pytestmark = pytest.mark.usefixtures("code")


@every_way
def test_gradients_are_differences_of_numpys_loss(reset, clip, reverse, time_axis, bounded):
    point = draw(reset)[:4]
    valid, resets = draw_problem(0, reset)[4:]
    bounds = {"reverse": reverse, "clip": clip or np.inf}
    if not bounded:
        valid, resets = np.ones_like(valid), np.zeros_like(resets)

    def numpy_loss(params, xs, h0, h_reset):
        ways = bounds | {"resets": resets, "h_reset": h_reset}
        hs, h_last = reference.unroll(params, xs, h0, valid, **ways)
        return (np.sin(hs) * hs).sum() + (h_last**3).sum()

    loss = make_loss(reset, clip=clip, reverse=reverse, time_axis=time_axis, bounded=bounded)
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda a: np.asarray(a, float), point))
    step = 1e-5
    for i, found in enumerate(jax.tree.leaves(jax.jit(gradient(loss))(*point))):
        along = np.random.default_rng(i).normal(size=found.shape)
        behind, ahead = (
            numpy_loss(*tree.unflatten([*leaves[:i], leaves[i] + s * along, *leaves[i + 1 :]]))
            for s in (-step, step)
        )
        close(np.float32(np.vdot(found, along)), (ahead - behind) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "xla"])
def test_a_state_at_the_bound_counts_as_clipped(form, backend):
    """Without weights z is 1/2 and c is 0, so that h is half of h0, to the bit."""
    cell, bound = gj.gru(6, reset=form, clip=CLIP), np.float32(CLIP)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    ends = np.nextafter(bound, np.float32([0, bound, 1]))
    h0, xs = jnp.asarray([*2 * ends, *-2 * ends]), jnp.zeros((1, 1))

    def last(h0):
        return gj.unroll(cell, params, xs, h0, backend=backend)[1]

    @jax.jit
    def ways(h0):
        ones = jnp.ones_like(h0)
        h, pull = jax.vjp(last, h0)
        return h, pull(ones)[0], jax.jvp(last, (h0,), (ones,))[1]

    h, *derivatives = ways(h0)
    np.testing.assert_array_equal(h, np.clip(h0 / 2, -bound, bound))
    for derivative in derivatives:
        np.testing.assert_array_equal(derivative, [0.5, 0, 0] * 2)


@every_way
@pytest.mark.parametrize("code", ["twin"], indirect=True)
@pytest.mark.usefixtures("x64")
def test_the_twin_in_float64_is_autodiff_to_its_precision(
    monkeypatch, reset, clip, reverse, time_axis, bounded
):
    backend = BACKENDS["cpu"]._replace(obstacle=lambda _: None)  # It refuses float64.
    monkeypatch.setitem(BACKENDS, "cpu", backend)
    point = jax.tree.map(jnp.asarray, tuple(draw_problem(0, reset)[:4]))
    ways = {"clip": clip, "reverse": reverse, "bounded": bounded}
    loss = make_loss(reset, time_axis=time_axis, dtype=jnp.float64, backend="cpu", **ways)
    found = jax.jit(value_and_gradient(loss))(*point)
    chex.assert_trees_all_close(found, autodiff(reset, point, **ways), rtol=1e-12, atol=1e-12)
