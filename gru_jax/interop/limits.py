"""The nets that each framework's GRU can compute, and the sentence for one that it cannot.

net, params  --levels_within(TORCH, ...)-->  levels, or "reset must be ...; use Keras or ONNX."
"""

from collections.abc import Iterator
from typing import NamedTuple

from gru_jax.interop.gates import SYMMETRIC
from gru_jax.interop.stack import Level, Run, disassemble
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
    """The options of a framework's GRU.

    Attributes:
        name: of the framework's GRU, as it stands in a sentence.
        resets: its forms.
        activations: of its candidate, by gru_jax's names.
        gate_activations: of its gates.
        stacked: whether it can be several layers.
        merges: how it combines two directions; empty if it has one direction alone.
        reverse: whether one direction alone can run backward with outputs in input order.
        dropout: whether it can have dropout between layers.
        learned: whether it can begin at a learned initial state.
    """

    name: str
    resets: tuple[str, ...] = ("after",)
    activations: tuple[str, ...] = ("tanh",)
    gate_activations: tuple[str, ...] = ("sigmoid",)
    stacked: bool = False
    merges: tuple[str, ...] = ()
    reverse: bool = False
    dropout: bool = False
    learned: bool = False


KERAS = Limits(
    "Keras' GRU",
    resets=("before", "after"),
    activations=ANY,
    gate_activations=SYMMETRIC,
    stacked=True,
    merges=("concat", "sum"),
    dropout=True,
)
TORCH = Limits("PyTorch's GRU", stacked=True, merges=("concat",), dropout=True)
LINEN = Limits(
    "Flax linen's GRUCell",
    activations=ANY,
    gate_activations=SYMMETRIC,
    stacked=True,
    merges=("concat", "sum"),
    reverse=True,
)
NNX = LINEN._replace(name="Flax nnx's GRUCell", dropout=True)
HAIKU = Limits("Haiku's GRU", resets=("before",), stacked=True)
EQUINOX = Limits("Equinox's GRUCell")
ONNX = Limits(
    "ONNX's GRU",
    resets=("before", "after"),
    activations=tuple(ONNX_ACTIVATIONS),
    gate_activations=SYMMETRIC,
    stacked=True,
    merges=("concat",),
    reverse=True,
    dropout=True,
    learned=True,
)


def levels_within(limits: Limits, function: str, net: Cell | Layer, params: Params) -> list[Level]:
    """Returns the levels of a net that a framework can compute.

    Raises:
        ValueError: a sentence that says what it cannot, why, and what would work.
    """
    levels = disassemble(function, net, params)
    if len(levels) > 1 and not limits.stacked:
        raise ValueError(
            f"{function}: net must be one layer, got {len(levels)}: {limits.name} is a single one; "
            "convert them one by one."
        )
    for level in levels:
        for reason, hint in _reasons(level, limits):
            raise ValueError(f"{function}: {reason}; {hint or _alternatives(level)}.")
    return levels


def _alternatives(level: Level) -> str:
    """Returns the frameworks that can compute a level, in words."""
    frameworks = (KERAS, TORCH, LINEN, NNX, HAIKU, EQUINOX, ONNX)
    alone = level._replace(dropout=0.0)
    fit = [limits.name.split("'")[0] for limits in frameworks if not [*_reasons(alone, limits)]]
    if not fit:
        return "interop.save keeps such a net"
    *others, last = fit
    return f"use {', '.join(others)} or {last}" if others else f"use {last}"


def _reasons(level: Level, limits: Limits) -> Iterator[tuple[str, str | None]]:
    """Yields each option that a framework lacks and why, and a hint if not another framework."""
    name = limits.name
    if level.dropout and not limits.dropout:
        yield (
            f"net must be without dropout, got a rate of {level.dropout}: {name} has no place for "
            "it",
            "the parameters are the same in a stack without it, but for its ()",
        )
    if len(level.runs) == 2 and not limits.merges:
        yield (
            f"net must run in one direction, got two: {name} is one cell",
            "convert params.forward and params.backward one by one, each with its cell",
        )
    elif len(level.runs) == 2 and level.merge not in limits.merges:
        yield (
            f'merge must be "concat", got "{level.merge}": {name} puts the outputs of its two '
            "directions side by side",
            None,
        )
    for run in level.runs:
        yield from _reasons_of_run(run, limits)
    if len(level.runs) == 1 and level.runs[0].reverse and not limits.reverse:
        yield (
            f"net must run forward, got reverse=True: {name} cannot run backward alone with "
            "outputs in the order of the inputs",
            None,
        )


def _reasons_of_run(run: Run, limits: Limits) -> Iterator[tuple[str, str | None]]:
    name = limits.name
    if run.reset not in limits.resets:
        how = "the product of h with its weights"
        if run.reset == "after":
            how = "h before its product with the weights"
        yield (
            f'reset must be "{limits.resets[0]}", got "{run.reset}": in {name} r multiplies {how}, '
            "so no weights of it give this candidate",
            None,
        )
    for option in ("activation", "gate_activation"):
        known, got = getattr(limits, f"{option}s"), getattr(run, option)
        if got not in known:
            why = f"{name} has no other"
            if known == SYMMETRIC:
                why = (
                    f"z of {name} weighs the old state, and of no other function is 1 - f(a) the "
                    "same as f(-a)"
                )
            yield f"{option} must be {' or '.join(map(repr, known))}, got {got!r}: {why}", None
    if run.clip is not None:
        yield (
            f"clip must be None, got {run.clip}: {name} does not bound its states, nor does any "
            "other framework's",
            None,
        )
    if run.h0 is not None and not limits.learned:
        yield (
            f"net must begin at zeros, got a learned initial state: {name} has none",
            "convert the cell inside with params.cell, and begin it at params.h0",
        )
