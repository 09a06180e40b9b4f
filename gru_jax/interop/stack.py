"""A plain stack of GRUs and LSTMs, the hub between gru_jax and every framework.

net, params  --disassemble-->  levels  --(gates.join)-->  their arrays
net, params  <---assemble----  levels  <--(gates.part)--  their arrays
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from gru_jax.architecture import Architecture
from gru_jax.cells.gru import gru
from gru_jax.cells.gru_params import GRUParams, check_params
from gru_jax.cells.learned_initial_state import LearnedInitialStateParams, learned_initial_state
from gru_jax.cells.lstm import lstm
from gru_jax.interop.arrays import check_dtypes, floats
from gru_jax.interop.kinds import GRU, KINDS, CellParams, Kind
from gru_jax.layers.combine import stack
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import dropout
from gru_jax.layers.recurrent import Directions, bidirectional, recurrent
from gru_jax.types import ArrayLike, Cell, Params


class Run(NamedTuple):
    """One cell in one direction.

    Attributes:
        params: its parameters.
        activation: of the candidate, by name.
        gate_activation: of the gates, by name.
        clip: of the state, as in `gru`.
        h0: a learned initial state.
        reverse: whether it runs from the last step to the first.
    """

    params: CellParams
    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    clip: float | None = None
    h0: PyTree[Float[Array, " hidden"]] | None = None
    reverse: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of cell."""
        return next(kind for kind in KINDS.values() if isinstance(self.params, kind.params))

    @property
    def reset(self) -> Literal["before", "after"] | None:
        """Where the reset gate acts; None for an LSTM."""
        if not isinstance(self.params, GRUParams):
            return None
        return "before" if self.params.b_h is None else "after"

    @property
    def hidden_size(self) -> int:
        """Features of the state."""
        return self.params[0].shape[1]

    @property
    def input_size(self) -> int:
        """Features of one step's input."""
        return self.params[0].shape[0] - self.hidden_size

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the parameters."""
        return self.params[0].dtype


class Level(NamedTuple):
    """What other frameworks call a layer: a cell in one direction, or one in each.

    Attributes:
        runs: one, or two: forward and backward.
        merge: how the outputs of two are put together, as in `bidirectional`.
        dropout: the rate of dropout behind it.
    """

    runs: tuple[Run, ...]
    merge: Literal["concat", "sum"] = "concat"
    dropout: float = 0.0


def assemble(function: str, levels: Sequence[Level]) -> tuple[Layer, Params]:
    """Returns the net of these levels and its parameters: a layer, or a stack of several.

    Raises:
        ValueError: if arrays have several dtypes, or a level does not fit the one before.
    """
    check_dtypes(function, [[run.params for run in level.runs] for level in levels])
    parts: list[tuple[Layer, Params]] = []
    size = None
    for number, level in enumerate(levels):
        for run in level.runs:
            if run.input_size != (size or run.input_size):
                raise ValueError(
                    f"{function}: weights of layer {number} must be for {size} inputs, the outputs "
                    f"of the layer before, got {run.input_size}."
                )
        sizes = [run.hidden_size for run in level.runs]
        size = sum(sizes) if level.merge == "concat" else sizes[0]
        cells, cell_params = zip(*map(assemble_cell, level.runs), strict=True)
        if len(cells) == 2:
            parts.append((bidirectional(*cells, merge=level.merge), Directions(*cell_params)))
        else:
            layer = recurrent(cells[0], reverse=level.runs[0].reverse)
            parts.append((layer, cell_params[0]))
        if level.dropout:
            parts.append((dropout(level.dropout), ()))
    layers, params = zip(*parts, strict=True)
    return parts[0] if len(parts) == 1 else (stack(*layers), params)


def assemble_cell(run: Run) -> tuple[Cell, Params]:
    """Returns the cell of one direction and its parameters."""
    if run.reset is None:
        return lstm(run.hidden_size, dtype=run.dtype), run.params
    cell = gru(
        run.hidden_size,
        reset=run.reset,
        activation=run.activation,
        gate_activation=run.gate_activation,
        clip=run.clip,
        dtype=run.dtype,
    )
    if run.h0 is None:
        return cell, run.params
    return learned_initial_state(cell), LearnedInitialStateParams(run.params, run.h0)


def disassemble(function: str, net: Cell | Layer, params: Params) -> list[Level]:
    """Returns the levels of a net; undoes `assemble`.

    Raises:
        ValueError: if it is more than GRUs and LSTMs in `recurrent`, `bidirectional` and `stack`
            with dropout between them, or the parameters are not its own.
    """
    if not isinstance(net, Cell | Layer):
        raise ValueError(
            f"{function}: net must be a Cell or a Layer, e.g. gru(64), got a {type(net).__name__}."
        )
    if net.architecture is None:
        raise ValueError(
            f"{function}: net must be built by gru_jax with activations given by name, got one "
            "that holds a function of its own."
        )
    levels: list[Level] = []
    for entry, entry_params in _flat(function, net.architecture, params):
        options = dict(entry.options)
        if entry.builder == "dropout":
            if not levels or levels[-1].dropout or options["per_sequence"]:
                raise ValueError(
                    f"{function}: net must have dropout behind a recurrent layer alone, one, and "
                    "not per_sequence, which no other framework has: leave it out of the stack."
                )
            levels[-1] = levels[-1]._replace(dropout=options["rate"])
        else:
            levels.append(_take_level(function, entry, options, entry_params))
    if not levels:
        raise ValueError(f"{function}: net must have a recurrent layer, got none.")
    check_dtypes(function, [[(run.params, run.h0) for run in level.runs] for level in levels])
    return levels


def _flat(
    function: str, entry: Architecture, params: Params
) -> Iterator[tuple[Architecture, Params]]:
    if entry.builder != "stack":
        yield entry, params
        return
    if not isinstance(params, tuple) or len(params) != len(entry.parts):
        raise ValueError(
            f"{function}: params must be a tuple of {len(entry.parts)}, one entry a layer of the "
            f"stack, got {jax.tree.structure(params)}."
        )
    for part, part_params in zip(entry.parts, params, strict=True):
        yield from _flat(function, part, part_params)


def _take_level(
    function: str, entry: Architecture, options: dict[str, Any], params: Params
) -> Level:
    for name in ("zoneout", "recurrent_dropout", "drop_connect"):
        if options.get(name):
            raise ValueError(
                f"{function}: net must be without {name}, got {options[name]}: no other framework "
                "has it as it is here; the parameters are the same in a net built without it."
            )
    if entry.builder == "bidirectional":
        _check_kind(function, params, Directions)
        ahead, back = map(_take_run, [function] * 2, entry.parts, params)
        return Level((ahead, back._replace(reverse=True)), options["merge"])
    if entry.builder == "recurrent":
        run = _take_run(function, entry.parts[0], params)
        return Level((run._replace(reverse=options["reverse"]),))
    return Level((_take_run(function, entry, params),))


def _take_run(function: str, entry: Architecture, params: Params) -> Run:
    if entry.builder == "learned_initial_state":
        _check_kind(function, params, LearnedInitialStateParams)
        run = _take_run(function, entry.parts[0], params.cell)
        h0 = params.h0  # No framework takes an LSTM's.
        if run.kind is GRU:
            h0 = floats(function, "params.h0", h0, (run.hidden_size,))
        return run._replace(h0=h0)
    kind = KINDS.get(entry.builder)
    if kind is None:
        raise ValueError(
            f"{function}: net must be of GRUs and LSTMs in recurrent, bidirectional and stack, got "
            f"{entry.builder}: convert the recurrent layers by themselves, each with its part of "
            "the parameters, or keep the whole with interop.save."
        )
    options = dict(entry.options)
    _check_kind(function, params, kind.params)
    leaves = {
        name: leaf for name, leaf in params._asdict().items() if name != "b_h" or leaf is not None
    }
    params = make_params(function, kind, leaves, options["hidden_size"], place="params.")
    if kind is not GRU:
        return Run(params)
    check_params(function, GRUParams, options["hidden_size"], options["reset"], params)
    return Run(params, options["activation"], options["gate_activation"], options["clip"])


def make_params(
    function: str, kind: Kind, leaves: Mapping[str, ArrayLike], hidden: int, *, place: str = ""
) -> CellParams:
    """Returns the parameters of a cell from its arrays by name, which follow `place` in an error.

    Raises:
        ValueError: if an array has another shape, or holds no floating-point numbers.
    """
    joint = max((hidden + 1, *np.shape(leaves[kind.params._fields[0]])[:1]))
    shapes = {"W": (joint, hidden), "b": (hidden,)}
    return kind.params(
        **{name: floats(function, place + name, a, shapes[name[0]]) for name, a in leaves.items()}
    )


def _check_kind(function: str, params: Params, kind: type) -> None:
    if not isinstance(params, kind):
        got = type(params).__name__
        raise ValueError(f"{function}: params must be {kind.__name__}, got a {got}.")
