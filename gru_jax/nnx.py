"""The GRU as a Flax NNX module.

    from flax import nnx
    from gru_jax.nnx import GRU

    gru = GRU(12, 64, num_layers=2, bidirectional=True, dropout=0.3, rngs=nnx.Rngs(0))
    ys, h_last = gru(xs)  # xs: [*batch, time, 12]; in training, gru.eval() ends it
    traces = gj.trace(gru.net(), gru.params(), xs)  # what the gates did

`GRU` runs `gru.net()`, a net of `gj.recurrent`, `gj.bidirectional`, `gj.stack` and `gj.dropout`,
with its derivatives and its boundaries. It computes nothing else.
`Net(layer, input_size, rngs=rngs)` runs any layer.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from gru_jax import modules
from gru_jax.layers.layer import Layer
from gru_jax.ops.checks import check_kind
from gru_jax.types import ArrayLike, Cell, Key, Params, Shape, State


@dataclass(repr=False, eq=False)
class GRU(nnx.Module, modules.Options):
    """A GRU of one layer or more, in one direction or both.

    Its `nnx.Param`s are `layers_0`, `layers_1`, ...; each of them holds `forward`, with
    `bidirectional` also `backward`; these W_r, b_r, W_z, b_z, W_c, b_c, with reset="after" also
    b_h: `gru.layers_0.forward.W_r`. W_* is [input + hidden, hidden]; its first rows act on x.

    A call returns a pair, which Flax's `Sequential` passes on as two arguments: follow it there
    with `lambda ys, h_last: ys`.

    Args:
        input_size: features of one step.
        hidden_size: features of the state, in each direction.
        deterministic: as in `gru_jax.modules.Options`, but False; `eval()` and `train()` set it.
        kernel_metadata: more metadata of W_*, as in `nnx.Linear`.
        bias_metadata: more metadata of the biases.
        rngs: an `nnx.Rngs`. "params" draws the parameters; the module keeps a fork of "dropout" if
            anything is random.

    All other arguments are the attributes of `gru_jax.modules.Options`.

    Raises:
        ValueError: if an option is out of range.
    """

    input_size: int
    hidden_size: int
    _: KW_ONLY
    deterministic: bool | None = False
    kernel_metadata: InitVar[Mapping[str, Any]] = MappingProxyType({})
    bias_metadata: InitVar[Mapping[str, Any]] = MappingProxyType({})
    rngs: nnx.Rngs | nnx.RngStream | None

    def __post_init__(
        self, kernel_metadata: Mapping[str, Any], bias_metadata: Mapping[str, Any]
    ) -> None:
        """Draws the parameters."""
        rngs = self.rngs
        if not isinstance(rngs, nnx.Rngs):
            raise ValueError(f"GRU: rngs must be an nnx.Rngs, got a {type(rngs).__name__}.")
        self.net()  # Raises where an option is out of range.
        metadata = {"W": kernel_metadata, "b": bias_metadata}
        for layer_name, size in modules.input_sizes(self, self.input_size).items():
            named = modules.init_layer(self, _unbox, _box, rngs.params(), size)
            layer = nnx.Dict()
            for direction, leaves in named.items():
                params = {n: nnx.Param(leaf, **metadata[n[0]]) for n, leaf in leaves.items()}
                layer[direction] = nnx.Dict(params)
            setattr(self, layer_name, layer)
        self.rngs = rngs["dropout"].fork() if modules.is_random(self) else nnx.data(None)

    def __call__(
        self,
        xs: Float[ArrayLike, "*batch time input"],
        *,
        h0: State | None = None,
        lengths: Integer[ArrayLike, "*batch"] | None = None,
        mask: Bool[ArrayLike, "*batch time"] | None = None,
        resets: Bool[ArrayLike, "*batch time"] | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | Key | None = None,
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
            deterministic: goes before the attribute.
            rngs: goes before what the module keeps; an `nnx.Rngs`, one stream of it, or a key.

        Returns:
            `(ys, h_last)`: the outputs of the last layer and the state after the last valid step,
            [*batch, hidden] or, with `bidirectional`, `gj.Directions(forward, backward)`; of
            several layers a tuple of these, with () for each dropout between them.

        Raises:
            ValueError: if shapes or dtypes do not fit each other.
        """
        key = None
        if modules.is_random(self) and not (
            self.deterministic if deterministic is None else deterministic
        ):
            source = self.rngs if rngs is None else rngs
            if source is None:
                raise ValueError(
                    "GRU: rngs must be given in training, for the module was built with nothing "
                    "random and keeps none, got None."
                )
            source = source["dropout"] if isinstance(source, nnx.Rngs) else source
            key = source() if isinstance(source, nnx.RngStream) else source
        net, params = self._run()
        params, xs, h0 = modules.cast(self.dtype, (params, xs, h0))
        return net.apply(params, xs, h0, lengths=lengths, mask=mask, resets=resets, key=key)

    def step(
        self, x: Float[ArrayLike, "*batch input"], state: State
    ) -> tuple[Float[Array, "*batch output"], State]:
        """Runs one time step, in evaluation.

        Args:
            x: one step's input.
            state: from `initial_state`, from the step before, or an `h_last`.

        Returns:
            `(y, state)`.

        Raises:
            ValueError: with `bidirectional`, which must see the whole sequence first.
        """
        net, params = self._run()
        return net.step(*modules.cast(self.dtype, (params, x, state)))

    def initial_state(self, x_shape: Shape) -> State:
        """Returns the state before the first step; `x_shape` is one step's [*batch, input].

        With dtype=None it is of param_dtype, whatever the inputs will be.
        """
        net, params = self._run()
        return modules.cast(self.dtype, net.initial_state(params, x_shape))

    def net(self) -> Layer:
        """Returns the net that this module runs, for use without Flax."""
        return modules.make_net(self, _unbox)

    def params(self) -> Params:
        """Returns the parameters of `net()`, arrays."""
        return self._run()[1]

    def _run(self) -> tuple[Layer, Params]:
        # It calls no public method, because `nnx.tabulate` traces each of them.
        return modules.make_net(self, _unbox), modules.take_params(self, self._read())

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
        size = jax.tree.leaves(params)[0].shape[0] - self.hidden_size
        if size != self.input_size:
            raise ValueError(
                f"GRU: params must be for {self.input_size} inputs, as input_size says, "
                f"got those for {size}."
            )
        nnx.update(self, jax.tree.map(_put, named, self._read()))

    def set_view(self, deterministic: bool | None = None) -> None:
        """Called by `nnx.view`.

        Args:
            deterministic: True is evaluation, False training.
        """
        if deterministic is not None:
            self.deterministic = deterministic


