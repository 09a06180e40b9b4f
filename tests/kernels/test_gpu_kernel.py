"""The GPU kernel: its numbers against NumPy in float64, and its bits.

Where JAX has a GPU these tests run on it, else on the emulated GPU.

`test_kernel_rules.py` and its neighbours run it through every derivative, at one small size.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_problems import check_extremes, check_ulps, draw_sizes

import gru_jax as gj

pytestmark = pytest.mark.usefixtures("gpu")

EDGES = (1, 63, 64, 65, 127, 128, 129, 254, 256, 257, 300, 512)
"""Sizes of states around the widths of the kernels, with and without copies of 16 bytes."""
FORMS = ("before", "after")


def states(reset, clip, reverse, params, xs, h0, bounds, **ways):
    cell = gj.gru(h0.shape[-1], reset=reset, clip=clip)
    return gj.unroll(cell, params, xs, h0, reverse=reverse, backend="gpu", **bounds, **ways)


def wanted(clip, reverse, params, xs, h0, h_reset, valid, resets):
    ways = {"resets": resets, "h_reset": h_reset, "reverse": reverse, "clip": clip or np.inf}
    return reference.unroll(params, xs.astype(float), h0, valid, **ways)


@settings(
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example sets the machine
)
@given(
    hidden=st.integers(1, 70) | st.sampled_from(EDGES),
    sizes=st.tuples(*(st.integers(1, n) for n in (9, 7, 20))),
    reset=st.sampled_from(FORMS),
    reverse=st.booleans(),
    bounded=st.booleans(),
    clip=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 2**31 - 1),
)
def test_states_of_any_size_are_those_of_numpy(
    gpu, hidden, sizes, reset, reverse, bounded, clip, seed
):
    gpu.have(seed=seed, clusters=1 + seed % 3)
    problem = draw_sizes(np.random.default_rng(seed), reset, *sizes, hidden)
    params, xs, h0, h_reset, valid, resets = problem
    bounds = {"mask": valid, "resets": resets, "h_reset": h_reset} if bounded else {}
    if not bounded:
        valid, resets = np.ones_like(valid), np.zeros_like(resets)
    hs, h_last = states(reset, clip, reverse, params, xs, h0, bounds)
    want = wanted(clip, reverse, params, xs, h0, h_reset, valid, resets)
    np.testing.assert_allclose(hs, want[0], atol=2e-5)
    np.testing.assert_allclose(h_last, want[1], atol=2e-5)


@pytest.mark.parametrize("reset", FORMS)
@pytest.mark.parametrize(
    ("hidden", "bounded", "clip", "reverse"),
    [
        (64, True, 0.3, True),
        (100, True, None, False),
        (255, True, None, True),
        (256, False, 0.3, False),
        (512, True, 0.3, False),
    ],
)
def test_gradients_of_each_width_are_differences_of_numpys_loop(
    rng, reset, hidden, bounded, clip, reverse
):
    params, xs, h0, h_reset, valid, resets = draw_sizes(rng, reset, 3, 5, 7, hidden)
    bounds = {"mask": valid, "resets": resets} if bounded else {}
    if not bounded:
        valid, resets = np.ones_like(valid), np.zeros_like(resets)
    weigh = rng.normal(size=(3, 5, hidden))

    @jax.jit
    def gradient(*point):
        def loss(params, xs, h0, h_reset):
            more = bounds | ({"h_reset": h_reset} if bounded else {})
            hs, _ = states(reset, clip, reverse, params, xs, h0, more)
            return (hs * weigh.astype(np.float32)).sum()

        return jax.grad(loss, argnums=(0, 1, 2, 3))(*point)

    def value(params, xs, h0, h_reset):
        hs, _ = wanted(clip, reverse, params, xs, h0, h_reset, valid, resets)
        return (hs * weigh * valid[..., None]).sum()

    point = params, xs, h0, h_reset
    found = jax.tree.leaves(gradient(*point))
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda a: a.astype(float), point))
    assert len(found) == len(leaves)
    for i, (a, g) in enumerate(zip(leaves, found, strict=True)):  # each array alone
        along = rng.normal(size=a.shape) / np.sqrt(a.size)

        def moved(step, i=i, along=along):
            at = [b + step * along if i == j else b for j, b in enumerate(leaves)]
            return value(*tree.unflatten(at))

        want = (moved(1e-6) - moved(-1e-6)) / 2e-6
        np.testing.assert_allclose(np.vdot(g, along), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reset", FORMS)
@pytest.mark.parametrize("hidden", [60, 128, 200, 400])
def test_no_order_of_threads_and_no_share_of_rows_changes_a_bit(gpu, rng, reset, hidden):
    """A kernel that depends on an order that its barriers do not enforce would differ."""
    sizes = (3, 4) if hidden == 400 else (7, 6)
    params, xs, h0, h_reset, valid, resets = draw_sizes(rng, reset, *sizes, 5, hidden)
    bounds = {"mask": valid, "resets": resets, "h_reset": h_reset}

    @jax.jit
    def run(params, xs, h0):
        def loss(params, xs, h0):
            hs, _ = states(reset, None, False, params, xs, h0, bounds)
            return (hs**2).sum(), hs

        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(params, xs, h0)

    first = jax.tree.map(np.asarray, run(params, xs, h0))
    small = 46 if hidden == 60 else 90 if hidden == 128 else 60  # KiB: for few rows
    for seed, more in enumerate(({}, {"clusters": 7, "processors": 7}, {"shared": small * 1024})):
        for again in range(2):
            gpu.have(seed=1 + 2 * seed + again, **more)
            jax.tree.map(np.testing.assert_array_equal, run(params, xs, h0), first)


DIGESTS = {"before": "27cb1e712a04adbf", "after": "bdbd1ef2c3495113"}
"""Of states and gradients, as the emulated GPU computed them."""


@pytest.mark.parametrize("reset", FORMS)
def test_its_bits_are_the_same_on_every_machine(rng, reset):
    """All its operations round as IEEE 754 says, in an order that is fixed.

    The input has one feature, so that XLA's products round once. XLA computes no sum here.
    """
    params, xs, h0, h_reset, valid, resets = draw_sizes(rng, reset, 3, 9, 1, 200)
    bounds = {"mask": valid, "resets": resets}

    def of_states(h0, h_reset):
        hs, _ = states(reset, 0.5, False, params, xs, h0, bounds | {"h_reset": h_reset})
        return hs

    hs, pull = jax.vjp(of_states, h0, h_reset)
    arrays = [np.asarray(a) for a in (hs, *pull(jnp.ones_like(hs)))]
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]
    assert digest == DIGESTS[reset]


@pytest.mark.parametrize("reset", FORMS)
def test_what_is_wrong_in_one_row_stays_there(rng, reset):
    params, xs, h0, *_ = draw_sizes(rng, reset, 5, 4, 3, 40)
    clean, _ = states(reset, None, False, params, xs, h0, {})
    xs[2, 1] = np.nan
    hs, _ = states(reset, None, False, params, xs, h0, {})
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(hs[others,], clean[others,])
    np.testing.assert_array_equal(hs[2, 0], clean[2, 0])
    assert np.isnan(hs[2, 1:]).all()


def test_sigmoid_and_tanh_are_within_2_and_a_half_ulp():
    small = np.logspace(-37, 0, 5_000)
    check_ulps("gpu", np.concatenate([np.linspace(-100, 100, 30_001), small, -small]))


@pytest.mark.parametrize("clip", [None, 0.75])
def test_infinities_saturate_and_nan_stays(clip):
    check_extremes("gpu", clip)


@pytest.mark.parametrize("reset", FORMS)
def test_half_precision_has_states_gates_and_sums_in_float32(rng, reset):
    """The results are rounded once: XLA's loops, which round each step, are farther off."""
    half = jnp.bfloat16
    params, xs, h0, h_reset, valid, resets = jax.tree.map(
        lambda a: jnp.asarray(a, half if a.dtype == np.float32 else bool),
        draw_sizes(rng, reset, 4, 50, 6, 30),
    )
    cell = gj.gru(30, reset=reset, dtype=half)
    bounds = {"mask": valid, "resets": resets, "h_reset": h_reset}
    hs, h_last = gj.unroll(cell, params, xs, h0, backend="gpu", **bounds)
    assert hs.dtype == h_last.dtype == half
    arrays = jax.tree.map(lambda a: np.asarray(a, float), (params, xs, h0, h_reset))
    want, _ = wanted(None, False, *arrays, np.asarray(valid), np.asarray(resets))
    off = np.abs(np.asarray(hs, float) - want)
    assert (off <= 2.0**-8 * np.abs(want) + 1e-6).all()  # half a unit in bfloat16's last place
    loops, _ = gj.unroll(cell, params, xs, h0, backend="xla", **bounds)
    assert np.abs(np.asarray(loops, float) - want).max() > 2 * off.max()

    def loss(params, xs, dtype):
        ways = {"backend": "gpu"} if dtype == half else {"backend": "xla"}
        cell = gj.gru(30, reset=reset, dtype=dtype)
        start, begins = (a.astype(dtype) for a in (h0, h_reset))
        more = {"mask": valid, "resets": resets, "h_reset": begins}
        hs, _ = gj.unroll(cell, params, xs, start, **ways, **more)
        return (hs.astype(jnp.float32) ** 2).sum()

    grads = jax.grad(loss, argnums=(0, 1))(params, xs, half)
    exact = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))
    for g, full in zip(
        jax.tree.leaves(grads),
        jax.tree.leaves(jax.grad(loss, (0, 1))(*exact, jnp.float32)),
        strict=True,
    ):
        assert g.dtype == half
        # The loss reads rounded states, which are off by 2^-9 of a state of 1 at most.
        assert np.abs(np.asarray(g, float) - full).max() < 0.02 * np.abs(full).max()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_arrays_of_no_size_are_xlas(emulated, shape):
    cell, before = gj.gru(4), emulated.launches
    params = cell.init(jax.random.key(0), 3)
    hs, h_last = gj.unroll(cell, params, np.zeros((*shape, 3), np.float32), backend="gpu")
    assert hs.shape == (*shape, 4)
    assert h_last.shape == (shape[0], 4)
    assert emulated.launches == before


@pytest.mark.slow("runs 100,000 steps on the emulated GPU")
def test_a_hundred_thousand_steps_are_trained_on(rng):
    params, xs, h0, *_ = draw_sizes(rng, "after", 1, 100_000, 3, 4)

    def loss(params, backend):
        ways = {"memory": "chunked", "backend": backend}
        return (gj.unroll(gj.gru(4, reset="after"), params, xs, h0, **ways)[0] ** 2).mean()

    grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    found, want = (jax.tree.leaves(grad(params, backend)) for backend in ("gpu", "xla"))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
