"""Our own files: the same bits come back, and a header that lies is one clear error."""

import json
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import AFTER, NETS, check_message, draw_params, same_bits
from refusals import refused
from safetensors.numpy import save_file

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.safetensors import input_size

DENSE_FIRST = {"dense first": gj.residual(gj.stack(gj.dense(2), gj.recurrent(gj.gru(3))))}


@pytest.mark.parametrize("name", NETS | DENSE_FIRST)
def test_a_net_comes_back_from_its_file_to_the_bit(rng, tmp_path, name):
    path, net = tmp_path / "net.safetensors", (NETS | DENSE_FIRST)[name]
    params = net.init(jax.random.key(0), 3)
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), params)
    interop.save(path, net, params)
    again, same = interop.load(path)
    assert type(again) is type(net)
    assert again.architecture == net.architecture
    same_bits(same, params)
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_equal_nets_are_equal_files(rng, tmp_path):
    """Whatever is in their texts: safetensors itself writes them in an order that varies."""
    texts = {"b": "naïve \U0001f600 \u2028", "a": '\x00\x1f\x7f\n\t\b"\\/', "c": "", "é": "1"}
    net = gj.dense(3)
    params = draw_params(rng, net, np.float32)
    contents = set()
    for i in range(10):
        path = tmp_path / f"{i}.safetensors"
        interop.save(path, net, params, metadata=texts)
        contents.add(path.read_bytes())
        assert texts.items() <= interop.load_metadata(path).items()
        same_bits(interop.load(path)[1], params)
    assert len(contents) == 1


class Convolution(NamedTuple):
    bias: jax.Array
    kernels: dict[str, jax.Array]


def test_the_input_size_is_found_in_any_structure_of_parameters():
    """Also where the first array does not depend on it."""

    def init(_, input_size):
        return Convolution(jnp.zeros(7), {"3x3": jnp.zeros((3, 3, input_size, 7))})

    net = SimpleNamespace(init=init)
    for size in (1, 5, 64):
        assert input_size(net, init(None, size)) == size
    with pytest.raises(ValueError, match="save: params must be those of the net"):
        input_size(net, Convolution(jnp.zeros(7), {"3x3": jnp.zeros((3, 3, 5, 8))}))


@pytest.mark.usefixtures("x64")
def test_any_pytree_of_numbers_comes_back(rng, tmp_path):
    tree = {
        "a": [np.float32(2.0), jnp.arange(3)],
        "b": (jnp.ones((2, 0)), {"c": rng.normal(size=(3, 2)).T, "d": jnp.array([True, False])}),
    }
    interop.save(tmp_path / "x.safetensors", None, tree)
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)
    same_bits(interop.load_params(tmp_path / "x.safetensors", like), tree)
    with pytest.raises(ValueError, match="must have a net of gru_jax in its header, got none"):
        interop.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("net", "params", "message"),
    [
        (gj.gru(4, activation=jnp.sin), None, "save: net must be built by gru_jax with activatio"),
        (gj.gru(4), gj.gru(5).init(jax.random.key(0), 3), "save: params must be those of the net"),
        (None, {"a": "word"}, "save: params.a must be an array of numbers, got <class 'str'>"),
        (None, {"a": jax.random.key(0)}, "save: params.a must be an array of numbers, got key"),
        (None, {"a": np.ones(2, "c8")}, "save: params.a must be an array of numbers, got complex"),
        (
            None,
            {"a.b": np.ones(1), "a": {"b": np.ones(1)}},
            "must have one array a path, got two",
        ),
    ],
)
def test_what_cannot_be_saved_leaves_the_file_that_was_there(tmp_path, net, params, message):
    path = tmp_path / "net.safetensors"
    path.write_text("before")
    params = net.init(jax.random.key(0), 3) if params is None else params
    with pytest.raises(ValueError, match=r"^save: ") as error:
        interop.save(path, net, params)
    assert message in str(error.value)
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


