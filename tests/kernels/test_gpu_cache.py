"""Compiled code for the GPU is kept in the user's cache folder, and read again if it is whole."""

import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gru_jax.kernels.gpu import compiler


@pytest.fixture(autouse=True)
def anew():
    compiler._make.cache_clear()
    yield
    compiler._make.cache_clear()


@pytest.fixture(scope="module")
def nvrtc():
    return compiler.find(compiler.NEWEST)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache's folder, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gru_jax"


@pytest.fixture
def compiled(monkeypatch):
    """The arguments of each call of the compiler, which a quick one replaces."""
    calls = []

    def compile_source(*args):
        calls.append(args)
        return f"code {args[:-1]}".encode(), ""

    monkeypatch.setattr(compiler, "compile_source", compile_source)
    return calls


def make(nvrtc, way="forward", hidden=64, after=True, capability=(9, 0)):
    """Makes an image as another process would, with nothing in memory."""
    compiler._make.cache_clear()
    return compiler.make_image(way, hidden, after, capability, nvrtc)


@pytest.mark.parametrize(
    ("hidden", "width"),
    [(1, 64), (64, 64), (65, 128), (128, 128), (129, 256), (257, 512), (512, 512)],
)
@pytest.mark.usefixtures("folder")
def test_a_state_is_padded_to_the_next_width(hidden, width, compiled, nvrtc):
    image = make(nvrtc, hidden=hidden, after=False)
    assert (image.name, image.width) == (f"gru_forward_before_{width}", width)
    assert compiled == [("forward", width, False, (9, 0), nvrtc)]


@pytest.mark.usefixtures("folder")
def test_code_is_compiled_once_and_then_read_from_the_cache(compiled, nvrtc):
    images = [make(nvrtc) for _ in range(3)]
    assert images[0] == images[1] == images[2]
    assert len(compiled) == 1


def test_other_code_is_another_file_with_another_key(folder, compiled, nvrtc, monkeypatch):
    images = [make(nvrtc)]
    for change in (
        {"way": "backward"},
        {"hidden": 65},
        {"after": False},
        {"capability": (10, 0)},
    ):
        images.append(make(nvrtc, **change))
    assert len({image.key for image in images}) == len(images) == 5
    source, headers = compiler._read_sources()
    options = compiler._options
    for name, replacement in {
        "_version": lambda _: (13, 99),
        "_read_sources": lambda: (source, [*headers[:-1], (headers[-1][0], b"// another")]),
        "_options": lambda *args: [*options(*args), b"--use_fast_math"],
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(compiler, name, replacement)
            make(nvrtc)
    assert len(list(folder.glob("*.cubin"))) == len(compiled) == 8


def test_a_changed_kernel_is_not_taken_for_the_old_one():
    source, headers = compiler._read_sources()
    here = Path(compiler.__file__).parent
    read = {name: text for name, text in [("gru.cu", source), *headers]}
    for path in [here / "gru.cu", *here.glob("*.cuh")]:
        assert read[path.name] == path.read_bytes()
        included = re.findall(r'#include ["<](\S+)[">]', path.read_text())
        assert set(included) <= set(read)


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept[:-1],
        lambda kept: kept[:40],
        lambda kept: kept[:0],
        lambda kept: bytes([kept[0] ^ 1]) + kept[1:],
        lambda kept: kept + b"\0",
    ],
    ids=["cut by one byte", "cut", "empty", "a bit", "longer"],
)
def test_a_damaged_file_is_compiled_again_and_mended(damage, folder, compiled, nvrtc):
    image = make(nvrtc)
    (path,) = folder.glob("*.cubin")
    kept = path.read_bytes()
    path.write_bytes(damage(kept))
    assert make(nvrtc) == image
    assert len(compiled) == 2
    assert path.read_bytes() == kept


def no_home(monkeypatch):
    def unknown(_):
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize("where", ["a file", "unwritable", "no home", "a folder in its place"])
def test_without_a_cache_code_is_in_memory_alone(
    where, tmp_path, folder, compiled, nvrtc, monkeypatch
):
    if where == "a file":
        folder.write_text("")
    elif where == "unwritable":  # by root, too
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")
    elif where == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        no_home(monkeypatch)
        monkeypatch.chdir(tmp_path)
    else:
        make(nvrtc)
        (path,) = folder.glob("*.cubin")
        path.unlink()
        path.mkdir()
    before, files = len(compiled), set(tmp_path.rglob("*"))
    assert make(nvrtc).name == make(nvrtc).name == "gru_forward_after_64"
    assert len(compiled) == before + 2
    assert compiler.make_image("forward", 64, True, (9, 0), nvrtc)
    assert len(compiled) == before + 2  # from memory
    assert set(tmp_path.rglob("*")) == files


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_cache_is_where_the_desktop_says_or_below_the_home(
    variable, tmp_path, compiled, nvrtc, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "HOME"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / variable) * (variable != "HOME"))
    make(nvrtc)
    (path,) = tmp_path.rglob("*.cubin")
    below = "XDG_CACHE_HOME/gru_jax" if variable != "HOME" else "HOME/.cache/gru_jax"
    assert path.parent == tmp_path / below
    assert len(compiled) == 1


def test_processes_that_write_at_once_leave_one_whole_file(folder, nvrtc, monkeypatch):
    code = (
        "from pathlib import Path; from gru_jax.kernels.gpu import compiler;"
        f"compiler.make_image('forward', 64, True, (9, 0), Path({str(nvrtc)!r}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    (path,) = folder.iterdir()
    monkeypatch.setattr(compiler, "compile_source", None)
    assert path.read_bytes().startswith(make(nvrtc).code)
