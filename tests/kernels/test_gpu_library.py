"""Where the GPU kernel cannot run, one sentence says why; it runs by name only."""

import _ctypes
import ctypes
import logging
import subprocess
import sys
import threading
import types

import emulated_gpu
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj
from gru_jax.kernels.gpu import compiler, library
from gru_jax.sequence.backends import BACKENDS

FIND_DEVICES, MISSING = library._devices, library.library.missing


@pytest.fixture(autouse=True)
def anew(tmp_path, monkeypatch):
    caches = library._load, library._find_nvrtc, compiler._make
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def targets(emulated_folder, monkeypatch):
    """What has been registered with XLA; there is a GPU, and nothing is missing."""
    names = []
    machine = emulated_gpu.machine(emulated_folder)
    machine.have()
    machine.fail()
    emulated_gpu.plug_in(monkeypatch, emulated_folder)
    monkeypatch.setattr(library.library, "missing", lambda: None)
    monkeypatch.setattr(
        jax.ffi,
        "register_ffi_target",
        lambda name, _, *, platform, api_version: names.append((name, platform, api_version)),
    )
    yield names
    machine.fail()


def unroll(hidden, backend, reset="after"):
    cell = gj.gru(hidden, reset=reset)
    xs = jnp.linspace(-1, 1, 2 * 4 * 3).reshape(2, 4, 3)
    run = jax.jit(lambda params, xs: (gj.unroll(cell, params, xs, backend=backend)[0] ** 2).sum())
    return jax.block_until_ready(jax.value_and_grad(run)(cell.init(jax.random.key(0), 3), xs))


def gpu_of(capability, kind):
    return types.SimpleNamespace(
        compute_capability=capability, device_kind=kind, local_hardware_id=0
    )


