"""The compiled kernel: its numbers against NumPy in float64, its bits, its memory, its errors.

`tests/kernels/cpu` checks the same code without Python, `test_kernel_rules.py` its derivatives,
`test_kernel_batching.py` what becomes of it under `vmap`.
"""

import concurrent.futures
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_problems import check_extremes, check_ulps, draw_sizes

import gru_jax as gj
from gru_jax.kernels.cpu import library


@pytest.fixture
def native():
    """The compiled kernel: there has to be one wherever these tests run."""
    assert library.reason() is None, library.reason()
    level = library.level()
    yield library
    library.use_level(level)


@settings(derandomize=True)
@given(
    sizes=st.tuples(*(st.integers(1, n) for n in (9, 7, 70, 70))),
    reset=st.sampled_from(["before", "after"]),
    reverse=st.booleans(),
    bounded=st.booleans(),
    clip=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 2**31),
)
def test_states_of_any_size_are_those_of_numpy_on_every_instruction_set(
    sizes, reset, reverse, bounded, clip, seed
):
    assert library.reason() is None, library.reason()
    params, xs, h0, h_reset, valid, resets = draw_sizes(np.random.default_rng(seed), reset, *sizes)
    bounds = {"mask": valid, "resets": resets, "h_reset": h_reset} if bounded else {}
    if not bounded:
        valid, resets = np.ones_like(valid), np.zeros_like(resets)
    ways = {"resets": resets, "h_reset": h_reset, "reverse": reverse, "clip": clip or np.inf}
    hs, h_last = reference.unroll(params, xs.astype(float), h0, valid, **ways)
    cell = gj.gru(sizes[-1], reset=reset, clip=clip)
    run = jax.jit(
        lambda params, xs, h0, bounds: gj.unroll(
            cell, params, xs, h0, reverse=reverse, backend="cpu", **bounds
        )
    )
    best = library.level()
    try:
        for level in library.levels():
            library.use_level(level)
            found = run(params, xs, h0, bounds)
            np.testing.assert_allclose(found[0], hs, atol=2e-5, err_msg=level)
            np.testing.assert_allclose(found[1], h_last, atol=2e-5, err_msg=level)
    finally:
        library.use_level(best)


def test_sigmoid_and_tanh_are_within_2_and_a_half_ulp(native):
    small = np.logspace(-37, 0, 200_000)
    values = np.concatenate([np.linspace(-100, 100, 1_000_001), small, -small])
    for level in native.levels():
        native.use_level(level)
        check_ulps("cpu", values)


@pytest.mark.parametrize("clip", [None, 0.75])
def test_infinities_saturate_and_nan_stays(native, clip):
    for level in native.levels():
        native.use_level(level)
        check_extremes("cpu", clip)


@pytest.mark.slow("runs 100,000 steps on both backends")
@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_hundred_thousand_steps_are_trained_on(rng, reset):
    params, xs, h0, *_ = draw_sizes(rng, reset, 1, 100_000, 3, 4)
    grad = jax.jit(
        jax.value_and_grad(
            lambda params, backend: (
                gj.unroll(
                    gj.gru(4, reset=reset), params, xs, h0, memory="chunked", backend=backend
                )[0]
                ** 2
            ).mean()
        ),
        static_argnums=1,
    )
    for found, wanted in zip(
        jax.tree.leaves(grad(params, "cpu")), jax.tree.leaves(grad(params, "xla")), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)


def make_grad(hidden_size, reset):
    """Returns a compiled gradient, of a size that several threads share."""
    return jax.jit(
        jax.grad(
            lambda params, xs, h0: (
                gj.unroll(gj.gru(hidden_size, reset=reset), params, xs, h0, backend="cpu")[0] ** 2
            ).sum(),
            argnums=(0, 1, 2),
        )
    )


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize(("batch", "hidden_size"), [(33, 48), (1, 160)])  # rows or columns apart
def test_programs_that_run_at_once_give_the_same_bits_as_alone(rng, batch, hidden_size, reset):
    params, xs, h0, *_ = draw_sizes(rng, reset, batch, 20, 17, hidden_size)
    grad = make_grad(hidden_size, reset)
    alone = jax.tree.map(np.asarray, grad(params, xs, h0))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: grad(params, xs, h0), range(40)):
            jax.tree.map(np.testing.assert_array_equal, found, alone)


@pytest.mark.slow("calls 1,100 times")
def test_a_thousand_calls_take_no_more_memory(rng):
    params, xs, h0, *_ = draw_sizes(rng, "after", 33, 20, 17, 48)
    grad = make_grad(48, "after")

    def calls(count):
        for _ in range(count):
            jax.block_until_ready(grad(params, xs, h0))
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()  # now: the most that ever was is other tests'

    before = calls(100)
    # One call's arrays are 1 MiB: a tenth of them kept would be 100.
    assert calls(1000) - before < 16 * 2**20


@pytest.mark.usefixtures("native")
def test_wrong_shapes_come_back_as_an_error_not_as_a_crash():
    some, none = jnp.zeros((2, 3, 4)), jnp.zeros(0)
    W, b, h0, booleans = jnp.zeros((9, 5)), jnp.zeros(5), jnp.zeros((3, 5)), jnp.zeros(0, bool)
    results = [jax.ShapeDtypeStruct((2, 3, 5), jnp.float32), *[none] * 4]
    call = jax.ffi.ffi_call(library.FORWARD, results)
    ways = {"time_axis": np.int64(0), "reverse": False, "after": False, "keep": False}
    ways |= {"clip": np.float32(np.inf)}
    rest = none, h0, booleans, booleans, none
    assert call(some, W, W, W, b, b, b, *rest, **ways)[0].shape == (2, 3, 5)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"W_z must be \[9 5 \], got \[8 5 \]"):
        call(some, W, W[1:], W, b, b, b, *rest, **ways)
    with pytest.raises(jax.errors.JaxRuntimeError, match="both or neither of resets and h_reset"):
        call(some, W, W, W, b, b, b, *rest[:-1], h0, **ways)
    with pytest.raises(jax.errors.JaxRuntimeError, match="clip must be 0 or more"):
        call(some, W, W, W, b, b, b, *rest, **ways | {"clip": np.float32(np.nan)})


def test_a_level_that_is_not_there_is_refused(native):
    with pytest.raises(ValueError, match="must be one of levels"):
        native.use_level("avx1024")
