"""To ONNX: net, params -> levels -> a model of `GRU` nodes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from gru_jax import files
from gru_jax.interop.gates import join
from gru_jax.interop.limits import ONNX, ONNX_ACTIVATIONS, levels_within
from gru_jax.interop.onnx.constants import LARGEST
from gru_jax.interop.stack import Level
from gru_jax.layers.layer import Layer
from gru_jax.types import Cell, Params

if TYPE_CHECKING:
    import onnx


def to_onnx(
    net: Cell | Layer,
    params: Params,
    *,
    lengths: bool = False,
    initial_state: bool = False,
    time_major: bool = False,
) -> "onnx.ModelProto":
    """Returns a net as an ONNX model, with batch and time left open.

    It computes `ys` [batch, time, features] and `h_last_0`, `h_last_1`, ... [batch, hidden] from
    `xs` [batch, time, input]: what `apply` returns, with the state's arrays in the order of
    `jax.tree.leaves`. A cell is run from the first step to the last. Dropout is left out.
    ONNX Runtime runs float32 and float16; float64 is ONNX's, too, but not for all that run it. Its
    attributes are float32 all the same: the slope of `hard_sigmoid`, 1/6, is off by 3e-8 of itself.
    More than 2 GiB go to a file with `onnx.save(..., save_as_external_data=True)` alone.

    Args:
        net: GRUs in `recurrent`, `bidirectional` and `stack`, or a cell.
        params: its parameters.
        lengths: whether there is an input `lengths` [batch], int32. The state of a row of length 0
            is zeros in ONNX Runtime.
        initial_state: whether there are inputs `h0_0`, `h0_1`, ... [batch, hidden], in the order of
            `h_last`; a learned initial state is left out then.
        time_major: whether `xs` and `ys` have the time first.

    Raises:
        ValueError: if ONNX's GRU cannot compute this net, and why.
    """
    import onnx
    from onnx import helper

    levels = levels_within(ONNX, "to_onnx", net, params)
    dtype = levels[0].runs[0].dtype
    if dtype == "bfloat16":
        raise ValueError(
            "to_onnx: params must be float16, float32 or float64, got bfloat16, which no runtime "
            "has a GRU for: cast them."
        )
    graph = _Graph([], {})
    x = "xs" if time_major else graph.add("Transpose", ["xs"], "xs_by_time", perm=[1, 0, 2])
    sizes: list[int] = []
    for number, level in enumerate(levels):
        last = number == len(levels) - 1
        ys = "ys" if last and time_major else f"gru_{number}.ys"
        states = range(len(sizes), len(sizes) + len(level.runs))
        _add_level(graph, f"gru_{number}", level, x, ys, states, lengths, initial_state)
        sizes += [run.hidden_size for run in level.runs]
        x = ys
    if not time_major:
        graph.add("Transpose", [x], "ys", perm=[1, 0, 2])

    kind = helper.np_dtype_to_tensor_dtype(dtype)

    def info(name: str, *shape: str | int, kind: int = kind) -> "onnx.ValueInfoProto":
        return helper.make_tensor_value_info(name, kind, shape)

    outer = ("time", "batch") if time_major else ("batch", "time")
    inputs = [info("xs", *outer, levels[0].runs[0].input_size)]
    inputs += [info("lengths", "batch", kind=onnx.TensorProto.INT32)] if lengths else []
    inputs += [info(f"h0_{k}", "batch", n) for k, n in enumerate(sizes) if initial_state]
    outputs = [info("ys", *outer, sum(run.hidden_size for run in levels[-1].runs))]
    outputs += [info(f"h_last_{k}", "batch", n) for k, n in enumerate(sizes)]
    tensors = [onnx.numpy_helper.from_array(a, key) for key, a in graph.constants.items()]
    # Of 2022, so that old runtimes read it, too.
    return helper.make_model(
        helper.make_graph(graph.nodes, "gru_jax", inputs, outputs, tensors),
        producer_name="gru_jax",
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def write_onnx(path: Path, net: Cell | Layer, params: Params) -> None:
    """Writes a net as an ONNX model in one file, atomically."""
    size = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(params))
    most = LARGEST - 2**24  # leaves room for the second biases and the names
    if size > most:
        raise ValueError(
            f"write: params must be {most} bytes or fewer, got {size}: protobuf holds no more; "
            "onnx.save(interop.to_onnx(net, params), path, save_as_external_data=True) puts them "
            "beside the model."
        )
    model = to_onnx(net, params).SerializeToString()
    files.write(path, lambda beside: beside.write_bytes(model))


class _Graph(NamedTuple):
    """The nodes of a model, and the constants that they read."""

    nodes: list["onnx.NodeProto"]
    constants: dict[str, np.ndarray]

    def add(self, op: str, inputs: list[str], *outputs: str, **options: Any) -> str:
        """Appends a node, named as its first output, which is returned."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, outputs[0], **options))
        return outputs[0]


