"""Keras' files, read without drawing the weights that those in the file replace.

path  ->  its config, read and stripped  ->  a model of zeros  ->  its weights  ->  from_keras
"""

import json
import math
import os
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
from jax.typing import DTypeLike

from gru_jax.files import MAX_BYTES, check_size
from gru_jax.interop.keras.model import choose_backend
from gru_jax.interop.keras.module import from_keras
from gru_jax.interop.stack import take_apart
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

ENDINGS = (".keras", ".h5", ".hdf5")
MAX_CONFIG = 1 << 24
"""Largest text of a model's layers, in bytes; one of a thousand layers has a tenth of it."""

INSTEAD = {"stateful": False, "compile_config": None}
"""What is of a model and not of its net: states of a whole batch, optimisers."""

DEFAULTS = ("glorot_uniform", "orthogonal", "uniform", "zeros", "ones")
"""Initializers that layers have where a config says none."""


def check_file(function: str, path: Path, dtype: DTypeLike | None = None) -> None:
    """Raises unless Keras knows the ending and, where a dtype is given, reads it back from there.

    Raises:
        ValueError: if not.
    """
    ending = path.suffix
    if ending not in ENDINGS:
        raise ValueError(
            f"{function}: {path} must end in {' or '.join(ENDINGS)}, by which Keras knows its "
            f"files, got {ending!r}: rename it."
        )
    if ending != ".keras" and str(jax.numpy.dtype(dtype)) == "bfloat16":
        raise ValueError(
            f"{function}: {path} must end in .keras for bfloat16, got {ending!r}, from which Keras "
            "cannot read it back: rename it."
        )


def read_keras(
    path: str | os.PathLike[str], name: str | None = None
) -> tuple[Cell | Layer, Params]:
    """Returns the GRUs in a `.keras` or `.h5` file of a model, as `from_keras` does.

    Code in the file (`Lambda` layers) is not run: Keras refuses it in its safe mode.

    Raises:
        ValueError: if it is damaged, or `from_keras` raises.
        FileNotFoundError: if there is no such file.
    """
    choose_backend()
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"read_keras: no file {path}.")
    check_file("read_keras", path)
    check_size(path)
    try:
        model, version = _load(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # of zip, HDF5, JSON, and whatever a lying file makes Keras raise
        _, _, why = str(error).rpartition("Exception encountered: ")  # behind the whole config
        why = " ".join(why.split())[:300].rstrip(".")
        raise ValueError(
            f"read_keras: {path} must be a whole model that Keras reads, but: {why}."
        ) from error
    net, params = from_keras(model, name=name)
    runs = [run for level in take_apart("read_keras", net, params) for run in level.runs]
    functions = [function for run in runs for function in (run.activation, run.gate_activation)]
    if version.split(".")[0] in ("1", "2") and "hard_sigmoid" in functions:
        raise ValueError(
            f"read_keras: {path} must be saved by Keras 3 for hard_sigmoid, got Keras {version}, "
            "whose hard_sigmoid has another slope, 1/5 and not 1/6: multiply the kernels and "
            "biases of what goes into it by 1.2, and save it by Keras 3."
        )
    return net, params


def _load(path: Path) -> tuple[Any, str]:
    """Returns the model in a file, and the version of Keras that saved it.

    Keras' own `load_model` draws all weights first, which takes minutes where a file says
    `"units": 8000`, before it sees that there are none. Ours are zeros, as many as fit in the file.
    """
    import keras

    text, version = _read_config(path)
    config = _strip(json.loads(text))
    zeros = _make_zeros(path.stat().st_size)
    ours: dict[str, Any] = dict.fromkeys((*DEFAULTS, zeros.__name__), zeros)
    if path.suffix != ".keras":  # Its classes are found in another way, which is told of ours here.
        kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
        ours["whole"] = SimpleNamespace(from_config=partial(kind.from_config, custom_objects=ours))
        config = {"class_name": "whole", "config": config["config"]}
    with jax.numpy_rank_promotion("allow"):
        model = keras.saving.deserialize_keras_object(config, custom_objects=ours, safe_mode=True)
        model.load_weights(path)
    return model, version


def _read_config(path: Path) -> tuple[str | bytes, str]:
    import h5py

    if path.suffix != ".keras":
        with h5py.File(path) as file:
            _check_arrays(file)
            told: Any = file.attrs
            if "model_config" not in told:
                raise ValueError(
                    "it holds weights alone: they are for model.load_weights; then give the model "
                    "to from_keras"
                )
            version = told.get("keras_version", "1")
            return told["model_config"], getattr(version, "decode", lambda: version)()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("config.json").file_size
        if size > MAX_CONFIG:
            raise ValueError(f"its config.json must be {MAX_CONFIG} bytes or less, got {size}")
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            _check_arrays(file)
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        return archive.read("config.json"), str(version)


def _check_arrays(file: Any) -> None:
    """Raises where few bytes are said to be a large array, which Keras would read."""
    sizes = []
    file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    if sum(sizes) > MAX_BYTES:
        raise ValueError(f"its arrays must be {MAX_BYTES} bytes or less, got {sum(sizes)}")


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
