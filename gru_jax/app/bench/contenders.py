"""The table of contenders, and how each library is set up, as its own documentation says.

`gru_jax.interop` converts the weights. Haiku computes the reset="before" form; Flax, Equinox and
PyTorch the other; gru_jax, Keras and ONNX both. Each library is imported when it is set up.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import gru_jax as gj
from gru_jax import interop
from gru_jax.app.bench import device
from gru_jax.app.bench.calls import (
    Calls,
    Unavailable,
    awaited,
    make_jax_calls,
    swap_time,
    torch_device,
)
from gru_jax.app.bench.problem import Problem, Reset


def make_gru_jax(problem: Problem, backend: str | None = None) -> Calls:
    """Sets up `unroll` over `gru`; without a backend, on a GPU with its kernel or not at all."""
    name: Any = backend or ("gpu" if device.platform() == "gpu" else "auto")

    def apply(params: gj.Params, xs: Array, resets: Array | None = None) -> Array:
        return gj.unroll(problem.cell, params, xs, resets=resets, backend=name)[0]

    return make_jax_calls(problem, lambda params: params, apply, resets=problem.resets)


def make_linen(problem: Problem) -> Calls:
    """Sets up Flax linen's `RNN(GRUCell)`."""
    convert = partial(interop.to_linen, gj.recurrent(problem.cell))
    rnn: Any = convert(problem.split(problem.params)[0])[0]
    return make_jax_calls(problem, lambda params: convert(params)[1], rnn.apply)


def make_linen_scan(problem: Problem) -> Calls:
    """Sets up the `ScannedRNN` of PureJaxRL: a Flax cell in `nn.scan`, with resets, time-major."""
    from flax import linen as nn

    class ScannedRNN(nn.Module):
        @partial(
            nn.scan,
            variable_broadcast="params",
            in_axes=0,
            out_axes=0,
            split_rngs={"params": False},
        )
        @nn.compact
        def __call__(self, h: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
            x, resets = step
            cell = nn.GRUCell(problem.hidden_size, name="cell")
            start = cell.initialize_carry(jax.random.key(0), x.shape)
            return cell(jnp.where(resets[:, None], start, h), x)

    def apply(weights: Any, xs: Array, resets: Array) -> Array:
        h0 = jnp.zeros((xs.shape[1], problem.hidden_size))
        return cast(Any, ScannedRNN().apply(weights, h0, (xs, resets)))[1]

    def convert(params: gj.GRUParams) -> Any:
        return {"params": {"cell": interop.to_linen(problem.cell, params)[1]["params"]}}

    none = np.zeros(problem.xs.shape[:-1], bool)
    resets = none if problem.resets is None else problem.resets
    return make_jax_calls(problem, convert, apply, time_major=True, resets=resets)


def make_nnx(problem: Problem) -> Calls:
    """Sets up Flax nnx's `RNN(GRUCell)`, split and merged around the compiled function."""
    from flax import nnx

    def build(params: gj.GRUParams) -> Any:  # nnx has no b_h
        params = params._replace(b_h=jnp.zeros_like(params.b_c))
        return interop.to_nnx(gj.recurrent(problem.cell), params)

    graph, _, rest = nnx.split(build(problem.split(problem.params)[0]), nnx.Param, ...)
    return make_jax_calls(
        problem,
        lambda params: nnx.state(build(params), nnx.Param),
        lambda weights, xs: nnx.merge(graph, weights, rest, copy=True)(xs),
    )


def make_equinox(problem: Problem) -> Calls:
    """Sets up Equinox's `GRUCell` in a scan over one sequence, mapped over the batch."""

    def unroll(cell: Any, xs: Array) -> Array:
        def body(h: Array, x: Array) -> tuple[Array, Array]:
            h = cell(x, h)
            return h, h

        return jax.lax.scan(body, jnp.zeros(problem.hidden_size, xs.dtype), xs)[1]

    convert = partial(interop.to_equinox, problem.cell)
    return make_jax_calls(problem, convert, jax.vmap(unroll, in_axes=(None, 0)))


def make_haiku(problem: Problem) -> Calls:
    """Sets up Haiku's `dynamic_unroll(GRU)`, time-major."""
    import haiku as hk

    def unroll(xs: Array) -> Array:
        core = hk.GRU(problem.hidden_size)
        return cast(Array, hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0])

    convert = partial(interop.to_haiku, problem.cell)
    apply = hk.without_apply_rng(hk.transform(unroll)).apply
    return make_jax_calls(problem, convert, apply, time_major=True)


