"""To Keras: net, params -> levels -> `GRU`, `LSTM`, `Bidirectional`, `Dropout` layers, built."""

import importlib.util
import os
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gru_jax.interop.gates import join
from gru_jax.interop.keras.importing import ORDERS
from gru_jax.interop.kinds import GRU
from gru_jax.interop.limits import KERAS, levels_within
from gru_jax.interop.stack import Level, Run
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    import keras


def to_keras(net: Cell | Layer, params: Params) -> "keras.Layer":
    """Returns a net as a built Keras layer or model, bit for bit.

    Keras runs on JAX, unless KERAS_BACKEND says something else or TensorFlow is there. In float64
    its own tanh on JAX is of float32.

    Args:
        net: a cell, which becomes a `GRUCell` or `LSTMCell`, or a layer, which becomes a
            `Sequential` of `GRU`, `LSTM`, `Bidirectional` and `Dropout` layers with all steps for
            outputs. `model.save(path)` writes it; `model.layers` are to build others with.
        params: its parameters.

    Raises:
        ValueError: if Keras' layers cannot compute this net, and why.
    """
    levels = levels_within(KERAS, "to_keras", net, params)
    choose_backend()
    from keras import layers

    with jax.numpy_rank_promotion("allow"):  # for Keras' own initialisers
        if not isinstance(net, Cell):
            return _model(levels)
        run = levels[0].runs[0]
        cell = getattr(layers, f"{run.kind.name}Cell")(**_options(run))
        cell.build((None, run.input_size))
        cell.set_weights(_weights(run))
        return cell


def choose_backend() -> None:
    """Puts Keras on JAX where it would ask for a TensorFlow that is not there."""
    if importlib.util.find_spec("tensorflow") is None:
        os.environ.setdefault("KERAS_BACKEND", "jax")


def _model(levels: list[Level]) -> "keras.Sequential":
    from keras import Input, Sequential, layers

    first = levels[0].runs[0]
    dtype = str(first.dtype)
    model = Sequential([Input((None, first.input_size), dtype=dtype)])
    for level in levels:
        if len({run.hidden_size for run in level.runs}) > 1:
            sizes = " and ".join(str(run.hidden_size) for run in level.runs)
            raise ValueError(
                f"to_keras: net must have one hidden size in both directions, got {sizes}: Keras' "
                "Bidirectional takes the first for both; convert them one by one."
            )
        layer, *back = (
            getattr(layers, run.kind.name)(
                **_options(run), return_sequences=True, go_backwards=run.reverse
            )
            for run in level.runs
        )
        if back:
            layer = layers.Bidirectional(layer, level.merge, backward_layer=back[0], dtype=dtype)
        model.add(layer)
        layer.set_weights([array for run in level.runs for array in _weights(run)])
        if level.dropout:
            model.add(layers.Dropout(level.dropout, dtype=dtype))
    return model


def _options(run: Run) -> dict[str, Any]:
    dtype = str(run.dtype)
    form = {"reset_after": run.reset == "after"} if run.kind is GRU else {}
    return form | {
        "units": run.hidden_size,
        "activation": run.activation,
        "recurrent_activation": run.gate_activation,
        "dtype": dtype,
        # Keras cannot draw orthogonal matrices of 16 bits, and builds no layer that says it does.
        "recurrent_initializer": "glorot_uniform" if "16" in dtype else "orthogonal",
    }


def _weights(run: Run) -> list[np.ndarray]:
    W_x, W_h, b_x, b_h = map(np.asarray, join(run.params, ORDERS[run.kind], old=True))
    return [W_x, W_h, np.stack([b_x, b_h]) if run.reset == "after" else b_x]
