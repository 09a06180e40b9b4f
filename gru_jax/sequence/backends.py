"""The table of backends: the code that can run a recurrence, tried in order.

    "gpu"   a compiled kernel for NVIDIA's GPUs: a plain GRU of up to 512 features; by name only
    "cpu"   a compiled kernel for CPUs: a plain GRU in float32
    "scan"  all steps in parallel, for cells that are linear in the state
    "xla"   loops that XLA compiles, anywhere

To add a backend, add a row here and a folder of kernels.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gru_jax.recurrence.associative import scan_affine
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.recurrence.loop import scan_states, states
from gru_jax.recurrence.tangent import Plan
from gru_jax.sequence.options import Program, RunOptions
from gru_jax.types import Cell, Fast, Params, State


class Request(NamedTuple):
    """The properties of a run that decide which backends can run it."""

    cell: Cell
    fast: Fast
    params: Params
    time: int
    """The number of steps."""
    options: RunOptions
    training: bool
    """Whether the run has a key."""
    whole_rows: bool
    """Whether a mesh has Explicit axes that shard no rows."""


class Backend(NamedTuple):
    """One way to compute the states of a sequence.

    Attributes:
        obstacle: `(request) -> reason`, a phrase that says why it cannot run; None if it can.
        unavailable: `() -> reason`, a sentence that says why this machine lacks it; None if
            available.
        states: `(program, params, weights, xs, h0, boundaries) -> states`, with time at
            `program.time_axis`. Padded steps carry the state on.
        slower: `(request, platform) -> reason`, why "auto" leaves it alone though it can run; None
            if "auto" takes it.
        special: True if it is for few; no reason then mentions it.
        whole: True if one call runs a whole sequence, with time at any axis. False if time must be
            the first axis and long sequences run in chunks.
    """

    obstacle: Callable[[Request], str | None]
    unavailable: Callable[[], str | None]
    states: Callable[..., PyTree[Array]]
    slower: Callable[[Request, str], str | None]
    special: bool
    whole: bool


def _xla_states(
    program: Program,
    params: Params,
    weights: PyTree[Array],
    xs: Array,
    h0: State,
    boundaries: Boundaries,
) -> PyTree[Array]:
    fast, reverse, options = program.fast, program.reverse, program.options
    drive = fast.project(params, xs)
    if fast.derivative is not None:
        plan = Plan(fast, reverse, keep=options.memory == "gates", turns=options.unroll)
        return states(plan, weights, drive, h0, boundaries)
    remat = options.memory == "states"
    return scan_states(
        fast, weights, drive, h0, boundaries, reverse=reverse, turns=options.unroll, remat=remat
    )


def _kernel_states(
    kernel: str,
    program: Program,
    params: Params,
    weights: PyTree[Array],
    xs: Array,
    h0: Array,
    boundaries: Boundaries,
) -> Array:
    operator = _kernels()
    assert program.fast.gru is not None
    params = program.fast.gru(params)
    if program.options.drop_connect:
        params = operator.join(params, weights)
    # Half precision has its states, gates and sums in float32, and is rounded at the end.
    params, xs, states, boundaries = jax.tree.map(_in_float32, (params, xs, h0, boundaries))
    hs = operator.states(
        kernel,
        params,
        xs,
        states,
        boundaries,
        reverse=program.reverse,
        time_axis=program.time_axis,
        clip=program.fast.clip,
        required=program.required,
    )
    return hs.astype(h0.dtype)


def _in_float32(a: Array) -> Array:
    return a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a


def _kernel_obstacle(request: Request, *dtypes: str) -> str | None:
    cell, fast, params, _, options, training, whole_rows = request
    if fast.gru is None:
        return _kind(cell)
    if options.derivative != "rule":
        return f'derivative="{options.derivative}"'
    if options.zoneout:
        return "zoneout"
    if options.recurrent_dropout and training:
        return "recurrent_dropout"
    if whole_rows:
        return "rows that no Explicit axis of the mesh shards"
    dtype = jax.tree.leaves(params)[0].dtype
    return None if dtype.name in dtypes else f"{dtype} parameters"


def _cpu_obstacle(request: Request) -> str | None:
    return _kernel_obstacle(request, "float32")


GPU_HIDDEN = 512
"""The largest state size of the GPU kernel."""


def _gpu_obstacle(request: Request) -> str | None:
    if obstacle := _kernel_obstacle(request, "float32", "bfloat16"):
        return obstacle
    assert request.fast.gru is not None
    hidden = request.fast.gru(request.params).b_r.shape[0]
    return None if hidden <= GPU_HIDDEN else f"a hidden_size above {GPU_HIDDEN}"


def _kind(cell: Cell) -> str:
    """Describes a cell that is not a plain GRU."""
    kind = cell.architecture
    while kind and kind.builder == "learned_initial_state":
        (kind,) = kind.parts
    if kind and kind.builder != "gru":
        return f"a {kind.builder}"
    plain = {"activation": "tanh", "gate_activation": "sigmoid"}
    others = [f"{n}={v!r}" for n, v in kind.options if v != plain.get(n, v)] if kind else []
    return f"a gru with {', '.join(others)}" if others else "a cell with functions of its own"


def _slower_than_xla(_: Request, platform: str) -> str | None:
    return None if platform == "cpu" else f"programs on {platform}"


def _not_measured(*_: Any) -> str:
    return "the GPU kernel runs by name only, until a GPU has measured it"


LONG = 128
"""Steps from which "auto" scans in parallel on accelerators, where each step of a loop costs a
launch. Chosen by arithmetic, not measured."""


def _slower_than_loops(request: Request, platform: str) -> str | None:
    if platform == "cpu":
        return "programs on cpu"
    return None if request.time >= LONG else f"fewer than {LONG} steps"


def _scan_obstacle(request: Request) -> str | None:
    if request.fast.affine is None:
        return "a cell that is not linear in its state"
    return None if isinstance(request.time, int) else "a symbolic number of steps"


def _scan_states(
    program: Program,
    params: Params,
    weights: PyTree[Array],
    xs: Array,
    h0: Array,
    boundaries: Boundaries,
) -> Array:
    fast = program.fast
    assert fast.affine is not None
    a, b = fast.affine(weights, fast.project(params, xs))
    return scan_affine(a, b, h0, boundaries, reverse=program.reverse, time_axis=program.time_axis)


def _nothing(*_: Any) -> None:
    return None


@cache
def _kernels() -> Any:
    """Returns the module that runs the compiled kernel; it needs JAX's internals."""
    from gru_jax.kernels import operator

    return operator


def _kernel_unavailable(kernel: str) -> str | None:
    try:
        return _kernels().reason(kernel)
    except Exception as error:  # Any error: this JAX may lack the internals.
        return f"gru_jax's native kernels cannot be used with this JAX: {error!r}."


BACKENDS: dict[str, Backend] = {
    "gpu": Backend(
        _gpu_obstacle,
        partial(_kernel_unavailable, "gpu"),
        partial(_kernel_states, "gpu"),
        _not_measured,
        special=True,
        whole=True,
    ),
    "cpu": Backend(
        _cpu_obstacle,
        partial(_kernel_unavailable, "cpu"),
        partial(_kernel_states, "cpu"),
        _slower_than_xla,
        special=False,
        whole=True,
    ),
    "scan": Backend(
        _scan_obstacle, _nothing, _scan_states, _slower_than_loops, special=True, whole=True
    ),
    "xla": Backend(_nothing, _nothing, _xla_states, _nothing, special=False, whole=False),
}
