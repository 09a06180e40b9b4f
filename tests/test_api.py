"""The contract and the order of arguments, held by a test because rules without one decay."""

import inspect
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gru_jax as gj
from gru_jax import api, interop
from gru_jax.training.checkpoint import load_best

ORDER = ["key", "cell", "params", "x", "xs", "h", "h0"]
FUNCTIONS = {
    name: value
    for name, value in vars(api).items()
    if inspect.isfunction(value) and not name.startswith("_")
}
WITHOUT = {  # calls, and the package that each needs
    "save": (lambda path: gj.save(path, None, {}), "safetensors"),
    "load": (gj.load, "safetensors"),
    "load_metadata": (interop.load_metadata, "safetensors"),
    "read": (lambda path: interop.read(path / "x.safetensors"), "safetensors"),
    "save_checkpoint": (lambda path: gj.save_checkpoint(path, gj.Progress), "orbax-checkpoint"),
    "load_checkpoint": (lambda path: load_best(path, ()), "orbax-checkpoint"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_stand_in_the_one_order(name):
    positional = [
        p.name
        for p in inspect.signature(FUNCTIONS[name]).parameters.values()
        if p.kind == p.POSITIONAL_OR_KEYWORD
    ]
    known = [argument for argument in positional if argument in ORDER]
    if name == "hidden_state":  # the equation's own order: h, then z and c
        assert positional == ["h", "z", "c"]
    assert known == sorted(known, key=ORDER.index)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_says_what_it_is_and_types_its_arguments(name):
    function = FUNCTIONS[name]
    assert function.__doc__
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
        if len(parameter.name) == 1 or parameter.name in ("key", "params", "xs", "h0"):
            # An omitted key, which a layer tells from None, prints as None.
            assert parameter.default is parameter.empty or repr(parameter.default) == "None"


def test_unroll_has_the_signature_that_is_promised():
    parameters = inspect.signature(gj.unroll).parameters
    assert list(parameters)[:4] == ["cell", "params", "xs", "h0"]
    options = {n: p.default for n, p in parameters.items() if p.kind == p.KEYWORD_ONLY}
    promised = {
        **dict.fromkeys(["lengths", "mask", "resets", "h_reset", "key", "memory", "chunk_size"]),
        "backend": None,
        **dict.fromkeys(["zoneout", "recurrent_dropout", "drop_connect"], 0.0),
        **{"reverse": False, "time_axis": None, "unroll": 1},
        "derivative": "rule",
    }
    assert options == promised


def test_cells_and_layers_are_the_two_contracts(make_cell):
    cell = make_cell()
    assert isinstance(cell, gj.Cell)
    layer = gj.recurrent(cell)
    assert isinstance(layer, gj.Layer)
    options = ["lengths", "mask", "resets", "h_reset", "key"]
    for each in (layer, gj.dense(3), gj.dropout(0.1), gj.pool(), gj.stack(layer)):
        names = list(inspect.signature(each.apply).parameters)
        assert names == ["params", "xs", "state", *options]


def test_parameters_are_a_named_tuple_of_arrays():
    params = gj.gru(4, reset="after").init(jax.random.key(0), 3)
    assert params._fields == ("W_r", "b_r", "W_z", "b_z", "W_c", "b_c", "b_h")
    assert all(isinstance(leaf, jax.Array) for leaf in params)


def run(code):
    """Returns the output of a new process."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_stays_light():
    code = """
import sys
import gru_jax
heavy = "chex flax jax keras matplotlib numpy optax orbax polars rich safetensors sklearn".split()
print([name for name in heavy if name in sys.modules])
gru_jax.gru
print([name for name in heavy if name in sys.modules])
"""
    assert run(code).splitlines() == ["[]", "['jax', 'numpy', 'optax']"]


def test_the_first_use_of_names_may_be_in_several_threads():
    code = """
import threading
import gru_jax as gj

names = "gru load interop linen nnx testing plot fit unroll".split()
failures, gate = [], threading.Barrier(len(names))

def use(name):
    gate.wait()
    try:
        getattr(gj, name)
    except BaseException as error:
        failures.append(f"{name}: {error!r}")

threads = [threading.Thread(target=use, args=[name]) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failures)
"""
    assert run(code).splitlines() == ["[]"]


def test_annotations_can_be_resolved():
    for name in set(gj.__all__) - {"TrainState"}:  # Optax's own OptState cannot be.
        value = getattr(gj, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            typing.get_type_hints(value)


def test_the_first_use_of_a_name_may_be_inside_a_compiled_function():
    """An array made by an import in there would be a tracer, which is dead afterwards."""
    code = """
import sys
import jax
import jax.numpy as jnp
import gru_jax as gj

def loss(xs):
    cell = gj.gru(3)
    hs, _ = gj.unroll(cell, cell.init(jax.random.key(0), 2), xs)
    return gj.cross_entropy(hs, jnp.zeros((4, 5), int)).sum()

print(jax.jit(loss)(jnp.ones((4, 5, 2))) > 0)
values = {f"{name}.{key}": value for name, module in list(sys.modules.items())
          for key, value in vars(module).items()}
print("optax.adam" in values, [key for key in values if isinstance(values[key], jax.core.Tracer)])
"""
    assert run(code).splitlines() == ["True", "True []"]


def test_all_names_are_listed_and_imported_by_a_star():
    names = {}
    exec("from gru_jax import *", names)
    assert dir(gj) == gj.__all__ == sorted(names.keys() - {"__builtins__"})
    assert {"gru", "fit", "save", "save_checkpoint", "interop"} < set(gj.__all__)
    with pytest.raises(AttributeError, match=r"^module 'gru_jax' has no attribute 'grn'$"):
        gj.grn  # noqa: B018


@pytest.mark.parametrize("name", WITHOUT)
def test_a_function_without_its_package_says_what_to_install(name, monkeypatch, tmp_path):
    call, package = WITHOUT[name]
    for module in ("safetensors", "safetensors.numpy", "orbax.checkpoint"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "0").mkdir()
    (tmp_path / "x.safetensors").write_text("x")
    with pytest.raises(ModuleNotFoundError) as error:
        call(tmp_path)
    assert str(error.value) == f"{name} needs {package}: pip install 'gru_jax[app]'."


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("plot", "matplotlib", "matplotlib"), ("estimators", "sklearn", "scikit-learn")],
)
def test_what_needs_another_package_is_not_listed_without_it(name, module, package):
    code = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "{module}" else find(name, *more)
import gru_jax as gj
assert "{name}" not in dir(gj)
assert "interop" in dir(gj)
try:
    gj.{name}
except AttributeError as error:
    print(error)
"""
    assert run(code) == f"gru_jax.{name} needs {package}: pip install 'gru_jax[{name}]'\n"


def test_another_module_in_place_of_a_package_does_no_harm():
    code = """
import sys, types
sys.modules["matplotlib"] = types.ModuleType("matplotlib")  # without a spec
import gru_jax as gj
print("plot" in dir(gj), gj.gru(3).init is not None)
"""
    assert run(code) == "True True\n"


def test_a_package_that_is_installed_later_is_seen():
    code = """
import sys
installed, sys.path = sys.path, [path for path in sys.path if "site-packages" not in path]
import gru_jax as gj
try:
    gj.plot
except AttributeError as error:
    print(error)
sys.path = installed
print("plot" in dir(gj), gj.plot.__name__)
"""
    message = "gru_jax.plot needs matplotlib: pip install 'gru_jax[plot]'"
    assert run(code).splitlines() == [message, "True gru_jax.plot"]


def test_a_misspelled_argument_is_one_of_apply():
    with pytest.raises(TypeError, match=r"^apply\(\) got an unexpected keyword argument"):
        gj.dense(2).apply((), jnp.ones((2, 3)), length=2)


def test_the_version_is_the_project_s():
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = (root / "CITATION.cff").read_text()
    assert re.search("^version: (.*)$", citation, re.MULTILINE)[1] == project["version"]
    assert re.search('- name: "(.*)"', citation)[1] == project["authors"][0]["name"]
    assert gj.__version__ == project["version"]
