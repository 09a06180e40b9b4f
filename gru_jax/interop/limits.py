"""What each framework's GRU can say of a net, and the sentence where it cannot."""

from collections.abc import Sequence
from typing import NamedTuple

from gru_jax.activations import ACTIVATIONS
from gru_jax.interop.gates import TURNING
from gru_jax.interop.levels import Level

ANY = tuple(ACTIVATIONS)
OF_ONNX: dict[str, tuple[str, float | None, float | None]] = {
    "elu": ("Elu", 1.0, None),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "softplus": ("Softplus", None, None),
    "softsign": ("Softsign", None, None),
    "tanh": ("Tanh", None, None),
}
"""ONNX's name, alpha and beta of ours. Its attributes are float32, whatever the weights are."""


class Limits(NamedTuple):
    """What a framework's GRU can be.

    Attributes:
        name: of the framework's GRU, as it stands in a sentence.
        resets: the forms that it has.
        activations: those that its candidate can have, by our names.
        gate_activations: those that its gates can have.
        stacked: whether it can be several layers.
        merges: how it puts two directions together; empty if it has one direction alone.
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
    gate_activations=TURNING,
    stacked=True,
    merges=("concat", "sum"),
    dropout=True,
)
TORCH = Limits("PyTorch's GRU", stacked=True, merges=("concat",), dropout=True)
LINEN = Limits(
    "Flax linen's GRUCell",
    activations=ANY,
    gate_activations=TURNING,
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
    activations=tuple(OF_ONNX),
    gate_activations=TURNING,
    stacked=True,
    merges=("concat",),
    reverse=True,
    dropout=True,
    learned=True,
)


def check(function: str, levels: Sequence[Level], limits: Limits) -> None:
    """Raises where a framework cannot say what these levels are.

    Raises:
        ValueError: a sentence that says what, why, and what would work.
    """
    name = limits.name
    if len(levels) > 1 and not limits.stacked:
        raise ValueError(
            f"{function}: net must be one layer, got {len(levels)}: {name} is a single one; "
            "convert them one by one."
        )
    for level in levels:
        _check_level(function, level, limits)


def _check_level(function: str, level: Level, limits: Limits) -> None:
    name = limits.name
    if level.dropout and not limits.dropout:
        raise ValueError(
            f"{function}: net must be without dropout, got a rate of {level.dropout}: {name} has "
            "no place for it; the parameters are the same in a stack without it, but for its ()."
        )
    if len(level.runs) == 2 and level.merge not in limits.merges:
        if limits.merges:
            raise ValueError(
                f'{function}: merge must be "concat", got "{level.merge}": {name} puts the outputs '
                "of its two directions side by side; Keras and Flax can add them, too."
            )
        raise ValueError(
            f"{function}: net must run in one direction, got two: {name} is one cell; convert "
            "params.forward and params.backward one by one, each with its cell."
        )
    for run in level.runs:
        if run.reset not in limits.resets:
            how, other = (
                ("the product of h with its weights", "Keras, ONNX and Haiku have")
                if run.reset == "before"
                else ("h before its product with the weights", "all others have")
            )
            raise ValueError(
                f'{function}: reset must be "{limits.resets[0]}", got "{run.reset}": in {name} r '
                f"multiplies {how}, so no weights of it give this candidate; {other} this form."
            )
        for option in ("activation", "gate_activation"):
            known, got = getattr(limits, f"{option}s"), getattr(run, option)
            if got not in known:
                why = f"{name} has no other; Keras and Flax have all of them"
                if option == "gate_activation":
                    why = (
                        f"z of {name} weighs the old state, and of no other function is 1 - f(a) "
                        "the same as f(-a); interop.save keeps such a net"
                        if known == TURNING
                        else f"{name} has no other; Keras, Flax and ONNX have hard_sigmoid, too"
                    )
                raise ValueError(
                    f"{function}: {option} must be {' or '.join(map(repr, known))}, got {got!r}: "
                    f"{why}."
                )
        if run.clip is not None:
            raise ValueError(
                f"{function}: clip must be None, got {run.clip}: {name} does not bound its states, "
                "nor does any other framework's; interop.save keeps such a net."
            )
        if run.h0 is not None and not limits.learned:
            raise ValueError(
                f"{function}: net must begin at zeros, got a learned initial state: {name} has "
                "none; convert the cell inside with params.cell, and begin it at params.h0."
            )
    if len(level.runs) == 1 and level.runs[0].reverse and not limits.reverse:
        raise ValueError(
            f"{function}: net must run forward, got reverse=True: {name} cannot run backward "
            "alone with outputs in the order of the inputs; turn the data, or use ONNX or Flax."
        )
