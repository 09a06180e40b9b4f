"""Keras' `GRU`: columns z, r, c, z on the old state, both forms; one bias or, reset after, two."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gru_jax.interop.arrays import floats
from gru_jax.interop.gates import Joined, check_turning, join, part
from gru_jax.interop.keras.model import chain, choose_backend, find_layer
from gru_jax.interop.limits import KERAS, check
from gru_jax.interop.stack import Level, Run, assemble, assemble_cell, take_apart
from gru_jax.layers.layer import Layer
from gru_jax.ops.activations import ACTIVATIONS
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    import keras


def from_keras(source: Any, *, name: str | None = None) -> tuple[Cell | Layer, Params]:
    """Returns Keras' GRUs as a net of ours, bit for bit, whatever backend Keras has.

    All steps come out, and the last states beside them, also of a layer without `return_sequences`.
    Masks are arguments of `apply`: of `Masking` it is `mask=(xs != mask_value).any(-1)`. In masked
    steps Keras repeats its last output, ours is zero. `stateful` and `unroll` are not of the net.
    `dropout` and `recurrent_dropout` inside a GRU act in training alone and are left out: put
    `dropout(rate, per_sequence=True)` before the layer, or build it with
    `recurrent(cell, recurrent_dropout=rate)`. Variables keep their own dtype, so that mixed
    precision is float32 here.

    Args:
        source: a `GRUCell`, a `GRU`, an `RNN` of `GRUCell`s, a `Bidirectional` of one of these, or
            a model of nothing else, one behind the other, but `Dropout` between them and `Masking`
            before them.
        name: of the layer to take, where a model has others, too, e.g. `"encoder"`, or
            `"inner/encoder"` in a model inside; None is the only GRU there.

    Returns:
        The net and its parameters: of a cell a cell, of all else a layer. Without bias, ours are
        zeros.

    Raises:
        ValueError: if something else stands there, is not built yet, or is what ours cannot be.
    """
    import keras

    kinds = keras.layers
    plain = (kinds.RNN, kinds.Bidirectional, kinds.Dropout, kinds.InputLayer, kinds.Masking)
    layers = getattr(source, "layers", ())
    if name is not None or not all(isinstance(layer, plain) for layer in layers):
        source = find_layer(source, name)
    if isinstance(source, keras.layers.GRUCell):
        return assemble_cell(_take_run(source, source.name))
    levels: list[Level] = []
    for layer in chain(source):  # by exact types, for what is called in others may differ
        if type(layer) is keras.layers.Dropout:
            if not levels or levels[-1].dropout or layer.noise_shape is not None:
                raise ValueError(
                    "from_keras: dropout must be behind a GRU, one, and without a noise_shape, got "
                    f"{layer.name!r}: take the GRUs by name, and put ours where it is."
                )
            levels[-1] = levels[-1]._replace(dropout=layer.rate)
        elif levels or type(layer) not in (keras.layers.InputLayer, keras.layers.Masking):
            levels += _take_levels(layer)
    if not levels:
        raise ValueError("from_keras: source must have a GRU, got none.")
    return assemble("from_keras", levels)


def to_keras(net: Cell | Layer, params: Params) -> "keras.layers.GRUCell | keras.Sequential":
    """Returns a net of ours in Keras, built, bit for bit.

    Keras runs on JAX, unless KERAS_BACKEND says something else or TensorFlow is there. In float64
    its own tanh on JAX is of float32.

    Args:
        net: a cell, which becomes a `GRUCell`, or a layer, which becomes a model of `GRU`,
            `Bidirectional` and `Dropout` layers with all steps for outputs. `model.save(path)`
            writes it; `model.layers` are to build others with.
        params: its parameters.

    Raises:
        ValueError: where Keras' GRU cannot be this net, and why.
    """
    levels = take_apart("to_keras", net, params)
    check("to_keras", levels, KERAS)
    choose_backend()
    with jax.numpy_rank_promotion("allow"):  # what Keras draws, until ours takes its place
        return _cell(levels[0].runs[0]) if isinstance(net, Cell) else _model(levels)


def _cell(run: Run) -> "keras.layers.GRUCell":
    import keras

    cell = keras.layers.GRUCell(**_options(run))
    cell.build((None, run.input_size))
    cell.set_weights(_weights(run))
    return cell


def _model(levels: list[Level]) -> "keras.Sequential":
    import keras

    first = levels[0].runs[0]
    dtype = str(first.params.W_c.dtype)
    model = keras.Sequential([keras.Input((None, first.input_size), dtype=dtype)])
    for level in levels:
        if len({run.hidden_size for run in level.runs}) > 1:
            sizes = " and ".join(str(run.hidden_size) for run in level.runs)
            raise ValueError(
                f"to_keras: net must have one hidden size in both directions, got {sizes}: Keras' "
                "Bidirectional takes the first for both; convert them one by one."
            )
        ahead, *back = (
            keras.layers.GRU(**_options(run), return_sequences=True, go_backwards=run.reverse)
            for run in level.runs
        )
        layer = ahead
        if back:
            layer = keras.layers.Bidirectional(
                ahead, level.merge, backward_layer=back[0], dtype=dtype
            )
        model.add(layer)
        layer.set_weights([array for run in level.runs for array in _weights(run)])
        if level.dropout:
            model.add(keras.layers.Dropout(level.dropout, dtype=dtype))
    return model


def _options(run: Run) -> dict[str, Any]:
    dtype = str(run.params.W_c.dtype)
    return {
        "units": run.hidden_size,
        "activation": run.activation,
        "recurrent_activation": run.gate_activation,
        "reset_after": run.reset == "after",
        "dtype": dtype,
        # Keras cannot draw orthogonal matrices of 16 bits, and builds no layer that says it does.
        "recurrent_initializer": "glorot_uniform" if "16" in dtype else "orthogonal",
    }


def _weights(run: Run) -> list[np.ndarray]:
    W_x, W_h, b_x, b_h = map(np.asarray, join(run.params, "zrc", old=True))
    return [W_x, W_h, np.stack([b_x, b_h]) if run.reset == "after" else b_x]


def _take_levels(layer: Any) -> list[Level]:
    import keras

    if type(layer) is keras.layers.Bidirectional:
        if layer.merge_mode not in ("concat", "sum"):
            raise ValueError(
                f'from_keras: merge_mode of {layer.name!r} must be "concat" or "sum", got '
                f"{layer.merge_mode!r}: take its forward_layer and its backward_layer.cell."
            )
        ahead, back = layer.forward_layer, layer.backward_layer
        if ahead.go_backwards:
            raise ValueError(
                f"from_keras: forward_layer of {layer.name!r} must not go backwards, got one that "
                "does: its outputs stand in reversed order then."
            )
        runs = (_take_run(ahead.cell, layer.name), _take_run(back.cell, layer.name))
        return [Level((runs[0], runs[1]._replace(reverse=True)), layer.merge_mode)]
    if type(layer) is keras.layers.SpatialDropout1D:
        raise ValueError(
            f"from_keras: dropout must be drawn anew in each step, got {layer.name!r}, a "
            "SpatialDropout1D: take the GRUs by name, and put dropout(rate, per_sequence=True) "
            "between them."
        )
    if type(layer) not in (keras.layers.GRU, keras.layers.RNN):
        raise ValueError(
            f"from_keras: source must be of GRU, RNN, Bidirectional and Dropout layers, got "
            f"{getattr(layer, 'name', layer)!r}, a {type(layer).__name__}: take the GRU alone, by "
            "name."
        )
    if layer.go_backwards and layer.return_sequences:
        raise ValueError(
            f"from_keras: {layer.name!r} must not go backwards and return sequences, which come "
            "out in reversed order then: take its cell, and run it by recurrent(cell, "
            "reverse=True), whose outputs stand in the order of the inputs."
        )
    cells = getattr(layer.cell, "cells", [layer.cell])
    runs = [_take_run(cell, layer.name)._replace(reverse=layer.go_backwards) for cell in cells]
    return [Level((run,)) for run in runs]


def _take_run(cell: Any, name: str) -> Run:
    import keras

    if type(cell) is not keras.layers.GRUCell:
        kind = type(cell).__name__
        raise ValueError(f"from_keras: cell of {name!r} must be a GRUCell, got a {kind}.")
    if not cell.built:
        raise ValueError(
            f"from_keras: {name!r} must be built, got it without weights: call it once, or "
            "layer.build((None, None, input_size))."
        )
    known = {keras.activations.get(ours): ours for ours in ACTIVATIONS}
    for what, function in (
        ("activation", cell.activation),
        ("recurrent_activation", cell.recurrent_activation),
    ):
        if function not in known:
            came = getattr(function, "__name__", function)
            if came in ACTIVATIONS:
                came = f"a function {came} that is not Keras' own and not recognised: give its name"
            raise ValueError(
                f"from_keras: {what} of {name!r} must be one of {', '.join(ACTIVATIONS)}, got "
                f"{came}."
            )
    gate_activation = known[cell.recurrent_activation]
    check_turning("from_keras", f"recurrent_activation of {name!r}", gate_activation)
    W_x, W_h, *b = (
        floats("from_keras", f"{variable.name} of {name!r}", _as_numpy(variable))
        for variable in (cell.kernel, cell.recurrent_kernel, cell.bias)
        if variable is not None
    )
    nothing = jnp.zeros(3 * cell.units, W_x.dtype)
    b_x, b_h = [*b[0]] if b and cell.reset_after else [*b, nothing, nothing][:2]
    reset = "after" if cell.reset_after else "before"
    params = part("from_keras", Joined(W_x, W_h, b_x, b_h), "zrc", old=True, reset=reset)
    return Run(params, known[cell.activation], gate_activation)


def _as_numpy(variable: Any) -> np.ndarray:
    """Returns a variable's value in its own dtype; some backends hand bfloat16 on as float32."""
    import keras

    value = np.asarray(keras.ops.convert_to_numpy(variable.value))
    return value.astype(jnp.dtype(variable.dtype))
