"""The parameters of the GRU modules, as `nnx.Param`s: a net, and its parameters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.types import ArrayLike, Cell, Params


class GRUModule(nnx.Module):
    """A module that runs a net of GRUs.

    It has an `input_size`, a `hidden_size` and the attributes of its options.
    """

    input_size: int

    def _draw(
        self, rngs: Any, kernel_metadata: Mapping[str, Any], bias_metadata: Mapping[str, Any]
    ) -> nnx.Rngs:
        """Draws the parameters."""
        if not isinstance(rngs, nnx.Rngs):
            kind = type(self).__name__
            raise ValueError(f"{kind}: rngs must be an nnx.Rngs, got a {type(rngs).__name__}.")
        self.net()  # Raises where an option is out of range.
        metadata = {"W": kernel_metadata, "b": bias_metadata}
        for layer_name, size in modules.input_sizes(self, self.input_size).items():
            named = modules.init_layer(self, unbox, box, rngs.params(), size)
            layer = nnx.Dict()
            for direction, leaves in named.items():
                params = {n: nnx.Param(leaf, **metadata[n[0]]) for n, leaf in leaves.items()}
                layer[direction] = nnx.Dict(params)
            setattr(self, layer_name, layer)
        return rngs

    def net(self) -> Layer:
        """Returns the net that this module runs, for use without Flax."""
        return modules.make_net(self, unbox)

    def params(self) -> Params:
        """Returns the parameters of `net()`, arrays."""
        return self._run()[1]

    def _run(self) -> tuple[Layer, Params]:
        # It calls no public method, because `nnx.tabulate` traces each of them.
        return modules.make_net(self, unbox), modules.take_params(self, self._read())

    def _read(self) -> dict[str, dict[str, dict[str, Array]]]:
        directions, fields = modules.leaf_names(self)
        layers = {name: getattr(self, name) for name in modules.input_sizes(self, self.input_size)}
        return {
            name: {d: {f: getattr(getattr(layer, d), f)[...] for f in fields} for d in directions}
            for name, layer in layers.items()
        }

    def set_params(self, net: Cell | Layer, params: Params) -> None:
        """Puts a net's parameters, as of `interop.from_nnx`, in the place of this module's own.

        They go to the devices on which those are.

        Raises:
            ValueError: if this module would compute something else with them, or they are for
                another input size or of another dtype.
        """
        named = modules.name_params(self, self.net(), net, params)
        rows, hidden_size = jax.tree.leaves(params)[0].shape
        size = rows - hidden_size
        if size != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: params must be for {self.input_size} inputs, as "
                f"input_size says, got those for {size}."
            )
        nnx.update(self, jax.tree.map(_put, named, self._read()))


def _put(leaf: ArrayLike, old: Array) -> Array:
    """Puts an array on the devices of the old one, if that is committed to them."""
    committed = getattr(old, "committed", False)
    return jax.device_put(leaf, old.sharding) if committed else jnp.asarray(leaf)


def unbox(boxed: Any) -> Array:
    """Returns the array without `nnx.with_metadata`'s."""
    return boxed.raw_value if isinstance(boxed, nnx.VariableMetadata) else boxed


def box(boxed: Any, leaf: Any) -> Any:
    """Returns the leaf with the metadata of `boxed`, which `nnx.with_metadata` gave."""
    return replace(boxed, raw_value=leaf) if isinstance(boxed, nnx.VariableMetadata) else leaf
