"""Keras' files, read without drawing weights that the file replaces.

path  ->  its config, read and stripped  ->  a model of zeros  ->  its weights  ->  read_layers
"""

import json
import math
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax

from gru_jax import files
from gru_jax.interop.contents import Contents, damaged
from gru_jax.interop.keras.exporting import choose_backend, to_keras
from gru_jax.interop.keras.importing import read_layers
from gru_jax.interop.stack import disassemble
from gru_jax.layers.layer import Layer
from gru_jax.layers.recurrent import recurrent
from gru_jax.types import Cell, Params

ENDINGS = (".keras", ".h5", ".hdf5")
MAX_CONFIG = 1 << 24
"""Largest text of a model's layers, in bytes; one of a thousand layers has a tenth of it."""

INSTEAD = {"stateful": False, "compile_config": None}
"""Replacements for entries that the net does not need: states of a whole batch, optimisers."""

DEFAULTS = ("glorot_uniform", "orthogonal", "uniform", "zeros", "ones")
"""Initializers that layers have where a config says none."""


def read_keras(path: Path, name: str | None) -> Contents:
    """Returns the net in a `.keras` or `.h5` file of a model, as `from_keras` does.

    Code in the file (`Lambda` layers) is not run: Keras refuses it in its safe mode.
    """
    choose_backend()
    _check_ending("read", path)
    files.check_size(path)
    try:
        model, version, others = _load(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # of zip, HDF5, JSON, and whatever a lying file makes Keras raise
        _, _, reason = str(error).rpartition("Exception encountered: ")  # behind the whole config
        raise damaged("read", path, "a whole model that Keras reads", reason or error) from error
    net, params, leftovers = read_layers(model, name)
    runs = [run for level in disassemble("read", net, params) for run in level.runs]
    functions = [function for run in runs for function in (run.activation, run.gate_activation)]
    if version.split(".")[0] in ("1", "2") and "hard_sigmoid" in functions:
        raise ValueError(
            f"read: {path} must be saved by Keras 3 for hard_sigmoid, got Keras {version}, "
            "whose hard_sigmoid has another slope, 1/5 and not 1/6: multiply the kernels and "
            "biases of what goes into it by 1.2, and save it by Keras 3."
        )
    return Contents(net, params, (*leftovers, *others))


def write_keras(path: Path, net: Cell | Layer, params: Params) -> None:
    """Writes a net as a Keras model, a cell as a model that runs it, atomically."""
    model = to_keras(recurrent(net) if isinstance(net, Cell) else net, params)
    _check_ending("write", path)
    if path.suffix != ".keras" and jax.tree.leaves(params)[0].dtype == "bfloat16":
        raise ValueError(
            f"write: {path} must end in .keras for bfloat16, got {path.suffix!r}, from which Keras "
            "cannot read it back: rename it."
        )
    files.write(path, model.save)


def _check_ending(function: str, path: Path) -> None:
    if path.suffix not in ENDINGS:
        raise ValueError(
            f"{function}: {path} must end in {' or '.join(ENDINGS)}, by which Keras knows its "
            f"files, got {path.suffix!r}: rename it."
        )


def _load(path: Path) -> tuple[Any, str, list[str]]:
    """Returns the model in a file, the version of Keras that saved it, and the optimizer's arrays.

    Keras' own `load_model` draws all weights first, which takes minutes where a file says
    `"units": 8000`, before it sees that there are none. Here they are zeros, as many as fit in the
    file.
    """
    import keras

    text, version, others = _read_config(path)
    config = _strip(json.loads(text))
    zeros = _make_zeros(path.stat().st_size)
    custom: dict[str, Any] = dict.fromkeys((*DEFAULTS, zeros.__name__), zeros)
    if path.suffix != ".keras":  # Its classes are found in another way, by `from_config`.
        kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
        custom["whole"] = SimpleNamespace(
            from_config=partial(kind.from_config, custom_objects=custom)
        )
        config = {"class_name": "whole", "config": config["config"]}
    with jax.numpy_rank_promotion("allow"):
        model = keras.saving.deserialize_keras_object(config, custom_objects=custom, safe_mode=True)
        model.load_weights(path)
    return model, version, others


def _read_config(path: Path) -> tuple[str | bytes, str, list[str]]:
    import h5py

    if path.suffix != ".keras":
        with h5py.File(path) as file:
            others = _list_optimizer(file)
            attributes: Any = file.attrs
            if "model_config" not in attributes:
                raise ValueError(
                    "it holds weights alone: they are for model.load_weights; then give the model "
                    "to from_keras"
                )
            version = attributes.get("keras_version", "1")
            text = attributes["model_config"]
            return text, getattr(version, "decode", lambda: version)(), others
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("config.json").file_size
        if size > MAX_CONFIG:
            raise ValueError(f"its config.json must be {MAX_CONFIG} bytes or less, got {size}")
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            others = _list_optimizer(file)
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        return archive.read("config.json"), str(version), others


def _list_optimizer(file: Any) -> list[str]:
    """Returns the names of the optimizer's arrays in an HDF5 file.

    Raises:
        ValueError: if few bytes claim to be large arrays, which Keras would read.
    """
    sizes: dict[str, int] = {}
    file.visititems(lambda name, item: sizes.update({name: getattr(item, "nbytes", 0)}))
    if (size := sum(sizes.values())) > files.MAX_BYTES:
        raise ValueError(f"its arrays must be {files.MAX_BYTES} bytes or less, got {size}")
    return [name for name, size in sizes.items() if size and name.startswith("optimizer")]


def _strip(entry: Any) -> Any:
    """Returns a config without what costs time or memory and is not of the net."""
    if isinstance(entry, list):
        return [*map(_strip, entry)]
    if not isinstance(entry, dict):
        return entry
    return {
        key: "zeros" if key.endswith("initializer") else INSTEAD.get(key, _strip(part))
        for key, part in entry.items()
    }


def _make_zeros(most: int) -> type:
    """Returns Keras' initializer of zeros, which makes no more numbers than this in all."""
    import keras

    left = most

    class Counted(keras.initializers.Initializer):  # a class, for Keras makes copies by its name
        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            nonlocal left
            left -= math.prod(shape)
            if left < 0:
                raise ValueError(f"its layers need more numbers than the file has bytes, {most}")
            return keras.ops.zeros(shape, dtype)

        def get_config(self) -> dict[str, Any]:
            return {}

    return Counted
