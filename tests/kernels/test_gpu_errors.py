"""Failures of NVIDIA's driver are errors that name its function: nothing crashes."""

import ctypes
import re
import shutil

import emulated_gpu
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj
from gru_jax.kernels.gpu import library

DRIVER = (emulated_gpu.KERNELS / "driver.cc").read_text()
CALLED = set(re.findall(r'call\("(cu\w+)"', DRIVER))
"""The functions of the driver that are called."""
AT_START = {"cuInit", "cuDriverGetVersion"}
IN_CHECKS = {name for name in CALLED if "Primary" in name or "Push" in name or "Pop" in name}
OF_STREAMS = {"cuStreamGetCtx", "cuLaunchKernelEx"}
OF_CLUSTERS = "cuOccupancyMaxActiveClusters"
RUNTIME_ERRORS = jax.errors.JaxRuntimeError, ValueError
"""On a CPU, JAX raises the second from a program's second call on."""
FAILED = "{} failed: out of memory (2)"


def compile_run(hidden):
    """Returns a compiled program and its arguments."""
    cell = gj.gru(hidden)
    args = cell.init(jax.random.key(0), 3), jnp.ones((2, 4, 3))
    program = jax.jit(lambda params, xs: gj.unroll(cell, params, xs, backend="gpu")[0])
    return program.lower(*args).compile(), args


@pytest.mark.parametrize("function", sorted(CALLED - AT_START - IN_CHECKS))
def test_a_program_whose_driver_fails_names_the_function_and_runs_again(function, emulated):
    program, args = compile_run(130 if function == OF_CLUSTERS else 5)
    want = np.asarray(program(*args))
    emulated.have()  # so that the image is loaded again
    emulated.fail(function)
    with pytest.raises(RUNTIME_ERRORS) as caught:
        jax.block_until_ready(program(*args))
    assert str(caught.value) == f"INTERNAL: gru_jax: {FAILED.format(function)}"
    emulated.fail()
    np.testing.assert_array_equal(program(*args), want)


def test_a_failure_without_words_has_its_number(emulated):
    program, args = compile_run(5)
    emulated.fail("cuLaunchKernelEx", "cuGetErrorString", status=719)
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(program(*args))
    assert str(caught.value).endswith("cuLaunchKernelEx failed: an unknown error (719)")


@pytest.mark.parametrize(
    ("hidden", "machine", "said"),
    [
        (5, {"shared": 2048}, "a block must have 7696 bytes of shared memory, and has 2048"),
        (5, {"processors": 0}, "the GPU holds no cluster of 1 block"),
        (300, {"clusters": 0}, "the GPU holds no cluster of 16 blocks"),
    ],
)
def test_a_gpu_that_is_too_small_is_an_error(hidden, machine, said, emulated):
    program, args = compile_run(hidden)
    emulated.have(**machine)
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(program(*args))
    assert str(caught.value) == f"INTERNAL: gru_jax: {said}"


@pytest.mark.parametrize("function", sorted(CALLED - AT_START - OF_STREAMS))
def test_a_check_that_fails_says_why_and_gives_the_context_back(function, emulated):
    image = library.make_image("forward", 130 if function == OF_CLUSTERS else 5, True)
    emulated.native.fake_no_context()  # so that one is pushed
    emulated.fail(function, status=209)
    refusal = library._refusal(image)
    if "Pop" in function:  # Nothing can be done about these.
        assert refusal is None
        return
    assert refusal == f"cannot run on toy: {function} failed: a told failure (209)"
    assert emulated.native.fake_held() == 0
    emulated.fail()
    assert library._refusal(image) is None
    assert emulated.native.fake_held() == 0


@pytest.fixture
def copy(emulated, emulated_folder, tmp_path):
    """Returns a function that makes a fresh copy of the handlers and the driver."""

    def make(old="", new=""):
        path = tmp_path / f"copy{len(list(tmp_path.iterdir()))}.so"
        code = emulated_gpu.compile_driver(emulated_folder).read_bytes()
        path.write_bytes(code.replace(old.encode(), new.encode()) if old else code)
        return path

    assert emulated
    return make


def load(path, driver, monkeypatch):
    """Installs the handlers at a path, with a driver of their own."""
    native = ctypes.CDLL(str(path))
    native.gru_jax_gpu_use_driver(str(driver).encode())
    monkeypatch.setattr(library.library, "open_library", lambda: native)
    return native


def test_without_a_driver_this_is_said_until_there_is_one(copy, tmp_path, monkeypatch):
    image = library.make_image("forward", 5, True)
    path = tmp_path / "libcuda.so.1"
    native = load(copy(), path, monkeypatch)
    assert native.gru_jax_gpu_driver_version() == 0
    why = f"{path}: cannot open shared object file: No such file or directory"
    assert library._refusal(image) == f"cannot run on toy: there is no NVIDIA driver: {why}"
    shutil.copy(copy(), path)
    ctypes.CDLL(str(path)).fake_machine(1, 100_000, 1, 0)
    assert library._refusal(image) is None
    assert native.gru_jax_gpu_driver_version() == 13000


@pytest.mark.parametrize("function", ["cuInit", "cuModuleLoadData", "cuGetErrorString"])
def test_a_driver_that_lacks_a_function_is_too_old(function, copy, monkeypatch):
    image = library.make_image("forward", 5, True)
    driver = copy(f"\0{function}\0", f"\0{function[:-1]}_\0")
    old = ctypes.CDLL(str(driver))
    old.fake_machine(1, 100_000, 1, 0)
    old.fake_failure(b"cuCtxGetCurrent" * (function == "cuGetErrorString"), 2)
    load(copy(), driver, monkeypatch)
    said = f"the NVIDIA driver is too old: it has no {function}"
    assert library._refusal(image) == f"cannot run on toy: {said}"


def test_a_driver_that_does_not_start_is_tried_again(copy, monkeypatch):
    image = library.make_image("forward", 5, True)
    path = copy()
    native = load(path, path, monkeypatch)
    native.fake_machine(1, 100_000, 1, 0)
    native.fake_failure(b"cuInit", 2)
    assert library._refusal(image) == f"cannot run on toy: {FAILED.format('cuInit')}"
    native.fake_failure(b"cuDriverGetVersion", 2)
    assert native.gru_jax_gpu_driver_version() == 0
    assert library._refusal(image) is None


def test_a_thread_without_a_context_takes_the_streams_and_gives_it_back(emulated):
    program, args = compile_run(5)
    want = np.asarray(program(*args))
    emulated.have()
    emulated.native.fake_no_context()
    np.testing.assert_array_equal(program(*args), want)
    assert emulated.native.fake_held() == 0
    emulated.fail("cuLaunchKernelEx")
    with pytest.raises(RUNTIME_ERRORS, match="cuLaunchKernelEx failed"):
        jax.block_until_ready(program(*args))
    assert emulated.native.fake_held() == 0
