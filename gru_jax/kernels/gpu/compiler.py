"""Compiles the kernel with NVRTC, CUDA's compiler library. It needs neither a GPU nor a driver.

JAX's CUDA packages install NVRTC. Compiled code is cached in memory and in the user's cache folder
(`$XDG_CACHE_HOME/gru_jax`, else `~/.cache/gru_jax`), keyed by sources, options and NVRTC's version.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from gru_jax.files import write

Pass: TypeAlias = Literal["forward", "backward"]

WIDTHS = (64, 128, 256, 512)
"""The state sizes that kernels are compiled for; smaller states are padded."""
ALONE = 128
"""The largest width that one block can run."""
CLUSTERS, OLDEST = (9, 0), (8, 0)
"""The oldest compute capability with clusters, and the oldest that the kernel supports."""
NEWEST = 13
"""The newest CUDA version (major) that `find` looks for."""


class Unavailable(Exception):
    """NVRTC is missing, or does not compile the kernel; the message is a phrase."""


class Image(NamedTuple):
    """Compiled code for one architecture.

    Attributes:
        way: the pass.
        code: the file, a cubin.
        name: the kernel's name in the image.
        key: a number unique to the image.
        width: the largest state size.
    """

    way: Pass
    code: bytes
    name: str
    key: int
    width: int


def make_image(
    way: Pass, hidden: int, after: bool, capability: tuple[int, int], library: Path
) -> Image:
    """Returns the compiled kernel for one pass and one form.

    Args:
        way: the pass.
        hidden: the size of the state, at most the last of `WIDTHS`.
        after: whether the form is reset="after".
        capability: the GPU's compute capability.
        library: NVRTC's file.

    Raises:
        Unavailable: if NVRTC fails.
    """
    width = next(width for width in WIDTHS if hidden <= width)
    return _make(way, width, after, capability, library)


def find(newest: int) -> Path:
    """Returns NVRTC's file: the newest among JAX's packages, else the system's.

    Args:
        newest: the major version of CUDA that the driver can run.

    Raises:
        Unavailable: if there is none.
    """
    here = importlib.util.find_spec("nvidia")
    folders = [Path(path) for path in (here and here.submodule_search_locations) or ()]
    versions = [version for version in (NEWEST, 12) if version <= newest]
    for version in versions:
        for folder, place in product(folders, (f"cu{version}", "cuda_nvrtc")):
            if (path := folder / place / "lib" / f"libnvrtc.so.{version}").exists():
                return path
    for version in versions:
        path = Path(f"libnvrtc.so.{version}")
        try:
            _open(path)
        except Unavailable:
            continue
        return path
    raise Unavailable("NVRTC is not installed: pip install 'jax[cuda12]' or 'jax[cuda13]'")


def compile_source(
    way: Pass, width: int, after: bool, capability: tuple[int, int], library: Path
) -> tuple[bytes, str]:
    """Returns the cubin of one kernel, and the compiler's report on registers and memory.

    Raises:
        Unavailable: if NVRTC fails; the message has the first line of its report.
    """
    nvrtc = _open(library)
    program = ctypes.c_void_p()
    source, headers = _read_sources()
    texts, names = zip(*((text, name.encode()) for name, text in headers), strict=True)
    _call(
        nvrtc.nvrtcCreateProgram,
        ctypes.byref(program),
        source,
        b"gru.cu",
        len(names),
        _strings(texts),
        _strings(names),
    )
    try:
        options = [*_options(way, width, after, capability), b"--ptxas-options=-v"]
        failed = nvrtc.nvrtcCompileProgram(program, len(options), _strings(options))
        report = _read(nvrtc, "ProgramLog", program).decode(errors="replace").rstrip("\0")
        if failed:
            first = (report.strip().splitlines() or [f"error {failed}"])[0]
            raise Unavailable(f"{library.name} does not compile the kernel: {first}")
        return _read(nvrtc, "CUBIN", program), report
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


@functools.cache
def _make(way: Pass, width: int, after: bool, capability: tuple[int, int], library: Path) -> Image:
    source, headers = _read_sources()
    parts = [source, *(text for _, text in headers), *_options(way, width, after, capability)]
    parts.append(repr(_version(library)).encode())
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    file = f"{digest.hexdigest()}.cubin"
    code = _read_kept(file)
    if code is None:
        code, _ = compile_source(way, width, after, capability, library)
        _keep(file, code)
    key = int.from_bytes(hashlib.sha256(code).digest()[:8], sys.byteorder, signed=True)
    return Image(way, code, _name(way, width, after), key, width)


def _name(way: Pass, width: int, after: bool) -> str:
    return f"gru_{way}_{'after' if after else 'before'}_{width}"


def _options(way: Pass, width: int, after: bool, capability: tuple[int, int]) -> list[bytes]:
    major, minor = capability
    options = (
        f"--gpu-architecture=sm_{major}{minor}",
        "--std=c++17",
        "--device-as-default-execution-space",
        "--fmad=false",  # No contraction: the source decides where to round.
        f"-DGRU_PASS={way}",
        f"-DGRU_PROBLEM={way.capitalize()}",
        f"-DGRU_WIDTH={width}",
        f"-DGRU_AFTER={'true' if after else 'false'}",
        f"-DGRU_ENTRY={_name(way, width, after)}",
    )
    return [option.encode() for option in options]


@functools.cache
def _read_sources() -> tuple[bytes, list[tuple[str, bytes]]]:
    here = Path(__file__).parent
    names = ("problem.h", *(path.name for path in sorted(here.glob("*.cuh"))))
    return (here / "gru.cu").read_bytes(), [(name, (here / name).read_bytes()) for name in names]


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gru_jax"


UNUSABLE = (OSError, RuntimeError)
"""Errors from an unusable cache folder. Path.home() raises RuntimeError if the user has no home."""


def _read_kept(file: str) -> bytes | None:
    """Returns the code in a file of the cache; None if it is missing or damaged."""
    try:
        kept = (_cache_folder() / file).read_bytes()
    except UNUSABLE:
        return None
    code = kept[: -hashlib.sha256().digest_size]
    return code if kept == _with_digest(code) else None


def _keep(file: str, code: bytes) -> None:
    """Caches code in a file. If that fails, the code stays in memory only."""
    try:
        path = _cache_folder() / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, lambda beside: beside.write_bytes(_with_digest(code)))
    except UNUSABLE:
        pass


def _with_digest(code: bytes) -> bytes:
    """Appends a digest, because damaged code may crash the driver."""
    return code + hashlib.sha256(code).digest()


@functools.cache
def _open(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise Unavailable(f"NVRTC cannot be loaded: {error}") from error


def _version(library: Path) -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call(_open(library).nvrtcVersion, ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _strings(values: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(values))(*values)


def _read(nvrtc: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _call(getattr(nvrtc, f"nvrtcGet{what}Size"), program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call(getattr(nvrtc, f"nvrtcGet{what}"), program, buffer)
    return buffer.raw


def _call(function: "ctypes._NamedFuncPointer", *arguments: object) -> None:
    if status := function(*arguments):
        raise Unavailable(f"{function.__name__} failed with {status}")
