"""Strictness for every test: no silent broadcast; float64 where a test asks for it.

Most tests compile many programs and run each once, so XLA is told not to try hard, here and in the
processes that tests start; JAX_DISABLE_MOST_OPTIMIZATIONS=0 compiles as users do. Property tests
draw few examples; --hypothesis-profile=thorough draws more.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import emulated_gpu
import jax
import numpy as np
import pytest
from every_cell import CELLS
from hypothesis import settings

from gru_jax.kernels import lowering, operator
from gru_jax.kernels.cpu import library

jax.config.update("jax_numpy_rank_promotion", "raise")
for name, count in {"quick": 15, "thorough": 30}.items():
    settings.register_profile(name, deadline=None, max_examples=count)
settings.load_profile("quick")

# With these flags a program compiles in a quarter of the time; newer versions do not know them.
FLAGS = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    jax.config.update("jax_disable_most_optimizations", True)
    if jax.__version_info__ < (0, 11) and FLAGS not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = flags + FLAGS

SLOW_CELLS = {"block", "diagonal", "layer-norm-after", "mgu", "min-gru"}
SLOW = pytest.mark.slow("others stand for these cells")


@pytest.fixture(
    params=[pytest.param(name, marks=SLOW if name in SLOW_CELLS else ()) for name in CELLS]
)
def make_cell(request):
    return CELLS[request.param]


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimized():
    """Compiles as users do: for tests of what XLA makes of a program."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, False)
    yield
    jax.config.update(option, before)


@pytest.fixture
def rank_promotion():
    """Other libraries add vectors to matrices."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def emulated_folder(tmp_path_factory):
    """The folder of the emulated GPU, one for all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "emulated_gpu"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def emulated(emulated_folder, monkeypatch):
    """The emulated GPU, on which `backend="cpu"` and `"gpu"` run."""
    if jax.default_backend() != "cpu":
        pytest.skip("the emulated GPU needs JAX on the CPU: JAX_PLATFORMS=cpu")
    monkeypatch.setenv("XDG_CACHE_HOME", str(emulated_folder))
    machine = emulated_gpu.machine(emulated_folder)
    machine.have()
    machine.fail()
    emulated_gpu.take_the_cpus_place(monkeypatch, emulated_folder)
    jax.clear_caches()
    yield machine
    jax.clear_caches()


@pytest.fixture
def gpu(request):
    """A real GPU if JAX has one, else the emulated one."""
    if jax.default_backend() == "cpu":
        return request.getfixturevalue("emulated")
    assert operator.reason("gpu") is None, operator.reason("gpu")
    return emulated_gpu.Hardware()


@pytest.fixture(scope="module", params=["compiled", "twin", "gpu"])
def code(request):
    """Lowers the kernel's primitives to one of the three.

    Each program runs once and compiling it is what takes time: XLA is told not to try hard.
    """
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled":
            assert library.reason() is None, library.reason()
        elif request.param == "gpu":
            folder = request.getfixturevalue("emulated_folder")
            patch.setenv("XDG_CACHE_HOME", str(folder))
            emulated_gpu.machine(folder).have()
            emulated_gpu.take_the_cpus_place(patch, folder)
        else:
            patch.setattr(operator, "reason", lambda _: None)
            kernel = lowering.KERNELS["cpu"]._replace(reason=lambda: "a twin's turn")
            patch.setitem(lowering.KERNELS, "cpu", kernel)
            patch.setattr(lowering, "fall_back", lambda *_: None)
        jax.config.update(option, True)
        jax.clear_caches()
        yield request.param
    jax.config.update(option, before)
    jax.clear_caches()


@pytest.fixture
def form(code):
    """One form for each code, where neither has to do with the other."""
    return {"compiled": "before", "twin": "after", "gpu": "before"}[code]