CELL = {"builder": "gru", "hidden_size": 2}
SAID = {"format": "gru_jax 1"}
LIES = {
    "no JSON": ("{", "Expecting property name"),
    "a list": ([], "'list' object has no attribute"),
    "no size": ({"builder": "gru"}, "missing 1 required positional argument: 'hidden_size'"),
    "a function": ({"builder": "eval"}, "builder must be known, got 'eval': import the module"),
    "an initialiser": (CELL | {"kernel_init": "x"}, "'str' object is not callable"),
    "a word": (CELL | {"hidden_size": "x"}, "hidden_size must be a whole number from 1, got 'x'"),
    "too large": (CELL | {"hidden_size": 10**30}, "too large"),
    "enormous": (CELL | {"hidden_size": 10**9}, "must have W_c (1000000003, 1000000000), got (5"),
    "others": (CELL | {"reset": "after"}, "must have b_h (2,), got nothing"),
    "a layer of layers": ({"builder": "recurrent", "parts": [{"builder": "pool"}]}, "cell must be"),
    "many layers": (
        {"builder": "stack", "parts": [{"builder": "dense", "size": 3}] * 107},
        "its layers must be those of 6 arrays, got more",
    ),
    "bottomless": ("[" * 100_000, "while decoding a JSON array"),
    "deep": ('{"builder":"residual","parts":[' * 900 + json.dumps(CELL) + "]}" * 900, "recursion"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_one_error(tmp_path, name):
    header, message = LIES[name]
    path = tmp_path / "net.safetensors"
    params = gj.gru(2).init(jax.random.key(0), 3)
    arrays = {k: np.asarray(v) for k, v in params._asdict().items() if v is not None}
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(arrays, path, {"architecture": text, "input_size": "3"} | SAID)
    with pytest.raises(ValueError, match=r"^load: .*net\.safetensors must (be|have) ") as error:
        interop.load(path)
    assert message in str(error.value)
    check_message(error.value, path)


def test_swapped_arguments_are_named(rng, tmp_path):
    params = draw_params(rng, AFTER, "float32")
    with refused("save: path must be a path, first of (path, net, params), got a Cell."):
        interop.save(AFTER, params, tmp_path / "a.safetensors")
    with refused(
        "save: net must be a Cell, a Layer or None, second of (path, net, params), got a GRUParams."
    ):
        interop.save(tmp_path / "a.safetensors", params, AFTER)


def test_a_file_of_another_version_is_refused(tmp_path):
    path, params = tmp_path / "x.safetensors", {"W": np.ones(2, "f")}
    header = {"architecture": json.dumps(CELL), "input_size": "3", "format": "gru_jax 2"}
    save_file(params, path, header)
    needed = "must be of the format 'gru_jax 1', got 'gru_jax 2': another version of gru_jax wrote"
    with pytest.raises(ValueError, match=needed):
        interop.load(path)


def test_arrays_that_are_too_many_for_memory_are_one_error(tmp_path, monkeypatch):
    path, params = tmp_path / "x.safetensors", {"W": np.ones(2, "f")}
    interop.save(path, None, params)

    def fail(*_, **__):
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(np, "frombuffer", fail)
    with pytest.raises(ValueError, match="must be a whole safetensors file, but: Unable to all"):
        interop.load_params(path, params)


def test_arrays_that_are_not_the_nets_are_named(rng, tmp_path):
    path, params = tmp_path / "x.safetensors", draw_params(rng, AFTER, "float32")
    interop.save(path, AFTER, params)
    with pytest.raises(ValueError, match=r"x\.safetensors must have W_c \(9, 4\), got \(7, 4\)"):
        interop.load_params(path, params._replace(W_c=np.ones((9, 4))))
    with pytest.raises(ValueError, match=r"x\.safetensors must have b_h nowhere, got \(4,\)"):
        interop.load_params(path, params._replace(b_h=None))
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(ValueError, match="a must be float32 while JAX holds 32 bits, got float64"):
        interop.load_params(path, {"a": np.ones(2)})
    with pytest.raises(FileNotFoundError, match=r"load: no file .*nowhere"):
        interop.load(tmp_path / "nowhere.safetensors")