def _add_level(
    graph: _Graph,
    name: str,
    level: Level,
    x: str,
    ys: str,
    states: range,
    lengths: bool,
    initial_state: bool,
) -> None:
    """Appends a GRU from `x` to `ys`, time-major, and numbers its states."""
    runs = level.runs
    if len({(run.hidden_size, run.reset) for run in runs}) > 1:
        got = " and ".join(f'{run.hidden_size} with "{run.reset}"' for run in runs)
        raise ValueError(
            "to_onnx: net must have one hidden size and one reset in both directions, got "
            f"{got}: ONNX's GRU has one for both; convert them one by one."
        )
    hidden = runs[0].hidden_size
    gates = zip(*(join(run.params, "zrc", old=True) for run in runs), strict=True)
    W, R, b_x, b_h = (np.stack([np.asarray(a).T for a in arrays]) for arrays in gates)
    constants = graph.constants
    constants |= {f"{name}.W": W, f"{name}.R": R, f"{name}.B": np.concatenate([b_x, b_h], 1)}
    constants[f"{name}.sizes"] = np.array([0, 0, hidden * len(runs)])
    h0 = ""
    if initial_state:
        constants["[0]"] = np.array([0])
        each = [graph.add("Unsqueeze", [f"h0_{k}", "[0]"], f"{name}.h0_{k}") for k in states]
        h0 = graph.add("Concat", each, f"{name}.h0", axis=0)
    elif any(run.h0 is not None for run in runs):
        zeros = np.zeros(hidden, W.dtype)
        each = [zeros if run.h0 is None else np.asarray(run.h0) for run in runs]
        constants |= {f"{name}.each_h0": np.stack(each)[:, None], "[1]": np.array([1])}
        batch = graph.add("Shape", [x], f"{name}.batch", start=1, end=2)
        shape = graph.add("Concat", ["[1]", batch, "[1]"], f"{name}.h0_shape", axis=0)
        h0 = graph.add("Expand", [f"{name}.each_h0", shape], f"{name}.h0")
    direction = "reverse" if runs[0].reverse else "forward"
    used = [ONNX_ACTIVATIONS[f] for run in runs for f in (run.gate_activation, run.activation)]
    functions, alphas, betas = zip(*used, strict=True)
    graph.add(
        "GRU",
        [x, f"{name}.W", f"{name}.R", f"{name}.B", "lengths" if lengths else "", h0],
        name,
        f"{name}.h_last",
        hidden_size=hidden,
        linear_before_reset=int(runs[0].reset == "after"),
        direction="bidirectional" if len(runs) == 2 else direction,
        activations=functions,
        activation_alpha=[n for n in alphas if n is not None] or None,
        activation_beta=[n for n in betas if n is not None] or None,
    )
    for d, number in enumerate(states):
        constants[str(d)] = np.array(d)
        graph.add("Gather", [f"{name}.h_last", str(d)], f"h_last_{number}", axis=0)
    by_step = graph.add("Transpose", [name], f"{name}.by_step", perm=[0, 2, 1, 3])
    graph.add("Reshape", [by_step, f"{name}.sizes"], ys)
