"""The parameters of the GRU modules: a net, and its variables by name."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params


class GRUModule(nn.Module):
    """A module that runs a net of GRUs, with a `hidden_size` and the attributes of its options."""

    @nn.nowrap
    def net(self) -> Layer:
        """Returns the net that this module runs, for use without Flax."""
        return modules.make_net(self, unbox)

    @nn.nowrap
    def params_from(self, variables: Mapping[str, Any]) -> Params:
        """Returns the parameters of `net()` from this module's variables, {"params": ...}."""
        if "params" not in variables:
            got, kind = ", ".join(variables)[:200] or "nothing", type(self).__name__
            raise ValueError(f'{kind}: variables must have the collection "params", got {got}.')
        return modules.take_params(self, nn.meta.unbox(variables["params"]))

    @nn.nowrap
    def variables_from(self, net: Cell | Layer, params: Params) -> dict[str, Any]:
        """Returns this module's variables, {"params": ...}, from a net and its parameters.

        As of `interop.from_linen`. The arrays are bare: `nn.meta.replace_boxed(variables, these)`
        puts them into the boxes of metadata that `init` made.

        Raises:
            ValueError: if this module would compute something else with them.
        """
        return {"params": modules.name_params(self, self.net(), net, params)}

    @nn.compact
    def _params(self, options: Any, input_size: int) -> Params:
        init = partial(modules.init_layer, options, unbox, box)
        sizes = modules.input_sizes(options, input_size).items()
        return modules.take_params(
            options, {name: self.param(name, init, size) for name, size in sizes}
        )


def unbox(boxed: Any) -> Array:
    """Returns the array in any number of boxes, which are pytrees of it."""
    (leaf,) = jax.tree.leaves(boxed)
    return leaf


def box(boxed: Any, leaf: Any) -> Any:
    """Returns the same boxes around another leaf."""
    return jax.tree.map(lambda _: leaf, boxed)
