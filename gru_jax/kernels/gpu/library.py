"""Whether the GPU's kernel can run here; registers it with XLA when it is first asked."""

import ctypes
import threading
from functools import cache
from pathlib import Path
from typing import Any

import jax

from gru_jax.kernels.cpu import library
from gru_jax.kernels.gpu import compiler

FORWARD = "gru_jax_gpu_forward"
BACKWARD = "gru_jax_gpu_backward"

_loading = threading.Lock()


def reason() -> str | None:
    """Returns None if XLA can call the kernel on JAX's GPUs, else one sentence that says why not.

    The first call starts JAX's CUDA backend, compiles a kernel and loads it on each GPU.
    """
    with _loading:
        return _load()


def obstacle(way: compiler.Pass, hidden: int, after: bool) -> str | None:
    """Returns why JAX's GPUs cannot run a pass over such states, a phrase; None if they can."""
    clusters = capability() >= compiler.CLUSTERS
    most = compiler.WIDTHS[-1] if clusters else compiler.ALONE
    if hidden > most:
        return f"a hidden_size above {most} on this GPU"
    try:
        complaint = _complaint(way, make_image(way, hidden, after))
    except compiler.Unavailable as error:
        complaint = str(error)
    return complaint and f"the want of a kernel: {complaint}"


def make_image(way: compiler.Pass, hidden: int, after: bool) -> compiler.Image:
    """Returns the kernel of one pass and form, for JAX's GPUs.

    Raises:
        Unavailable: if NVRTC is missing or fails.
    """
    return compiler.make_image(way, hidden, after, capability(), _find_nvrtc())


def capability() -> tuple[int, int]:
    """Returns the lowest compute capability of JAX's GPUs."""
    versions = (device.compute_capability.split(".") for device in _devices())
    return min((int(major), int(minor)) for major, minor in versions)


def _devices() -> list[Any]:
    return jax.local_devices(backend="cuda")


@cache
def _find_nvrtc() -> Path:
    version = library.open_library().gru_jax_gpu_driver_version()
    return compiler.find(version // 1000 or compiler.NEWEST)


@cache
def _load() -> str | None:
    try:
        _devices()
    except RuntimeError:
        return "gru_jax's GPU kernel needs an NVIDIA GPU, and JAX has none here."
    if capability() < compiler.OLDEST:
        oldest, found = (".".join(map(str, pair)) for pair in (compiler.OLDEST, capability()))
        return (
            f"gru_jax's GPU kernel needs a GPU of compute capability {oldest} or newer, "
            f"got {found}."
        )
    try:
        native = library.open_library()
        handlers = {name: getattr(native, name) for name in (FORWARD, BACKWARD)}
    except (OSError, AttributeError) as error:
        return f"gru_jax's GPU kernel cannot be loaded: {error}."
    if complaint := obstacle("forward", 1, True):
        return f"gru_jax's GPU kernel cannot run: {complaint}."
    for name, handler in handlers.items():
        target = jax.ffi.pycapsule(handler)
        jax.ffi.register_ffi_target(name, target, platform="CUDA", api_version=1)
    return None


@cache
def _complaint(way: compiler.Pass, image: compiler.Image) -> str | None:
    """Returns why the driver refuses an image on one of the devices; None if it takes it."""
    check = library.open_library().gru_jax_gpu_check
    check.restype = ctypes.c_char_p
    check.argtypes = (*[ctypes.c_int] * 3, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64)
    code = image.code, image.name.encode(), image.key
    for device in _devices():
        if said := check(device.local_hardware_id, way == "backward", image.width, *code):
            return f"{said.decode()}, on {device.device_kind}"
    return None
