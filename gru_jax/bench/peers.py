"""Other libraries' GRUs, each used as its own documentation says, with our weights in it.

Haiku computes the reset="before" form; Flax, Equinox and PyTorch the other; Keras and ONNX both.
All but Haiku weigh the old state with z. A library is imported where it is used.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gru_jax.bench.contender import Contender, Net, pack, prepare, pull_back
from gru_jax.bench.problem import Problem, Reset
from gru_jax.cells.gru import GRUParams, gru
from gru_jax.sequence import unroll

PeerName: TypeAlias = Literal["linen", "nnx", "equinox", "haiku", "keras", "torch", "onnx"]


class Peer(NamedTuple):
    """A library.

    Attributes:
        package: its name on the package index.
        module: its name in Python.
        resets: the forms that it computes.
        build: `(problem, reset) -> Contender`.
        in_jax: whether it is written in JAX.
    """

    package: str
    module: str
    resets: tuple[Reset, ...]
    build: Callable[[Problem, Reset], Contender]
    in_jax: bool = True


def build_ours(problem: Problem, reset: Reset) -> Contender:
    """Builds `unroll` over `gru`."""
    cell = gru(problem.size.hidden, reset=reset)
    net = Net(lambda params: params, lambda params, xs: unroll(cell, params, xs)[0], cell.step)
    return prepare(net, problem.params_of(reset), problem)


def build_linen(problem: Problem, reset: Reset) -> Contender:
    """Builds Flax linen's `RNN(GRUCell)`."""
    from flax import linen as nn

    cell = nn.GRUCell(problem.size.hidden)
    rnn = nn.RNN(cell)

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = pack(params, "rzc", old=True)
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
        lambda weights, xs: rnn.apply({"params": {"cell": weights}}, xs),
        lambda weights, x, h: cell.apply({"params": weights}, h, x)[0],
    )
    return prepare(net, problem.params_of(reset), problem)


def build_nnx(problem: Problem, reset: Reset) -> Contender:
    """Builds Flax nnx's `RNN(GRUCell)`, split and merged around the compiled function."""
    from flax import nnx

    cell = nnx.GRUCell(problem.size.input, problem.size.hidden, rngs=nnx.Rngs(0))

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, _ = pack(params, "rzc", old=True)
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
        W_x, W_h, b, b_state = pack(params, "rzc", old=True)
        weights = (W_x.T, W_h.T, b, b_state[-size.hidden :])
        return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n), cell, weights)

    def sequence(cell: Any, xs: Array) -> Array:
        def body(h: Array, x: Array) -> tuple[Array, Array]:
            h = cell(x, h)
            return h, h

        return jax.lax.scan(body, jnp.zeros(size.hidden), xs)[1]

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
        return hk.dynamic_unroll(core, xs, core.initial_state(size.batch))[0]

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, _ = pack(params, "zrc", old=False)
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
        raise RuntimeError(f"KERAS_BACKEND is {backend!r}; unset it, or make it jax")
    import keras

    size = problem.size
    after = reset == "after"
    layer = keras.layers.GRU(size.hidden, return_sequences=True, reset_after=after)
    layer.build((size.batch, size.time, size.input))
    constants = [variable.value for variable in layer.non_trainable_variables]

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = pack(params, "zrc", old=True)
        return [W_x, W_h, jnp.stack([b, b_state]) if after else b]

    def step(weights: Any, x: Array, h: Array) -> Array:
        return layer.cell.stateless_call(weights, constants, x, [h])[0][0]

    net = Net(convert, lambda weights, xs: layer.stateless_call(weights, constants, xs)[0], step)
    return prepare(net, problem.params_of(reset), problem)


