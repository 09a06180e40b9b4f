"""The parameters of the block-diagonal GRU: their shapes, their initial values and their checks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.cells.params import check_leaf
from gru_jax.ops.checks import check_count, check_kind
from gru_jax.ops.initializers import draw
from gru_jax.types import Initializer, Input, Key, Shape, exportable


@exportable
class BlockLayer(NamedTuple):
    """Weights of each block, bias and gain; `rows` is 2 * units + block in the first layer."""

    W: Float[Array, "blocks rows block"]
    b: Float[Array, " hidden"]
    g: Float[Array, " hidden"]


@exportable
class BlockGRUParams(NamedTuple):
    """Weights, biases and gains of both maps, of the hidden layers, and of the gates."""

    W_x: Float[Array, "input units"]
    b_x: Float[Array, " units"]
    g_x: Float[Array, " units"]
    W_h: Float[Array, "hidden units"]
    b_h: Float[Array, " units"]
    g_h: Float[Array, " units"]
    layers: tuple[BlockLayer, ...]
    W_r: Float[Array, "blocks block block"]
    b_r: Float[Array, " hidden"]
    W_z: Float[Array, "blocks block block"]
    b_z: Float[Array, " hidden"]
    W_c: Float[Array, "blocks block block"]
    b_c: Float[Array, " hidden"]


class Sizes(NamedTuple):
    """The sizes of a cell, except for its input's."""

    hidden: int
    blocks: int
    units: int
    layers: int


def shapes(sizes: Sizes, dtype: jax.typing.DTypeLike, input_size: int) -> BlockGRUParams:
    """Returns the parameters' shapes, as placeholders for the arrays."""
    hidden, blocks, units, layers = sizes
    block = hidden // blocks

    def shape(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype)

    def layer(rows: int) -> BlockLayer:
        return BlockLayer(shape(blocks, rows, block), shape(hidden), shape(hidden))

    return BlockGRUParams(
        *(shape(input_size, units), shape(units), shape(units)),
        *(shape(hidden, units), shape(units), shape(units)),
        (layer(2 * units + block), *[layer(block)] * (layers - 1)),
        *(shape(blocks, block, block), shape(hidden)) * 3,
    )


def init_params(
    sizes: Sizes,
    dtype: jax.typing.DTypeLike,
    update_bias: float,
    initializers: tuple[Initializer, Initializer, Initializer],
    key: Key,
    input_size: int,
) -> BlockGRUParams:
    """Returns the initial parameters; `initializers` has one each for W, b and g."""
    check_count("block_gru", "input_size", input_size)
    needed, structure = jax.tree.flatten_with_path(shapes(sizes, dtype, input_size))
    by_letter = dict(zip("Wbg", initializers, strict=True))
    leaves = [
        draw(by_letter[path[-1].name[0]], key, leaf.shape, dtype)
        for key, (path, leaf) in zip(jax.random.split(key, len(needed)), needed, strict=True)
    ]
    params = jax.tree.unflatten(structure, leaves)
    return params._replace(b_z=params.b_z + update_bias)


def check_params(sizes: Sizes, params: BlockGRUParams) -> Input:
    """Returns one step's `Input`; raises unless the parameters fit each other and the cell."""
    check_kind("block_gru: params must be BlockGRUParams", params, BlockGRUParams)
    check_kind("block_gru: params.layers must be a tuple of BlockLayer", params.layers, tuple)
    for layer in params.layers:
        check_kind("block_gru: params.layers must be a tuple of BlockLayer", layer, BlockLayer)
    if params.W_x is None:
        raise ValueError("block_gru: params.W_x must be an array, got None.")
    W_x, count = params.W_x, len(params.layers)
    if W_x.shape[1:] != (sizes.units,):
        raise ValueError(
            f"block_gru: params.W_x must be [input, {sizes.units}] to match the cell, "
            f"got {W_x.shape}."
        )
    if count != sizes.layers:
        raise ValueError(
            f"block_gru: params.layers must have length {sizes.layers} to match the cell, "
            f"got {count}."
        )
    needed = jax.tree.leaves_with_path(shapes(sizes, W_x.dtype, W_x.shape[0]))
    leaves = jax.tree.leaves(params, is_leaf=lambda leaf: leaf is None)
    for (path, like), leaf in zip(needed, leaves, strict=True):
        name = f"params{jax.tree_util.keystr(path)}"
        if leaf is None:
            raise ValueError(f"block_gru: {name} must be an array, got None.")
        check_leaf("block_gru", name, leaf, like.shape, "params.W_x", W_x)
    return Input((W_x.shape[0],))


def initial_state(params: BlockGRUParams, x_shape: Shape) -> Float[Array, "*batch hidden"]:
    """Returns zeros, the state before the first step."""
    return jnp.zeros((*x_shape[:-1], params.W_h.shape[0]), params.W_h.dtype)
