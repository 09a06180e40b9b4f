"""From Keras: a model's layers one behind the other -> levels -> net, params."""

import inspect
from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.interop.arrays import floats
from gru_jax.interop.contents import Contents
from gru_jax.interop.gates import Joined, check_symmetric, part
from gru_jax.interop.kinds import ANY_KIND, GRU, KINDS, LSTM
from gru_jax.interop.names import choose
from gru_jax.interop.stack import Level, Run, assemble, assemble_cell
from gru_jax.layers.layer import Layer
from gru_jax.ops.activations import ACTIVATIONS
from gru_jax.types import Cell, Params

ORDERS = {GRU: "zrc", LSTM: "ifgo"}


def from_keras(source: Any, *, name: str | None = None) -> tuple[Cell | Layer, Params]:
    """Returns Keras' GRUs and LSTMs as a net of gru_jax, bit for bit, whatever backend Keras has.

    The net returns all steps and the last states, also for a layer without `return_sequences`.
    Masks are arguments of `apply`: for `Masking` it is `mask=(xs != mask_value).any(-1)`. In masked
    steps Keras repeats its last output; the net's is zero. `stateful` and `unroll` are ignored.
    `dropout` and `recurrent_dropout` inside a layer act in training alone and are left out: put
    `dropout(rate, per_sequence=True)` before the layer, or build it with
    `recurrent(cell, recurrent_dropout=rate)`. Variables keep their own dtype, so that mixed
    precision is float32 here.

    Args:
        source: a `GRUCell` or `LSTMCell`, a `GRU` or `LSTM`, an `RNN` of such cells, a
            `Bidirectional` of one of these, or a model of these alone, one behind the other, with
            `Dropout` between them and `Masking` before them. An LSTM must have the activations
            tanh and sigmoid.
        name: of the layer to take, where a model has others, too, e.g. `"encoder"`, or
            `"inner/encoder"` in a model inside; None is the only GRU or LSTM there.

    Returns:
        The net and its parameters: of a cell a cell, of all else a layer. Without bias, the biases
        are zeros.

    Raises:
        ValueError: if something else stands there, is not built yet, or has no equal in gru_jax.
    """
    return read_layers(source, name)[:2]


def read_layers(source: Any, name: str | None) -> Contents:
    """Returns the net of a model, as `from_keras` does, and the names of the other weights."""
    import keras

    whole, kinds = source, keras.layers
    plain = (kinds.RNN, kinds.Bidirectional, kinds.Dropout, kinds.InputLayer, kinds.Masking)
    layers = getattr(source, "layers", ())
    if name is not None or not all(isinstance(layer, plain) for layer in layers):
        source = _find_layer(source, name)
    if isinstance(source, (kinds.GRUCell, kinds.LSTMCell)):
        return Contents(*assemble_cell(_take_run(source, source.name)))
    levels: list[Level] = []
    chosen = _chain(source)
    for layer in chosen:  # by exact types, since a subclass may compute something else
        if type(layer) is keras.layers.Dropout:
            if not levels or levels[-1].dropout or layer.noise_shape is not None:
                raise ValueError(
                    f"from_keras: each dropout must directly follow {ANY_KIND}, without a "
                    f"noise_shape, got {layer.name!r}: convert the layers by name, and put "
                    "gj.dropout in its place."
                )
            levels[-1] = levels[-1]._replace(dropout=layer.rate)
        elif levels or type(layer) not in (keras.layers.InputLayer, keras.layers.Masking):
            levels += _take_levels(layer)
    if not levels:
        raise ValueError(f"from_keras: source must have {ANY_KIND}, got none.")
    taken = {id(weight) for layer in chosen for weight in layer.weights}
    leftovers = [each.path for each in whole.weights if id(each) not in taken]
    return Contents(*assemble("from_keras", levels), tuple(leftovers))


def _find_layer(source: Any, name: str | None) -> Any:
    """Returns the layer by this name, also in a model inside the model; None is the only one."""
    import keras

    layers, kinds = _layers_by_path(source, ""), keras.layers.RNN | keras.layers.Bidirectional
    places = [path for path, layer in layers.items() if name or isinstance(layer, kinds)]
    return layers[choose("from_keras", places, name, layers, separator="/")]


def _layers_by_path(source: Any, place: str) -> dict[str, Any]:
    layers = {}
    for layer in getattr(source, "layers", ()):
        layers[place + layer.name] = layer
        layers |= _layers_by_path(layer, f"{place}{layer.name}/")
    return layers


