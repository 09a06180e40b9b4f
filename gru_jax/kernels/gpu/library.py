"""Whether the GPU kernel can run here; registers it with XLA on first use."""

import ctypes
import threading
from functools import cache
from pathlib import Path
from typing import Any

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


def capability() -> tuple[int, int]:
    """Returns the lowest compute capability of JAX's GPUs."""
    pairs = (device.compute_capability.split(".") for device in _devices())
    return min((int(major), int(minor)) for major, minor in pairs)


def obstacle(way: compiler.Pass, hidden: int, after: bool) -> str | None:
    """Returns why JAX's GPUs cannot run a pass over states of this size, as a phrase, or None."""
    clusters = capability() >= compiler.CLUSTERS
    most = compiler.WIDTHS[-1] if clusters else compiler.ALONE
    if hidden > most:
        return f"a hidden_size above {most} on this GPU"
    try:
        image = make_image(way, hidden, after)
    except compiler.Unavailable as error:
        return f"the want of a kernel: {error}"
    refusal = _refusal(image)  # Some GPUs cannot hold the largest clusters.
    return refusal and f"a kernel that {refusal}"


def make_image(way: compiler.Pass, hidden: int, after: bool) -> compiler.Image:
    """Returns the compiled kernel for one pass and one form, for JAX's GPUs.

    Raises:
        Unavailable: if NVRTC is missing or fails.
    """
    return compiler.make_image(way, hidden, after, capability(), _find_nvrtc())


def _devices() -> list[Any]:
    import jax

    return jax.local_devices(backend="cuda")


@cache
def _find_nvrtc() -> Path:
    version = library.open_library().gru_jax_gpu_driver_version()
    return compiler.find(version // 1000 or compiler.NEWEST)


@cache
def _load() -> str | None:
    import jax

    try:
        devices = _devices()
    except RuntimeError:
        devices = []
    if not devices:  # or all belong to other processes
        return "gru_jax's GPU kernel needs an NVIDIA GPU, and JAX has none here."
    if capability() < compiler.OLDEST:
        oldest, found = (".".join(map(str, pair)) for pair in (compiler.OLDEST, capability()))
        return (
            f"gru_jax's GPU kernel needs a GPU of compute capability {oldest} or newer, "
            f"got {found}."
        )
    if why_not := library.missing():
        return why_not
    native = library.open_library()
    try:
        handlers = [jax.ffi.pycapsule(getattr(native, name)) for name in (FORWARD, BACKWARD)]
    except AttributeError as error:  # an older library
        return f"gru_jax's GPU kernel cannot be loaded: {error}."
    try:
        image = make_image("forward", 1, True)
    except compiler.Unavailable as error:
        return f"gru_jax's GPU kernel cannot be compiled: {error}."
    if refusal := _refusal(image):
        return f"gru_jax's GPU kernel {refusal}."
    for name, handler in zip((FORWARD, BACKWARD), handlers, strict=True):
        jax.ffi.register_ffi_target(name, handler, platform="CUDA", api_version=1)
    return None


def _refusal(image: compiler.Image) -> str | None:
    """Returns why the driver refuses the image on one of JAX's GPUs, as a phrase, or None."""
    check = library.open_library().gru_jax_gpu_check
    check.restype = ctypes.c_char_p
    check.argtypes = (*[ctypes.c_int] * 3, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64)
    code = image.way == "backward", image.width, image.code, image.name.encode(), image.key
    for device in _devices():
        if complaint := check(device.local_hardware_id, *code).decode():
            return f"cannot run on {device.device_kind}: {complaint}"
    return None
