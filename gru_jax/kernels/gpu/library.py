"""Whether the GPU's kernel can run here; registers it with XLA when it is first asked."""

import ctypes
import threading
from functools import cache
from pathlib import Path

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
    import jax

    devices = jax.local_devices(backend="cuda")
    return min(tuple(map(int, device.compute_capability.split("."))) for device in devices)  # type: ignore[return-value]


def obstacle(way: compiler.Pass, hidden: int, after: bool) -> str | None:
    """Returns why JAX's GPUs cannot run a pass over such states, a phrase; None if they can."""
    clusters = capability() >= compiler.CLUSTERS
    most = compiler.WIDTHS[-1] if clusters else compiler.ALONE
    if hidden > most:
        return f"a hidden_size above {most} on this GPU"
    try:
        make_image(way, hidden, after)
    except compiler.Unavailable as error:
        return f"the want of a kernel: {error}"
    return None


def make_image(way: compiler.Pass, hidden: int, after: bool) -> compiler.Image:
    """Returns the kernel of one pass and form, for JAX's GPUs.

    Raises:
        Unavailable: if NVRTC is missing or fails.
    """
    return compiler.make_image(way, hidden, after, capability(), _find_nvrtc())


@cache
def _find_nvrtc() -> Path:
    version = library.open_library().gru_jax_gpu_driver_version()
    return compiler.find(version // 1000 or compiler.NEWEST)


@cache
def _load() -> str | None:
    import jax

    try:
        devices = jax.local_devices(backend="cuda")
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
        handlers = [jax.ffi.pycapsule(getattr(native, name)) for name in (FORWARD, BACKWARD)]
    except (OSError, AttributeError) as error:
        return f"gru_jax's GPU kernel cannot be loaded: {error}."
    try:
        image = make_image("forward", 1, True)
    except compiler.Unavailable as error:
        return f"gru_jax's GPU kernel cannot be compiled: {error}."
    for device in devices:
        if complaint := _check(native, device.local_hardware_id, image):
            return f"gru_jax's GPU kernel cannot run on {device.device_kind}: {complaint}."
    for name, handler in zip((FORWARD, BACKWARD), handlers, strict=True):
        jax.ffi.register_ffi_target(name, handler, platform="CUDA", api_version=1)
    return None


def _check(native: ctypes.CDLL, device: int, image: compiler.Image) -> str:
    """Returns why the driver refuses the image on a device; nothing if it takes it."""
    check = native.gru_jax_gpu_check
    check.restype = ctypes.c_char_p
    check.argtypes = ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int
    return check(device, image.code, image.name.encode(), image.key, image.width).decode()
