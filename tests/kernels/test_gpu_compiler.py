"""NVRTC compiles every kernel without a GPU; its failures are phrases."""

import re
import types
from pathlib import Path

import pytest

from gru_jax.kernels.gpu import compiler

ARCHITECTURES = {
    (8, 0): compiler.WIDTHS[:2],
    (9, 0): compiler.WIDTHS,
    (10, 0): compiler.WIDTHS,
}
REGISTERS = 65536 // (12 * 32) // 8 * 8
"""Of a thread, if a block of 12 warps has a multiprocessor to itself; allocated by eights."""


@pytest.fixture(scope="module")
def nvrtc():
    return compiler.find(compiler.NEWEST)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize(
    ("capability", "width"), [(c, width) for c, widths in ARCHITECTURES.items() for width in widths]
)
def test_every_kernel_compiles_and_keeps_its_weights_in_registers(
    capability, width, way, after, nvrtc
):
    code, report = compiler.compile_source(way, width, after, capability, nvrtc)
    name, (major, minor) = compiler._name(way, width, after), capability
    assert f"entry function '{name}' for 'sm_{major}{minor}'" in report
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report
    (registers,) = re.findall(r"Used (\d+) registers", report)
    assert int(registers) <= REGISTERS
    assert "smem" not in report  # The launch asks for all of a block's shared memory.
    assert code[:4] == b"\x7fELF"
    assert f".text.{name}\0".encode() in code


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Returns a function that makes these files NVIDIA's only packages, and the system has none."""

    def not_there(_):
        raise compiler.Unavailable

    def install(*files):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("no library")
        spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
        monkeypatch.setattr("importlib.util.find_spec", lambda _: spec if files else None)
        monkeypatch.setattr(compiler, "_open", not_there)
        return tmp_path

    return install


OF_12, OF_13 = "cuda_nvrtc/lib/libnvrtc.so.12", "cu13/lib/libnvrtc.so.13"


@pytest.mark.parametrize(
    ("files", "driver", "found"),
    [
        ([OF_12, OF_13], 13, OF_13),
        ([OF_12, OF_13], 14, OF_13),
        ([OF_12, OF_13], 12, OF_12),
        ([OF_12], 13, OF_12),
        (["cuda_nvrtc/lib/libnvrtc.so.13"], 13, "cuda_nvrtc/lib/libnvrtc.so.13"),
    ],
)
def test_the_newest_nvrtc_that_the_driver_can_run_is_found(files, driver, found, installed):
    folder = installed(*files)
    assert compiler.find(driver) == folder / found


@pytest.mark.parametrize(("driver", "found"), [(13, "13"), (12, "12")])
def test_without_packages_the_systems_nvrtc_is_taken(driver, found, installed, monkeypatch):
    installed()
    monkeypatch.setattr(compiler, "_open", lambda _: None)
    assert compiler.find(driver) == Path(f"libnvrtc.so.{found}")


@pytest.mark.parametrize(("files", "driver"), [([], 13), ([OF_13], 12), ([OF_12], 11)])
def test_without_nvrtc_the_error_says_what_to_install(files, driver, installed):
    installed(*files)
    with pytest.raises(compiler.Unavailable) as caught:
        compiler.find(driver)
    said = "NVRTC is not installed: pip install 'jax[cuda12]' or 'jax[cuda13]'"
    assert str(caught.value) == said


def broken_source(patch):
    patch.setattr(compiler, "_read_sources", lambda: (b"int x = y;", [("a", b"")]))


def broken_call(patch):
    def nvrtcVersion(*_):
        return 7

    patch.setattr(compiler, "_open", lambda _: types.SimpleNamespace(nvrtcVersion=nvrtcVersion))


@pytest.mark.parametrize(
    ("capability", "change", "said"),
    [
        (
            (3, 0),
            lambda _: None,
            "{} does not compile the kernel: nvrtc: error: invalid value for --gpu-architecture "
            "(-arch)",
        ),
        (
            (9, 0),
            broken_source,
            '{} does not compile the kernel: gru.cu(1): error: identifier "y" is undefined',
        ),
        ((9, 0), broken_call, "nvrtcVersion failed with 7"),
    ],
)
def test_why_nvrtc_fails_is_a_phrase_and_nothing_is_kept(
    capability, change, said, nvrtc, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler._make.cache_clear()
    change(monkeypatch)
    with pytest.raises(compiler.Unavailable) as caught:
        compiler.make_image("forward", 1, True, capability, nvrtc)
    assert str(caught.value) == said.format(nvrtc.name)
    assert not list(tmp_path.iterdir())


def test_a_library_that_cannot_be_loaded_is_named(tmp_path):
    path = tmp_path / "libnvrtc.so.13"
    path.write_text("no library")
    with pytest.raises(compiler.Unavailable) as caught:
        compiler.make_image("forward", 1, True, (9, 0), path)
    assert re.fullmatch(rf"NVRTC cannot be loaded: {path}: [a-z ]+", str(caught.value), re.I)
