"""Other libraries' GRUs that are written in JAX, and ours, with the same weights in each.

Each is used as its own documentation says. Haiku computes the reset="before" form, Flax and Equinox
the other, Keras both; all but Haiku weigh the old state with z. A library is imported where it is
used.
"""

import os
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gru_jax.app.bench.contender import Contender, Net, Unavailable, prepare
from gru_jax.app.bench.problem import Problem, Reset
from gru_jax.cells.gru import GRUParams, gru
from gru_jax.interop.gates import join
from gru_jax.sequence.unroll import unroll


def build_ours(
    problem: Problem, reset: Reset, backend: Literal["auto", "xla"] = "auto"
) -> Contender:
    """Builds `unroll` over `gru`, as it comes or as the loop that XLA compiles."""
    cell = gru(problem.size.hidden, reset=reset)
    net = Net(
        lambda params: params,
        lambda params, xs: unroll(cell, params, xs, backend=backend)[0],
        cell.step,
    )
    return prepare(net, problem.params_of(reset), problem)


def build_linen(problem: Problem, reset: Reset) -> Contender:
    """Builds Flax linen's `RNN(GRUCell)`."""
    from flax import linen as nn

    cell = nn.GRUCell(problem.size.hidden)
    rnn = nn.RNN(cell)

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = join(params, "rzc", old=True)
        x_r, x_z, x_c = jnp.split(W_x, 3, axis=1)
        h_r, h_z, h_c = jnp.split(W_h, 3, axis=1)
        b_r, b_z, b_c = jnp.split(b, 3)
        return {
            "ir": {"kernel": x_r, "bias": b_r},
            "iz": {"kernel": x_z, "bias": b_z},
            "in": {"kernel": x_c, "bias": b_c},
            "hr": {"kernel": h_r},
            "hz": {"kernel": h_z},
            "hn": {"kernel": h_c, "bias": jnp.split(b_state, 3)[2]},
        }

    net = Net(
        convert,
        lambda weights, xs: cast(Array, rnn.apply({"params": {"cell": weights}}, xs)),
        lambda weights, x, h: cell.apply({"params": weights}, h, x)[0],
    )
    return prepare(net, problem.params_of(reset), problem)


def build_nnx(problem: Problem, reset: Reset) -> Contender:
    """Builds Flax nnx's `RNN(GRUCell)`, split and merged around the compiled function."""
    from flax import nnx

    cell = nnx.GRUCell(problem.size.input, problem.size.hidden, rngs=nnx.Rngs(0))

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, _ = join(params, "rzc", old=True)
        return {"dense_i": {"kernel": W_x, "bias": b}, "dense_h": {"kernel": W_h}}

    def merged(module: nnx.Module, weights: Any) -> Any:
        graph, state, rest = nnx.split(module, nnx.Param, ...)
        nnx.replace_by_pure_dict(state, weights)
        return nnx.merge(graph, state, rest, copy=True)

    rnn = nnx.RNN(cell)
    net = Net(
        convert,
        lambda weights, xs: merged(rnn, {"cell": weights})(xs),
        lambda weights, x, h: merged(cell, weights)(h, x)[0],
    )
    # No b_h here: it has no such bias, and so no gradient of it.
    return prepare(net, problem.params_of(reset)._replace(b_h=None), problem)


def build_equinox(problem: Problem, reset: Reset) -> Contender:
    """Builds Equinox's `GRUCell` in a scan over one sequence, mapped over the batch."""
    import equinox as eqx

    size = problem.size
    cell = eqx.nn.GRUCell(size.input, size.hidden, key=jax.random.key(0))

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = join(params, "rzc", old=True)
        weights = (W_x.T, W_h.T, b, b_state[-size.hidden :])
        return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n), cell, weights)

    def sequence(cell: Any, xs: Array) -> Array:
        def body(h: Array, x: Array) -> tuple[Array, Array]:
            h = cell(x, h)
            return h, h

        return jax.lax.scan(body, jnp.zeros(size.hidden, xs.dtype), xs)[1]

    net = Net(
        convert,
        lambda cell, xs: jax.vmap(sequence, in_axes=(None, 0))(cell, xs),
        lambda cell, x, h: jax.vmap(cell)(x, h),
    )
    return prepare(net, problem.params_of(reset), problem)


def build_haiku(problem: Problem, reset: Reset) -> Contender:
    """Builds Haiku's `dynamic_unroll(GRU)`, time-major."""
    import haiku as hk

    size = problem.size

    def run_sequence(xs: Array) -> Array:
        core = hk.GRU(size.hidden)
        return cast(Array, hk.dynamic_unroll(core, xs, core.initial_state(size.batch))[0])

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, _ = join(params, "zrc", old=False)
        return {"gru": {"w_i": W_x, "w_h": W_h, "b": b}}

    sequence = hk.without_apply_rng(hk.transform(run_sequence))
    step = hk.without_apply_rng(hk.transform(lambda x, h: hk.GRU(size.hidden)(x, h)[1]))
    net = Net(convert, sequence.apply, step.apply, time_major=True)
    return prepare(net, problem.params_of(reset), problem)


def build_keras(problem: Problem, reset: Reset) -> Contender:
    """Builds Keras' `layers.GRU` on its JAX backend, called without state."""
    # Keras reads this once, when it is imported.
    backend = os.environ.setdefault("KERAS_BACKEND", "jax")
    if backend != "jax":
        raise Unavailable(f"KERAS_BACKEND is {backend!r}: unset it, or make it jax")
    import keras

    if keras.config.backend() != "jax":
        raise Unavailable(f"Keras runs on {keras.config.backend()} already")
    size = problem.size
    after = reset == "after"
    layer = keras.layers.GRU(size.hidden, return_sequences=True, reset_after=after)
    layer.build((size.batch, size.time, size.input))
    constants = [variable.value for variable in layer.non_trainable_variables]

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = join(params, "zrc", old=True)
        return [W_x, W_h, jnp.stack([b, b_state]) if after else b]

    def step(weights: Any, x: Array, h: Array) -> Array:
        return layer.cell.stateless_call(weights, constants, x, [h])[0][0]

    net = Net(convert, lambda weights, xs: layer.stateless_call(weights, constants, xs)[0], step)
    return prepare(net, problem.params_of(reset), problem)
