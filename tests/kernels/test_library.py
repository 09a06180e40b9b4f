"""The compiled kernel is loaded once, or the reason why not is one sentence."""

import ctypes
import platform
import re
import shutil
import subprocess
import sys
import threading
import types
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from gru_jax.kernels.cpu import library


@pytest.fixture(autouse=True)
def anew():
    library._load.cache_clear()
    yield
    library._load.cache_clear()


@pytest.fixture
def fake(monkeypatch):
    """Puts other functions in the kernel's place, as if built from the sources that are there."""

    def put(**functions):
        functions["gru_jax_fingerprint"] = lambda: (library.fingerprint() or "").encode()
        monkeypatch.setattr(library, "open_library", lambda: types.SimpleNamespace(**functions))

    return put


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty folder, where the kernel is now looked for."""
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    monkeypatch.setattr(
        library, "open_library", library.open_library.__wrapped__
    )  # nothing is remembered
    return tmp_path


def test_importing_the_package_does_not_load_the_kernel():
    code = "import sys, gru_jax; print('gru_jax.kernels.cpu.library' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_kernel_is_built_and_ready():
    assert library.reason() is None, library.reason()


def test_a_kernel_that_was_built_from_other_sources_is_not_used(tmp_path, monkeypatch):
    assert library.reason() is None, library.reason()  # and loaded, from where it is
    shutil.copytree(Path(library.__file__).parent.parent, tmp_path, dirs_exist_ok=True)
    copy = tmp_path / "cpu"
    monkeypatch.setattr(library, "__file__", str(copy / "library.py"))
    files = copy / "simd.h", copy / "pass.cc", copy / "CMakeLists.txt", tmp_path / "gpu" / "ffi.cc"
    for changed in files:
        text = changed.read_text()
        changed.write_text(text + "// more\n")
        library._load.cache_clear()
        assert library.reason() == (
            "gru_jax's native kernel was built from other sources than are there now: run "
            "pip install -e . again."
        )
        changed.write_text(text)
        library._load.cache_clear()
        assert library.reason() is None
    for source in (*copy.glob("*.cc"), *copy.glob("*.h")):  # as in an installed package
        source.unlink()
    library._load.cache_clear()
    assert library.reason() is None


def test_the_fastest_instruction_set_comes_first_and_any_can_be_chosen():
    names = library.levels()
    assert library.level() == names[0]
    assert names[-1] == "baseline"
    for name in reversed(names):
        library.use_level(name)
        assert library.level() == name
    with pytest.raises(ValueError, match=r"use_level: name must be one of levels\(\), got mmx\."):
        library.use_level("mmx")


def test_many_threads_load_the_kernel_once(fake, monkeypatch):
    fake(gru_jax_forward=of_the_future, gru_jax_backward=of_the_future)
    names = []
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda name, *_, **__: names.append(name))
    gate = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (gate.wait(), library.reason())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == [library.FORWARD, library.BACKWARD]


@pytest.mark.usefixtures("folder")
def test_a_kernel_that_was_not_built_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert library.reason() == (
        "gru_jax's native kernel was not built: install a C++ compiler (g++ or clang++), then "
        "build it again: pip install -v -e . in a clone, elsewhere "
        "pip install -v --force-reinstall --no-deps --no-cache-dir gru_jax."
    )


@pytest.mark.parametrize(
    ("system", "platform_", "machine"),
    [("Windows", "win32", "AMD64"), ("Windows", "win32", "x86_64"), ("Linux", "linux", "riscv64")],
)
@pytest.mark.usefixtures("folder")
def test_machines_without_a_kernel_are_named(monkeypatch, system, platform_, machine):
    monkeypatch.setattr(sys, "platform", platform_)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert library.reason() == f"gru_jax has no native kernel for {system} on {machine}."


def test_a_kernel_that_cannot_be_loaded_says_what_the_loader_said(folder):
    path = folder / library.NAME
    path.write_bytes(b"short")
    with pytest.raises(OSError, match=r"\w") as error:
        ctypes.CDLL(str(path))
    assert library.reason() == f"gru_jax's native kernel cannot be loaded: {error.value}."


def test_a_library_of_other_functions_is_no_kernel(fake):
    fake()
    reason = library.reason() or ""
    assert reason.startswith("gru_jax's native kernel cannot be loaded: ")
    assert "gru_jax_forward" in reason


def test_without_a_cpu_backend_there_is_no_kernel(fake, monkeypatch):
    def local_devices(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    fake()
    monkeypatch.setattr(jax, "local_devices", local_devices)
    assert library.reason() == (
        "gru_jax's native kernel is for CPUs, and JAX has none here: Unknown backend cpu."
    )


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def of_the_future(call):
    """Says, when XLA asks, that it was built with version 0.99 of the headers."""
    words = ctypes.POINTER(ctypes.c_void_p)
    extension = ctypes.cast(call, words)[1]
    metadata = ctypes.cast(extension, words)[3]
    version = ctypes.cast(metadata + 24, ctypes.POINTER(ctypes.c_int))
    version[0], version[1] = 0, 99


def test_a_kernel_for_another_xla_is_refused_and_harms_nothing(fake, monkeypatch):
    monkeypatch.setattr(library, "FORWARD", "gru_jax_of_the_future")
    fake(gru_jax_of_the_future=of_the_future, gru_jax_api_version=lambda: b"0.99")
    header = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text()
    newest = ".".join(re.findall(r"#define XLA_FFI_API_M(?:AJ|IN)OR (\d+)", header))
    assert re.sub(r"takes 0\.\d to", "takes 0.x to", library.reason() or "") == (
        f"gru_jax's native kernel was built for XLA's FFI 0.99, but jaxlib {version('jaxlib')} "
        f"takes 0.x to {newest}: update JAX, or build it again: pip install -v -e . in a clone, "
        "elsewhere pip install -v --force-reinstall --no-deps --no-cache-dir gru_jax."
    )
    assert jax.jit(lambda x: x + 1)(jnp.ones(())) == 2
