"""The nets that each framework's cells can compute, and the sentence for one that they cannot.

net, params  --levels_within(TORCH, ...)-->  levels, or "reset must be ...; use Keras or ONNX."
"""

from collections.abc import Iterator
from typing import NamedTuple

from gru_jax.interop.gates import SYMMETRIC, SYMMETRY
from gru_jax.interop.kinds import GRU, LSTM, Kind
from gru_jax.interop.stack import Level, disassemble
from gru_jax.layers.layer import Layer
from gru_jax.ops.activations import ACTIVATIONS
from gru_jax.types import Cell, Params

ANY = tuple(ACTIVATIONS)
ONNX_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "elu": ("Elu", 1.0, None),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "softplus": ("Softplus", None, None),
    "softsign": ("Softsign", None, None),
    "tanh": ("Tanh", None, None),
}
"""ONNX's name, alpha and beta of each. Its attributes are float32, whatever the weights are."""


class Limits(NamedTuple):
    """The options of a framework's cells.

    Attributes:
        name: of a cell, as it stands in a sentence, with {} for the kind.
        resets: the forms of its GRU.
        activations: of its GRU's candidate, by gru_jax's names.
        gate_activations: of its GRU's gates.
        merges: how it combines two directions; empty if it has one direction alone.
        stacked: whether it can be several layers.
        reverse: whether one direction alone can run backward with outputs in input order.
        dropout: whether it can have dropout between layers.
        learned: whether it can begin at a learned initial state.
        kinds: of cells that are written for it.
    """

    name: str
    resets: tuple[str, ...] = ("after",)
    activations: tuple[str, ...] = ("tanh",)
    gate_activations: tuple[str, ...] = ("sigmoid",)
    merges: tuple[str, ...] = ("concat",)
    stacked: bool = True
    reverse: bool = False
    dropout: bool = False
    learned: bool = False
    kinds: tuple[Kind, ...] = (GRU, LSTM)

    def name_of(self, kind: Kind) -> str:
        """Returns the name of a kind of cell, e.g. "Keras' {}"."""
        return self.name.format(kind.name)


BOTH, SUM = ("before", "after"), ("concat", "sum")

KERAS = Limits("Keras' {}", BOTH, ANY, SYMMETRIC, SUM, dropout=True)
TORCH = Limits("PyTorch's {}", dropout=True)
LINEN = Limits("Flax linen's {}Cell", ("after",), ANY, SYMMETRIC, SUM, reverse=True)
NNX = LINEN._replace(name="Flax nnx's {}Cell", dropout=True)
HAIKU = Limits("Haiku's {}", ("before",), merges=())
EQUINOX = Limits("Equinox's {}Cell", merges=(), stacked=False)
ONNX = Limits(
    "ONNX's {}",
    BOTH,
    tuple(ONNX_ACTIVATIONS),
    SYMMETRIC,
    reverse=True,
    dropout=True,
    learned=True,
    kinds=(GRU,),
)
FRAMEWORKS = (KERAS, TORCH, LINEN, NNX, HAIKU, EQUINOX, ONNX)


def levels_within(limits: Limits, function: str, net: Cell | Layer, params: Params) -> list[Level]:
    """Returns the levels of a net that a framework can compute.

    Raises:
        ValueError: a sentence that says what it cannot, why, and what would work.
    """
    levels = disassemble(function, net, params)
    if len(levels) > 1 and not limits.stacked:
        raise ValueError(
            f"{function}: net must be one layer, got {len(levels)}: "
            f"{limits.name_of(levels[0].runs[0].kind)} is a single one; convert them one by one."
        )
    for level in levels:
        for reason, hint in _reasons(level, limits):
            raise ValueError(f"{function}: {reason}; {hint or _alternatives(level)}.")
    return levels


def _alternatives(level: Level) -> str:
    """Returns the frameworks that can compute a level, in words."""
    alone = level._replace(dropout=0.0)
    fit = [limits.name.split("'")[0] for limits in FRAMEWORKS if not [*_reasons(alone, limits)]]
    if not fit:
        return "interop.save keeps such a net"
    *others, last = fit
    return f"use {', '.join(others)} or {last}" if others else f"use {last}"


def _reasons(level: Level, limits: Limits) -> Iterator[tuple[str, str | None]]:
    """Yields each option that a framework lacks and why, and a hint if not another framework."""
    runs = level.runs
    name = limits.name_of(runs[0].kind)
    if level.dropout and not limits.dropout:
        needed = f"net must be without dropout, got a rate of {level.dropout}"
        hint = "the parameters are the same in a stack without it, but for its ()"
        yield f"{needed}: {name} has no place for it", hint
    if len(runs) == 2 and not limits.merges:
        hint = "convert params.forward and params.backward one by one, each with its cell"
        yield f"net must run in one direction, got two: {name} is one cell", hint
    elif len(runs) == 2 and level.merge not in limits.merges:
        why = f"{name} puts the outputs of its two directions side by side"
        yield f'merge must be "concat", got "{level.merge}": {why}', None
    for run in runs:
        if run.kind not in limits.kinds:
            known = " and ".join(f"{kind.name}s" for kind in limits.kinds)
            why = f"gru_jax does not write {limits.name_of(run.kind)}"
            yield f"net must be of {known}, got an {run.kind.name}: {why}", None
        if run.reset not in (None, *limits.resets):
            product = "the product of h with its weights"
            if run.reset == "after":
                product = "h before its product with the weights"
            why = f"in {name} r multiplies {product}, so no weights of it give this candidate"
            yield f'reset must be "{limits.resets[0]}", got "{run.reset}": {why}', None
        for option in ("activation", "gate_activation"):
            known, got = getattr(limits, f"{option}s"), getattr(run, option)
            why = f"{name} has no other"
            if known == SYMMETRIC:
                why = f"z of {name} weighs the old state, and {SYMMETRY}"
            if got not in known:
                yield f"{option} must be {' or '.join(map(repr, known))}, got {got!r}: {why}", None
        if run.clip is not None:
            why = f"{name} does not bound its states, nor does any other framework's"
            yield f"clip must be None, got {run.clip}: {why}", None
        if run.h0 is not None and not limits.learned:
            hint = "convert the cell inside with params.cell, and begin it at params.h0"
            yield f"net must begin at zeros, got a learned initial state: {name} has none", hint
    if len(runs) == 1 and runs[0].reverse and not limits.reverse:
        why = f"{name} cannot run backward alone with outputs in the order of the inputs"
        yield f"net must run forward, got reverse=True: {why}", None
