"""GRUs that are not written in JAX, on the CPU, with as many threads as they take by themselves."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gru_jax.app.bench.contender import Contender, pull_back
from gru_jax.app.bench.problem import Problem, Reset
from gru_jax.cells.gru import GRUParams
from gru_jax.interop.gates import join


def build_torch(problem: Problem, reset: Reset) -> Contender:
    """Builds PyTorch's `nn.GRU`, batch-major, and `nn.GRUCell` for the single step."""
    import torch

    size, params = problem.size, problem.params_of(reset)

    def convert(params: GRUParams) -> Any:
        W_x, W_h, b, b_state = join(params, "rzc", old=True)
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

    def first_train() -> Any:
        return train(load(torch.nn.GRU(size.input, size.hidden, batch_first=True)))

    return Contender(forward, lambda hs: hs.numpy(), step, train, gradients, first_train)


def build_onnx(problem: Problem, reset: Reset) -> Contender:
    """Builds a model of one ONNX `GRU` for ONNX Runtime, time-major; no gradients."""
    import onnx
    import onnxruntime

    W_x, W_h, b, b_state = (np.array(a) for a in join(problem.params_of(reset), "zrc", old=True))
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
        run: Any = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run
        return lambda: run([output], feeds)[0]

    xs = np.ascontiguousarray(problem.xs.swapaxes(0, 1))
    return Contender(
        forward=session("Y", X=xs),
        hs=lambda states: states[:, 0].swapaxes(0, 1),
        step=session("Y_h", X=xs[:1], initial_h=problem.h[None]),
    )