def build_torch(problem: Problem, reset: Reset) -> Contender:
    """Builds PyTorch's `nn.GRU` on the CPU, with as many threads as it takes by itself."""
    torch: Any = importlib.import_module("torch")  # in no extra, so not there for type checkers
    size, params = problem.size, problem.params_of(reset)

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = pack(params, "rzc", old=True)
        return [W_x.T, W_h.T, b, b_state]

    weights = [torch.from_numpy(np.array(value)) for value in convert(params)]

    def load(module: Any) -> Any:
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), weights, strict=True):
                parameter.copy_(value)
        return module

    net = load(torch.nn.GRU(size.input, size.hidden, batch_first=True))
    cell = load(torch.nn.GRUCell(size.input, size.hidden))
    xs, weigh, x, h = (
        torch.from_numpy(np.array(a))
        for a in (problem.xs, problem.weigh, problem.xs[:, 0], problem.h)
    )
    xs_train = xs.clone().requires_grad_()

    def forward() -> Any:
        with torch.inference_mode():
            return net(xs)[0]

    def step() -> Any:
        with torch.inference_mode():
            return cell(x, h)

    def train(net: Any = net) -> Any:
        loss = (weigh * net(xs_train)[0]).sum()
        return loss, torch.autograd.grad(loss, [*net.parameters(), xs_train])

    def gradients(result: Any) -> tuple[GRUParams, np.ndarray]:
        *grads, xs_grad = (jnp.asarray(grad.numpy()) for grad in result[1])
        return pull_back(convert, params, grads), np.asarray(xs_grad)

    def fresh() -> Callable[[], Any]:
        return lambda: train(load(torch.nn.GRU(size.input, size.hidden, batch_first=True)))

    return Contender(forward, lambda hs: hs.numpy(), step, train, gradients, fresh)


def build_onnx(problem: Problem, reset: Reset) -> Contender:
    """Builds a model of one ONNX `GRU` for ONNX Runtime on the CPU, time-major; no gradients."""
    import onnx
    import onnxruntime

    W_x, W_h, b, b_state = (np.array(a) for a in pack(problem.params_of(reset), "zrc", old=True))
    weights = {"W": W_x.T[None], "R": W_h.T[None], "B": np.concatenate([b, b_state])[None]}

    def session(output: str, **feeds: np.ndarray) -> Callable[[], np.ndarray]:
        names = ["X", *weights, "", "initial_h" if "initial_h" in feeds else ""]
        node = onnx.helper.make_node(
            "GRU",
            names,
            ["Y", "Y_h"] if output == "Y_h" else ["Y"],
            hidden_size=problem.size.hidden,
            linear_before_reset=int(reset == "after"),
        )
        number = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            [node],
            "gru",
            [onnx.helper.make_tensor_value_info(k, number, v.shape) for k, v in feeds.items()],
            [onnx.helper.make_tensor_value_info(output, number, None)],
            [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
        )
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10
        )
        run = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run
        return lambda: run([output], feeds)[0]

    xs = np.ascontiguousarray(problem.xs.swapaxes(0, 1))
    return Contender(
        forward=session("Y", X=xs),
        hs=lambda states: states[:, 0].swapaxes(0, 1),
        step=session("Y_h", X=xs[:1], initial_h=problem.h[None]),
    )


BOTH: tuple[Reset, ...] = ("before", "after")
OURS = "gru_jax"
PEERS = {
    OURS: Peer("gru_jax", "gru_jax", BOTH, build_ours),
    "linen": Peer("flax", "flax", ("after",), build_linen),
    "nnx": Peer("flax", "flax", ("after",), build_nnx),
    "equinox": Peer("equinox", "equinox", ("after",), build_equinox),
    "haiku": Peer("dm-haiku", "haiku", ("before",), build_haiku),
    "keras": Peer("keras", "keras", BOTH, build_keras),
    "torch": Peer("torch", "torch", ("after",), build_torch, in_jax=False),
    "onnx": Peer("onnxruntime", "onnxruntime", BOTH, build_onnx, in_jax=False),
}
"""Ours first; the rest in the order of the tables."""