def make_keras(problem: Problem) -> Calls:
    """Sets up Keras' `layers.GRU` on its JAX backend, called without state."""
    backend = os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it at its first import
    if backend != "jax":
        raise Unavailable(f"KERAS_BACKEND is {backend!r}: unset it, or make it jax")

    def build(params: gj.GRUParams) -> Any:
        return cast(Any, interop.to_keras(gj.recurrent(problem.cell), params)).layers[-1]

    layer = build(problem.split(problem.params)[0])
    constants = [variable.value for variable in layer.non_trainable_variables]
    return make_jax_calls(
        problem,
        lambda params: [variable.value for variable in build(params).trainable_variables],
        lambda weights, xs: layer.stateless_call(weights, constants, xs)[0],
    )


def make_torch(problem: Problem) -> Calls:
    """Sets up PyTorch's `nn.GRU`, batch-major; on a GPU it is cuDNN's."""
    import torch

    def build(params: gj.GRUParams) -> Any:
        return interop.to_torch(gj.recurrent(problem.cell), params)

    where = torch_device()
    # cuDNN differentiates in training mode only, and keeps more there.
    net, frozen = build(problem.params).to(where), build(problem.params).to(where).eval()
    xs, weigh = (torch.from_numpy(np.array(a)).to(where) for a in (problem.xs, problem.weigh))
    xs_train = xs.clone().requires_grad_()

    def train() -> Any:
        loss = (weigh * net(xs_train)[0]).sum()
        return loss, torch.autograd.grad(loss, [*net.parameters(), xs_train])

    def gradients(result: Any) -> tuple[list[np.ndarray], np.ndarray]:
        *grads, xs_grad = (grad.cpu().numpy() for grad in result[1])
        return grads, xs_grad

    return Calls(
        forward=awaited(torch.inference_mode()(lambda: frozen(xs)[0])),
        hs=lambda states: states.cpu().numpy(),
        weights=lambda params: [p.detach().numpy() for p in build(params).parameters()],
        train=awaited(train),
        gradients=gradients,
    )


def make_onnx(problem: Problem) -> Calls:
    """Sets up a model of one ONNX `GRU` for ONNX Runtime, time-major; it has no gradients."""
    import onnxruntime

    model = interop.to_onnx(problem.cell, problem.params, time_major=True).SerializeToString()
    run: Any = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run
    feeds = {"xs": swap_time(problem.xs)}
    return Calls(lambda: run(["ys"], feeds)[0], swap_time)


class Contender(NamedTuple):
    """A library, in each form that it computes.

    Attributes:
        resets: the forms; None is a different function, of which only the time counts.
        make: `(problem) -> Calls`.
        packages: modules that it needs, each with its name on the package index.
        platforms: where it runs; None is wherever JAX runs, for a library in JAX.
        has_resets: whether it computes problems with episodes.
    """

    resets: tuple[Reset | None, ...]
    make: Callable[[Problem], Calls]
    packages: dict[str, str]
    platforms: tuple[str, ...] | None = None
    has_resets: bool = False


OURS = "gru_jax"
BOTH: tuple[Reset, ...] = ("before", "after")
CONTENDERS = {
    OURS: Contender(BOTH, make_gru_jax, {}, has_resets=True),
    "xla": Contender(BOTH, partial(make_gru_jax, backend="xla"), {}, has_resets=True),
    "linen": Contender(("after",), make_linen, {"flax": "flax"}),
    "linen_scan": Contender(("after",), make_linen_scan, {"flax": "flax"}, has_resets=True),
    "nnx": Contender(("after",), make_nnx, {"flax": "flax"}),
    "equinox": Contender(("after",), make_equinox, {"equinox": "equinox"}),
    "haiku": Contender(("before",), make_haiku, {"haiku": "dm-haiku"}),
    "keras": Contender(BOTH, make_keras, {"keras": "keras"}),
    "torch": Contender(("after",), make_torch, {"torch": "torch"}, ("cpu", "gpu")),
    "onnx": Contender(BOTH, make_onnx, dict(onnx="onnx", onnxruntime="onnxruntime"), ("cpu",)),
}
"""Every library by name, gru_jax first. "xla" is gru_jax without its kernel. "linen_scan" is Flax
in the form that code for reinforcement learning copies."""
