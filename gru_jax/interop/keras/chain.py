"""The layers of a Keras model that runs them one behind the other, and Keras' backend."""

import importlib.util
import inspect
import os
from typing import Any

from gru_jax.interop.names import choose


def choose_backend() -> None:
    """Puts Keras on JAX where it would ask for a TensorFlow that is not there."""
    if importlib.util.find_spec("tensorflow") is None:
        os.environ.setdefault("KERAS_BACKEND", "jax")


def find_layer(source: Any, name: str | None) -> Any:
    """Returns the layer by this name, also in a model inside the model; None is the only GRU."""
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


def chain(source: Any) -> list[Any]:
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
    ready, outputs, masks = source.inputs, [], []
    for layer in layers:
        first, *more = keras.tree.flatten(layer.input)
        if not _among(first, ready) or any(tensor.dtype != "bool" for tensor in more):
            raise _not_a_chain(f"{layer.name!r}, which reads something else")
        _check_call(layer)
        if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
            masks.append(more)
            if [*map(id, more)] != [*map(id, masks[0])]:
                raise _not_a_chain(f"{layer.name!r}, which is given another mask")
        own = keras.tree.flatten(layer.output)
        ready, outputs = own[:1], outputs + own
    if not all(_among(tensor, outputs) for tensor in source.outputs):
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
                "take the GRUs by name, and give h0, mask or key to apply."
            )


def _among(tensor: Any, tensors: list[Any]) -> bool:
    return any(tensor is other for other in tensors)


def _not_a_chain(got: str) -> ValueError:
    return ValueError(
        "from_keras: layers must each read the outputs of the one before and one mask, and be run "
        f"once, got {got}: take them one by one, by name."
    )