def _chain(source: Any) -> list[Any]:
    """Returns the layers that a model runs one behind the other."""
    import keras

    if not isinstance(source, keras.Model):
        return [source]
    plain = type(source).call.__module__.startswith("keras.")
    if plain and isinstance(source, keras.Sequential):
        return source.layers
    if not plain or not hasattr(source, "inputs"):
        raise ValueError(
            f"from_keras: source must be a Sequential or functional model, got {source.name!r}, a "
            f"{type(source).__name__} of its own: take its layers one by one."
        )
    layers = [part for part in source.layers if type(part) is not keras.layers.InputLayer]
    ready, outputs, masks = [*map(id, source.inputs)], [], []
    for layer in layers:
        first, *more = keras.tree.flatten(layer.input)
        if id(first) not in ready or any(tensor.dtype != "bool" for tensor in more):
            raise _not_a_chain(f"{layer.name!r}, which reads something else")
        _check_call(layer)
        if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
            masks.append([*map(id, more)])
            if masks[-1] != masks[0]:
                raise _not_a_chain(f"{layer.name!r}, which is given another mask")
        own = [*map(id, keras.tree.flatten(layer.output))]
        ready, outputs = own[:1], outputs + own
    if not {*map(id, source.outputs)} <= {*outputs}:
        raise _not_a_chain("an output that no layer has when it is run once")
    return layers


def _check_call(layer: Any) -> None:
    """Raises if a model fixes an argument of a layer's call, which no net of gru_jax can."""
    import keras

    call = layer._inbound_nodes[0].arguments  # Keras tells it nowhere in public.
    given = inspect.signature(layer.call).bind(*call.args, **call.kwargs).arguments
    for name, value in given.items():
        fixed = [part for part in keras.tree.flatten(value) if part is not None]
        if not all(part is False or isinstance(part, keras.KerasTensor) for part in fixed):
            got = f"{name}={value}" if value is True else f"a constant {name}"
            raise ValueError(
                f"from_keras: {layer.name!r} must be called without fixed arguments, got {got}: "
                "take the layers by name, and give h0, mask or key to apply."
            )


def _not_a_chain(got: str) -> ValueError:
    return ValueError(
        "from_keras: layers must each read the outputs of the one before and one mask, and be run "
        f"once, got {got}: take them one by one, by name."
    )


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
            "SpatialDropout1D: take the layers by name, and put dropout(rate, per_sequence=True) "
            "between them."
        )
    if type(layer) not in (keras.layers.GRU, keras.layers.LSTM, keras.layers.RNN):
        raise ValueError(
            "from_keras: source must be of GRU, LSTM, RNN, Bidirectional and Dropout layers, got "
            f"{getattr(layer, 'name', layer)!r}, a {type(layer).__name__}: take the layer alone, "
            "by name."
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

    kinds = {getattr(keras.layers, f"{kind.name}Cell"): kind for kind in KINDS.values()}
    kind = kinds.get(type(cell))
    if kind is None:
        needed, got = "a GRUCell or an LSTMCell", type(cell).__name__
        raise ValueError(f"from_keras: cell of {name!r} must be {needed}, got a {got}.")
    if not cell.built:
        raise ValueError(
            f"from_keras: {name!r} must be built, got it without weights: call it once, or "
            "layer.build((None, None, input_size))."
        )
    options = {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
    activation, gate_activation = (
        _find_activation(cell, option, name, ACTIVATIONS if kind is GRU else known)
        for option, known in options.items()
    )
    check_symmetric("from_keras", f"recurrent_activation of {name!r}", gate_activation)

    def convert(variable: Any) -> Array:
        value = np.asarray(keras.ops.convert_to_numpy(variable.value))
        value = value.astype(jnp.dtype(variable.dtype))  # some backends widen bfloat16 to float32
        return floats("from_keras", f"{variable.name} of {name!r}", value)

    variables = (cell.kernel, cell.recurrent_kernel, cell.bias)
    W_x, W_h, *b = (convert(variable) for variable in variables if variable is not None)
    zeros = jnp.zeros(W_x.shape[1], W_x.dtype)
    after = kind is GRU and cell.reset_after
    b_x, b_h = [*b[0]] if b and after else [*b, zeros, zeros][:2]
    reset = "after" if after else "before"
    params = part("from_keras", Joined(W_x, W_h, b_x, b_h), ORDERS[kind], old=True, reset=reset)
    return Run(params, activation, gate_activation)


def _find_activation(cell: Any, option: str, label: str, known: Collection[str]) -> str:
    """Returns gru_jax's name of a cell's activation."""
    import keras

    function = getattr(cell, option)
    name = {keras.activations.get(each): each for each in ACTIVATIONS}.get(function)
    if name is not None and name in known:
        return name
    got = getattr(function, "__name__", function)
    if name is None and got in ACTIVATIONS:
        got = f"a function {got} that is not Keras' own and not recognised: give its name"
    needed = f"one of {', '.join(known)}" if len(known) > 1 else f"{min(known)} in an LSTM"
    raise ValueError(f"from_keras: {option} of {label!r} must be {needed}, got {got}.")
