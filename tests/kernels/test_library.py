"""The compiled kernel is loaded once, or the reason why not is one sentence."""

import ctypes
import importlib
import platform
import shutil
import subprocess
import sys
import threading
import types
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from gru_jax.kernels.cpu import library

NATIVE = "gru_jax.kernels.cpu._native"


@pytest.fixture(autouse=True)
def anew():
    library._load.cache_clear()
    yield
    library._load.cache_clear()


@pytest.fixture
def in_place(monkeypatch):
    """Puts another module, or none, in the kernel's place."""

    def put(module):
        monkeypatch.setitem(sys.modules, NATIVE, module)
        monkeypatch.delattr("gru_jax.kernels.cpu._native", raising=False)
        if module is not None:
            monkeypatch.setattr("gru_jax.kernels.cpu._native", module, raising=False)

    return put


def fake(**functions):
    """Returns a module that was built from the sources that are there."""
    return types.SimpleNamespace(fingerprint=library.fingerprint, **functions)


def test_importing_the_package_does_not_load_the_kernel():
    code = f"import sys, gru_jax; print({NATIVE!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_kernel_is_built_and_ready():
    assert library.reason() is None, library.reason()
    native = importlib.import_module(NATIVE)
    assert set(native.handlers()) == {library.FORWARD, library.BACKWARD}


def test_a_kernel_that_was_built_from_other_sources_is_not_used(tmp_path, monkeypatch):
    native = importlib.import_module(NATIVE)
    assert native.fingerprint() == library.fingerprint()
    copy = tmp_path / "kernels"
    shutil.copytree(Path(library.__file__).parent, copy)
    monkeypatch.setattr(library, "__file__", str(copy / "library.py"))
    assert native.fingerprint() == library.fingerprint()
    for changed in (copy / "simd.h", copy / "pass.cc"):
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
    monkeypatch.delattr(native, "fingerprint")  # as of a kernel from before there was such a thing
    library._load.cache_clear()
    assert "other sources" in library.reason()
    for source in (*copy.glob("*.cc"), *copy.glob("*.h")):  # as in an installed package
        source.unlink()
    library._load.cache_clear()
    assert library.reason() is None


def test_the_fastest_instruction_set_comes_first_and_any_can_be_chosen():
    native = importlib.import_module(NATIVE)
    names = native.levels()
    assert native.level() == names[0]
    assert names[-1] == "baseline"
    for name in reversed(names):
        native.use_level(name)
        assert native.level() == name
    with pytest.raises(ValueError, match=r"use_level: name must be one of levels\(\), got mmx\."):
        native.use_level("mmx")


def test_many_threads_load_the_kernel_once(in_place):
    times = []
    in_place(fake(handlers=lambda: times.append(1) or {}))
    gate = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (gate.wait(), library.reason())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times == [1]


def test_a_kernel_that_was_not_built_needs_a_compiler(in_place, monkeypatch):
    in_place(None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert library.reason() == (
        "gru_jax's native kernel was not built: install a C++ compiler (g++ or clang++), and "
        "Python's headers if they come apart (python3-dev), and run pip install again; -v "
        "shows what it lacks."
    )


@pytest.mark.parametrize(
    ("system", "platform_", "machine"),
    [("Windows", "win32", "AMD64"), ("Windows", "win32", "x86_64"), ("Linux", "linux", "riscv64")],
)
def test_machines_without_a_kernel_are_named(in_place, monkeypatch, system, platform_, machine):
    in_place(None)
    monkeypatch.setattr(sys, "platform", platform_)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert library.reason() == f"gru_jax has no native kernel for {system} on {machine}."


def test_a_kernel_that_cannot_be_loaded_says_what_the_loader_said(in_place, monkeypatch, tmp_path):
    in_place(None)
    (tmp_path / "_native.py").write_text("raise ImportError('GLIBCXX_9 not found')")
    monkeypatch.delitem(sys.modules, NATIVE)
    monkeypatch.setattr("gru_jax.kernels.cpu.__path__", [str(tmp_path)])
    assert library.reason() == ("gru_jax's native kernel cannot be loaded: GLIBCXX_9 not found.")


def test_without_a_cpu_backend_there_is_no_kernel(in_place, monkeypatch):
    def local_devices(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    in_place(fake())
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


def test_a_kernel_for_another_xla_is_refused_and_harms_nothing(in_place):
    handlers = {"gru_jax_of_the_future": jax.ffi.pycapsule(of_the_future)}
    in_place(fake(handlers=lambda: handlers, api_version=lambda: (0, 99)))
    assert library.reason() == (
        "gru_jax's native kernel was built for XLA's FFI 0.99, which jaxlib "
        f"{metadata.version('jaxlib')} does not take: build it with that jaxlib's headers, by "
        "pip install scikit-build-core nanobind and then pip install --no-build-isolation."
    )
    assert jax.jit(lambda x: x + 1)(jnp.ones(())) == 2
