"""The GRU as a Flax linen module.

    from gru_jax.linen import GRU

    gru = GRU(64, num_layers=2, bidirectional=True, dropout=0.3)
    variables = gru.init(key, xs, deterministic=True)  # xs: [*batch, time, input]
    ys, h_last = gru.apply(variables, xs, deterministic=False, rngs={"dropout": key_dropout})
    traces = gj.trace(gru.net(), gru.params_from(variables), xs)  # what the gates did

`GRU` runs `gru.net()`, a net of `gj.recurrent`, `gj.bidirectional`, `gj.stack` and `gj.dropout`,
with its derivatives and its boundaries. It computes nothing else. `Net(layer)` runs any layer.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Integer

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.ops.checks import check_kind
from gru_jax.types import ArrayLike, Cell, Params, Shape, State


class GRU(nn.Module, modules.Options):
    """A GRU of one layer or more, in one direction or both.

    `gru.apply(variables, xs)` returns `(ys, h_last)`, and `init` needs an `xs` of the right input
    size. The collection "params" holds `layers_0`, `layers_1`, ...; each of them `forward`, with
    `bidirectional` also `backward`; these W_r, b_r, W_z, b_z, W_c, b_c, with reset="after" also
    b_h. W_* is [input + hidden, hidden]; its first rows act on x.

    A call returns a pair, which Flax's `Sequential` passes on as two arguments: follow it there
    with `lambda ys, h_last: ys`.

    Attributes:
        hidden_size: features of the state, in each direction.

    `gru_jax.modules.Options` lists all other attributes. In training, dropout and the other
    noise need `rngs={"dropout": key}`.
    """

    hidden_size: int

    def __call__(
        self,
        xs: Float[ArrayLike, "*batch time input"],
        *,
        h0: State | None = None,
        lengths: Integer[ArrayLike, "*batch"] | None = None,
        mask: Bool[ArrayLike, "*batch time"] | None = None,
        resets: Bool[ArrayLike, "*batch time"] | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Float[Array, "*batch time output"], State]:
        """Runs the layers over sequences.

        Args:
            xs: the inputs; no batch axis, one, or several.
            h0: the state before the first step, as in `h_last`; None is zeros.
            lengths: steps at and after a sequence's length are padding, where outputs are zero and
                the state stays as it is.
            mask: False steps are padding, wherever they stand. With `lengths`, both apply.
            resets: True steps begin a new segment (an episode): the state is put back to zero
                before x_t is read.
            deterministic: as the attribute; one of the two must be given where anything is random.

        Returns:
            `(ys, h_last)`: the outputs of the last layer and the state after the last valid step,
            [*batch, hidden] or, with `bidirectional`, `gj.Directions(forward, backward)`; of
            several layers a tuple of these, with () for each dropout between them.

        Raises:
            ValueError: if shapes or dtypes do not fit each other, or an option is out of range.
        """
        net, key = self.net(), None
        if modules.is_random(self) and not nn.merge_param(
            "deterministic", self.deterministic, deterministic
        ):
            key = self.make_rng("dropout")
        params, xs, h0 = modules.cast(self.dtype, (self._params(jnp.shape(xs)[-1]), xs, h0))
        return net.apply(params, xs, h0, lengths=lengths, mask=mask, resets=resets, key=key)

    def step(
        self, x: Float[ArrayLike, "*batch input"], state: State
    ) -> tuple[Float[Array, "*batch output"], State]:
        """Runs one time step, in evaluation: `gru.apply(variables, x, state, method="step")`.

        Args:
            x: one step's input.
            state: from `initial_state`, from the step before, or an `h_last`.

        Returns:
            `(y, state)`.

        Raises:
            ValueError: with `bidirectional`, which must see the whole sequence first.
        """
        net, params = self.net(), self._params(jnp.shape(x)[-1])
        return net.step(*modules.cast(self.dtype, (params, x, state)))

    @nn.nowrap
    def initial_state(self, x_shape: Shape) -> State:
        """Returns the state before the first step; `x_shape` is one step's [*batch, input].

        With dtype=None it is of param_dtype, whatever the inputs will be.
        """

        def begin() -> State:
            params = net.init(jax.random.key(0), x_shape[-1])
            return modules.cast(self.dtype, net.initial_state(params, x_shape))

        net = self.net()
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(begin))

    @nn.nowrap
    def net(self) -> Layer:
        """Returns the net that this module runs, for use without Flax."""
        return modules.make_net(self, _unbox)

    @nn.nowrap
    def params_from(self, variables: Mapping[str, Any]) -> Params:
        """Returns the parameters of `net()` from this module's variables, {"params": ...}."""
        if "params" not in variables:
            got = ", ".join(variables)[:200] or "nothing"
            raise ValueError(f'GRU: variables must have the collection "params", got {got}.')
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
    def _params(self, input_size: int) -> Params:
        init = partial(modules.init_layer, self, _unbox, _box)
        sizes = modules.input_sizes(self, input_size).items()
        return modules.take_params(
            self, {name: self.param(name, init, size) for name, size in sizes}
        )


class Net(nn.Module):
    """Any gru_jax layer as a module, e.g. `Net(gj.recurrent(gj.conv_gru(32)))`.

    The collection "params" holds one entry, `net`: the layer's own parameters.

    Attributes:
        layer: the layer.
        input_size: the argument of `layer.init`; None is the size of the inputs' last axis.
        deterministic: True is evaluation. It or the argument must be given if the layer is random,
            whose noise needs `rngs={"dropout": key}`.
    """

    layer: Layer
    input_size: int | None = None
    deterministic: bool | None = None

    @nn.compact
    def __call__(
        self,
        xs: ArrayLike,
        state: State | None = None,
        *,
        lengths: Integer[ArrayLike, "*batch"] | None = None,
        mask: Bool[ArrayLike, "*batch time"] | None = None,
        resets: Bool[ArrayLike, "*batch time"] | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Array, State]:
        """Runs the layer over sequences: `layer.apply`, with its arguments and results."""
        check_kind("Net: layer must be a Layer, e.g. recurrent(cell)", self.layer, Layer)
        key = None
        if self.layer.random and not nn.merge_param(
            "deterministic", self.deterministic, deterministic
        ):
            key = self.make_rng("dropout")
        size = jnp.shape(xs)[-1] if self.input_size is None else self.input_size
        params = self.param("net", self.layer.init, size)
        limits: Any = {"lengths": lengths, "mask": mask, "resets": resets}
        return self.layer.apply(params, xs, state, **limits, key=key)


def _unbox(boxed: Any) -> Array:
    """Returns the array in any number of boxes, which are pytrees of it."""
    (leaf,) = jax.tree.leaves(boxed)
    return leaf


def _box(boxed: Any, leaf: Any) -> Any:
    """Returns the same boxes around another leaf."""
    return jax.tree.map(lambda _: leaf, boxed)
