"""Loads the compiled kernel on first use and registers it with XLA.

If it could not be built, or XLA rejects it, `reason` says why.
"""

import ctypes
import functools
import hashlib
import platform
import re
import sys
import threading
from importlib import metadata
from pathlib import Path

FORWARD = "gru_jax_forward"
BACKWARD = "gru_jax_backward"
NAME = "libgru_jax.so"
BUILD_AGAIN = (  # pip caches wheels built from an sdist, even without the kernel
    "build it again: pip install -v -e . in a clone, elsewhere "
    "pip install -v --force-reinstall --no-deps --no-cache-dir gru_jax."
)

_loading = threading.Lock()


def reason() -> str | None:
    """Returns None if XLA can call the kernel, else one sentence that says why it cannot.

    The first call loads the kernel, starts JAX's CPU backend and registers the targets.
    """
    with _loading:  # functools.cache alone would let two threads in
        return _load()


def fingerprint() -> str | None:
    """Returns a digest of the kernel's sources, as CMakeLists.txt makes it; None without them."""
    here = Path(__file__).parent
    folders = here, here.parent / "gpu"
    sources = [sorted(p for p in at.glob("*") if p.suffix in (".cc", ".h")) for at in folders]
    if not sources[0]:
        return None
    files = here / "CMakeLists.txt", *sources[0], *sources[1]
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def levels() -> list[str]:
    """Returns the instruction sets that this machine can run, the fastest first."""
    return _text("levels").split()


def level() -> str:
    """Returns the instruction set in use."""
    return _text("level")


def use_level(name: str) -> None:
    """Chooses the instruction set.

    Raises:
        ValueError: if this machine cannot run it.
    """
    if not open_library().gru_jax_use_level(name.encode()):
        raise ValueError(f"use_level: name must be one of levels(), got {name}.")


@functools.cache
def open_library() -> ctypes.CDLL:
    """Returns the native library, which has the handlers of all kernels.

    Raises:
        OSError: if it cannot be loaded.
    """
    return ctypes.CDLL(str(Path(__file__).with_name(NAME)))


def missing() -> str | None:
    """Returns why the native library cannot be used, a sentence; None if it can."""
    if not Path(__file__).with_name(NAME).exists():
        machine = platform.machine()
        if sys.platform == "win32" or machine not in ("x86_64", "aarch64", "arm64"):
            return f"gru_jax has no native kernel for {platform.system()} on {machine}."
        return (
            "gru_jax's native kernel was not built: install a C++ compiler (g++ or clang++), then "
            + BUILD_AGAIN
        )
    try:
        open_library()
    except OSError as error:
        return f"gru_jax's native kernel cannot be loaded: {error}."
    # An editable install has the sources beside the kernel, and they may be newer.
    if _is_stale():
        return (
            "gru_jax's native kernel was built from other sources than are there now: run "
            "pip install -e . again."
        )
    return None


def _text(name: str) -> str:
    function = getattr(open_library(), f"gru_jax_{name}")
    function.restype = ctypes.c_char_p
    return function().decode()


def _is_stale() -> bool:
    """Returns whether the library was built from sources other than those beside it."""
    there = fingerprint()
    try:
        return there is not None and there != _text("fingerprint")
    except AttributeError:  # It was built from sources that had no such function.
        return True


@functools.cache
def _load() -> str | None:
    if why_not := missing():
        return why_not
    native = open_library()

    import jax

    try:
        # Start the backend first: XLA checks a handler registered earlier when the backend starts,
        # and starts no backend if it rejects one.
        jax.local_devices(backend="cpu")
    except RuntimeError as error:
        return f"gru_jax's native kernel is for CPUs, and JAX has none here: {error}."
    try:
        for name in (FORWARD, BACKWARD):
            handler = jax.ffi.pycapsule(getattr(native, name))
            jax.ffi.register_ffi_target(name, handler, platform="cpu", api_version=1)
    except AttributeError as error:  # the library lacks these functions
        return f"gru_jax's native kernel cannot be loaded: {error}."
    except jax.errors.JaxRuntimeError as error:
        # It names three versions: the kernel's, the newest and the oldest that XLA takes.
        taken = re.findall(r"version (?:is )?\((\d+\.\d+)\)", str(error))[:0:-1]
        return (
            f"gru_jax's native kernel was built for XLA's FFI {_text('api_version')}, but jaxlib "
            f"{metadata.version('jaxlib')} takes {' to '.join(taken) or 'another'}: update JAX, or "
            + BUILD_AGAIN
        )
    return None
