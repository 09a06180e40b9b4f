"""Runs the GPU kernel without a GPU: its sources as C++, its threads as fibers, a fake driver.

The rest is real: the lowering, NVRTC's image, XLA's call, the handlers, the launch. Only the
platform's name differs, too.
"""

import ctypes
import fcntl
import functools
import importlib.util
import itertools
import subprocess
import types
from pathlib import Path

import jax

from gru_jax.kernels import lowering
from gru_jax.kernels.gpu import library

HERE = Path(__file__).parent.parent / "kernels" / "gpu"
KERNELS = Path(library.__file__).parent
FLAGS = "-std=c++20 -O2 -ffp-contract=off -fPIC -shared -pthread -Wno-unknown-pragmas".split()
FFI = jax.ffi.include_dir()
DEVICES = [types.SimpleNamespace(compute_capability="9.0", local_hardware_id=0, device_kind="toy")]


def compile_driver(folder):
    """Compiles the driver and the handlers into a folder, once for all processes."""
    path = folder / "libemulated_gpu.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            sources = HERE / "fake_driver.cc", KERNELS / "ffi.cc", KERNELS / "driver.cc"
            beside = path.with_suffix(".part")
            includes = f"-I{HERE}", f"-I{KERNELS}", *cuda_headers(), "-isystem", FFI
            stream = "-DGRU_STREAM=NoStream", "-include", HERE / "no_stream.h"
            rest = *sources, "-ldl", "-o", beside
            subprocess.run(["g++", *FLAGS, *includes, *stream, *rest], check=True)
            beside.rename(path)
    return path


class Hardware:
    """A real GPU, behind the interface of `Machine`."""

    def have(self, **_):
        """Does nothing: hardware cannot be changed."""


class Machine(Hardware):
    """The emulated GPU: sets its properties and reports its launches."""

    def __init__(self, path):
        self.native = ctypes.CDLL(str(path))
        self.native.gru_jax_gpu_use_driver(str(path).encode())
        self.native.fake_last_launch.restype = ctypes.c_char_p
        for name in (library.FORWARD, library.BACKWARD):
            handler = jax.ffi.pycapsule(getattr(self.native, name))
            jax.ffi.register_ffi_target(name, handler, platform="cpu", api_version=1)
        self.have()

    def have(self, *, processors=2, shared=227 * 1024, clusters=2, seed=0):
        """Sets the machine's properties, and the seed of the order in which threads run.

        Images are loaded anew, as on another machine.
        """
        self.native.fake_machine(processors, shared, clusters, seed)

    def fail(self, *functions, status=2):
        """Makes exactly these driver functions fail, with a CUDA status."""
        self.native.fake_failure(" ".join(functions).encode(), status)

    @property
    def launches(self):
        """The number of launches so far."""
        return self.native.fake_launches()

    @property
    def last_launch(self):
        """The last launch: the kernel's name, then grid, cluster, threads and shared memory."""
        name, *rest = self.native.fake_last_launch().decode().split()
        return name, dict(zip(rest[::2], map(int, rest[1::2]), strict=True))


@functools.cache
def machine(folder):
    """Returns the machine of this process."""
    return Machine(compile_driver(folder))


def plug_in(patch, folder):
    """Makes the machine JAX's only GPU, and installs its handlers and driver."""
    native = machine(folder).native
    patch.setattr(library, "_devices", lambda: DEVICES)
    patch.setattr(library.library, "open_library", lambda: native)


def take_the_cpus_place(patch, folder):
    """Makes programs for the CPU run the GPU kernel instead of the CPU kernel."""
    plug_in(patch, folder)
    kernel = lowering.KERNELS["gpu"]._replace(platform="cpu", reason=lambda: None)
    for name in ("cpu", "gpu"):
        patch.setitem(lowering.KERNELS, name, kernel)


def cuda_headers():
    """Returns the compiler's options for cuda.h, from NVIDIA's package."""
    spec = importlib.util.find_spec("nvidia")
    places = (spec and spec.submodule_search_locations) or ()
    found = itertools.chain.from_iterable(Path(place).glob("*/include/cuda.h") for place in places)
    return "-isystem", next(found).parent