class Net(nnx.Module):
    """Any gru_jax layer as a module, e.g. `Net(gj.recurrent(gj.conv_gru(32)), 3, rngs=rngs)`.

    `net.params` holds the layer's own parameters as `nnx.Param`s.

    Args:
        layer: the layer.
        input_size: the argument of `layer.init`.
        deterministic: True is evaluation; `eval()` and `train()` set it.
        rngs: "params" draws the parameters; the module keeps a fork of "dropout" if the layer is
            random.
    """

    def __init__(
        self, layer: Layer, input_size: int, *, deterministic: bool = False, rngs: nnx.Rngs
    ) -> None:
        """Draws the parameters."""
        check_kind("Net: layer must be a Layer, e.g. recurrent(cell)", layer, Layer)
        self.layer, self.deterministic = layer, deterministic
        self.params = nnx.data(jax.tree.map(nnx.Param, layer.init(rngs.params(), input_size)))
        self.rngs = rngs["dropout"].fork() if layer.random else nnx.data(None)

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
        key = None
        if self.rngs is not None and not (
            self.deterministic if deterministic is None else deterministic
        ):
            key = self.rngs()
        limits: Any = {"lengths": lengths, "mask": mask, "resets": resets}
        return self.layer.apply(self.raw_params(), xs, state, **limits, key=key)

    def raw_params(self) -> Params:
        """Returns the layer's parameters as arrays, e.g. for `layer.step` and `gj.save`."""
        return jax.tree.map(
            lambda p: p[...], self.params, is_leaf=lambda p: isinstance(p, nnx.Param)
        )


def _put(leaf: ArrayLike, old: Array) -> Array:
    """Puts an array on the devices of the old one, if that is committed to them."""
    committed = getattr(old, "committed", False)
    return jax.device_put(leaf, old.sharding) if committed else jnp.asarray(leaf)


def _unbox(boxed: Any) -> Array:
    """Returns the array without `nnx.with_metadata`'s."""
    return boxed.raw_value if isinstance(boxed, nnx.VariableMetadata) else boxed


def _box(boxed: Any, leaf: Any) -> Any:
    """Returns the leaf with the metadata of `boxed`, which `nnx.with_metadata` gave."""
    return replace(boxed, raw_value=leaf) if isinstance(boxed, nnx.VariableMetadata) else leaf