def no_cuda(monkeypatch):
    def local_devices(*, backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(library, "_devices", FIND_DEVICES)
    monkeypatch.setattr(jax, "local_devices", local_devices)
    return "gru_jax's GPU kernel needs an NVIDIA GPU, and JAX has none here."


def no_gpu_of_this_process(monkeypatch):
    monkeypatch.setattr(library, "_devices", list)
    return "gru_jax's GPU kernel needs an NVIDIA GPU, and JAX has none here."


def an_old_gpu(monkeypatch):
    devices = [gpu_of("9.0", "H100"), gpu_of("7.5", "T4")]
    monkeypatch.setattr(library, "_devices", lambda: devices)
    return "gru_jax's GPU kernel needs a GPU of compute capability 8.0 or newer, got 7.5."


def no_native_library(monkeypatch):
    monkeypatch.setattr(library.library, "missing", lambda: "It was not built.")
    return "It was not built."


def a_native_library_without_the_handlers(monkeypatch):
    native = ctypes.CDLL(_ctypes.__file__)
    monkeypatch.setattr(library.library, "open_library", lambda: native)
    missing = f"{_ctypes.__file__}: undefined symbol: gru_jax_gpu_forward"
    return f"gru_jax's GPU kernel cannot be loaded: {missing}."


def no_nvrtc(monkeypatch):
    def find(newest):
        assert newest == 13
        raise compiler.Unavailable("NVRTC is not installed: install it")

    monkeypatch.setattr(compiler, "find", find)
    return "gru_jax's GPU kernel cannot be compiled: NVRTC is not installed: install it."


def an_nvrtc_that_fails(monkeypatch):
    monkeypatch.setattr(compiler, "_read_sources", lambda: (b"int x = y;", [("a", b"")]))
    return (
        "gru_jax's GPU kernel cannot be compiled: libnvrtc.so.13 does not compile the kernel: "
        'gru.cu(1): error: identifier "y" is undefined.'
    )


def a_driver_that_refuses(monkeypatch):
    library.library.open_library().fake_failure(b"cuModuleLoadData", 209)
    monkeypatch.setattr(library, "_devices", lambda: [gpu_of("9.0", "NVIDIA H100")])
    return (
        "gru_jax's GPU kernel cannot run on NVIDIA H100: cuModuleLoadData failed: a told failure "
        "(209)."
    )


@pytest.mark.parametrize(
    "situation",
    [
        no_cuda,
        no_gpu_of_this_process,
        an_old_gpu,
        no_native_library,
        a_native_library_without_the_handlers,
        no_nvrtc,
        an_nvrtc_that_fails,
        a_driver_that_refuses,
    ],
)
def test_a_missing_kernel_has_a_reason_and_asking_for_it_is_an_error(
    situation, targets, monkeypatch
):
    reason = situation(monkeypatch)
    assert library.reason() == reason
    with refused(f'unroll: backend must be "auto" or "xla", got "gpu": {reason}'):
        unroll(5, "gpu")
    assert not targets


def test_many_threads_register_both_handlers_once(targets):
    gate = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (gate.wait(), library.reason())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.reason() is None
    assert targets == [(library.FORWARD, "CUDA", 1), (library.BACKWARD, "CUDA", 1)]


def test_a_library_of_other_sources_is_not_used(targets, monkeypatch):
    monkeypatch.setattr(library.library, "missing", MISSING)  # The emulated one has no fingerprint.
    assert library.reason() == (
        "gru_jax's native kernel was built from other sources than are there now: run "
        "pip install -e . again."
    )
    assert not targets


AUTO = """
import jax, jax.numpy as jnp, gru_jax as gj
find = jax.local_devices
def local_devices(*args, backend=None, **ways):
    assert backend != "cuda"
    return find(*args, backend=backend, **ways)
jax.local_devices = local_devices
cell = gj.gru(4)
run = lambda params: gj.unroll(cell, params, jnp.ones((2, 3, 3)))[0].sum()
jax.block_until_ready(jax.grad(run)(cell.init(jax.random.key(0), 3)))
print([line for line in open("/proc/self/maps") if "libcuda" in line or "nvrtc" in line])
"""


def test_auto_loads_nothing_of_cudas():
    done = subprocess.run([sys.executable, "-c", AUTO], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_auto_does_not_take_the_kernel_on_a_gpu(monkeypatch, caplog):
    def unavailable():
        raise AssertionError("nobody asked")

    caplog.set_level(logging.DEBUG, "gru_jax")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setitem(BACKENDS, "gpu", BACKENDS["gpu"]._replace(unavailable=unavailable))
    unroll(5, "auto")
    assert caplog.messages == ["unroll: XLA's loops: programs on gpu."]


@pytest.mark.parametrize(
    ("capability", "hidden", "why"),
    [
        ("8.0", 129, "a hidden_size above 128 on this GPU"),
        ("8.9", 128, None),
        ("9.0", 129, None),
        ("12.0", 300, "a kernel that cannot run on that: no cluster of 16 blocks fits"),
        ("9.0", 513, "a hidden_size above 512"),
    ],
)
def test_a_state_too_large_for_the_gpu_is_refused(capability, hidden, why, emulated, monkeypatch):
    emulated.have(clusters=0 if capability == "12.0" else 1)
    monkeypatch.setattr(library, "_devices", lambda: [gpu_of(capability, "that")])
    if why is None:
        unroll(hidden, "gpu")
        width = 128 if hidden == 128 else 256
        assert emulated.last_launch[0] == f"gru_backward_after_{width}"
    else:
        got = ', got "gpu"' if hidden > 512 else ""
        with refused(f'unroll: backend must be "auto" or "xla" for {why}{got}.'):
            unroll(hidden, "gpu")


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_backward_pass_that_does_not_compile_is_xlas(reset, emulated, monkeypatch, caplog):
    make = library.make_image

    def make_image(way, *args):
        if way == "backward":
            raise compiler.Unavailable("no luck")
        return make(way, *args)

    monkeypatch.setattr(library, "make_image", make_image)
    caplog.set_level(logging.DEBUG, "gru_jax")
    found = unroll(5, "gpu", reset)
    assert caplog.messages == [
        "recurrence: the compiled kernel runs.",
        "recurrence: XLA's loop runs in the backward pass, for the want of a kernel: no luck.",
    ]
    assert emulated.last_launch[0] == f"gru_forward_{reset}_64"
    for got, want in zip(*map(jax.tree.leaves, (found, unroll(5, "xla", reset))), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
