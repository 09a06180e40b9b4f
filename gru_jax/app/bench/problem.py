"""What every library computes: one layer over one batch, with the same numbers in it."""

import re
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from gru_jax.cells.gru import GRUParams

Reset: TypeAlias = Literal["before", "after"]


class Size(NamedTuple):
    """How large a problem is; `str` gives it as it is typed."""

    batch: int
    time: int
    input: int
    hidden: int

    def __str__(self) -> str:
        """Returns `batch,time,input,hidden`."""
        return ",".join(map(str, self))


DEFAULT_SIZES = (
    Size(16, 100, 32, 32),
    Size(64, 32, 32, 128),
    Size(32, 128, 128, 256),
    Size(64, 100, 512, 512),
    Size(1, 1000, 64, 128),
    Size(128, 50, 64, 64),
)


class Problem(NamedTuple):
    """Weights, data and a loss: `(weigh * hs).sum()`.

    Attributes:
        size: of all below.
        params: of the reset="after" form, with a b_h of zero; see `draw_problem`.
        xs: the inputs.
        h: the state that the single step starts from.
        weigh: what the loss multiplies the states with.
    """

    size: Size
    params: GRUParams
    xs: Float[np.ndarray, "batch time input"]
    h: Float[np.ndarray, "batch hidden"]
    weigh: Float[np.ndarray, "batch time hidden"]

    def params_of(self, reset: Reset) -> GRUParams:
        """Returns the parameters in one form: the same numbers, b_h dropped where there is none."""
        return self.params._replace(b_h=None) if reset == "before" else self.params


def parse_size(text: str) -> Size:
    """Returns the size that `16,100,32,32` names.

    Raises:
        ValueError: if that is not four whole numbers from 1.
    """
    if not re.fullmatch(r"0*[1-9]\d{0,8}(,0*[1-9]\d{0,8}){3}", text, re.ASCII):
        raise ValueError(
            "bench: sizes must be batch,time,input,hidden, four whole numbers from 1, "
            f"got {text!r}."
        )
    return Size(*map(int, text.split(",")))


def draw_problem(size: Size, seed: int = 0) -> Problem:
    """Draws weights and biases of +-1/sqrt(hidden), PyTorch's range, and normal data.

    b_h is zero because Flax's nnx cell has no such bias, and all are to compute the same; its
    gradient is not zero, and is compared where there is one.
    """
    batch, time, input_size, hidden_size = size
    rng = np.random.default_rng(seed)
    scale = hidden_size**-0.5

    def weights(*shape: int) -> np.ndarray:
        return rng.uniform(-scale, scale, shape).astype(np.float32)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    gates = [weights(input_size + hidden_size, hidden_size) for _ in "rzc"]
    biases = [weights(hidden_size) for _ in "rzc"]
    leaves = [leaf for pair in zip(gates, biases, strict=True) for leaf in pair]
    return Problem(
        size,
        GRUParams(*leaves, b_h=np.zeros(hidden_size, np.float32)),  # type: ignore[arg-type]
        xs=normal(batch, time, input_size),
        h=np.tanh(normal(batch, hidden_size)),
        weigh=normal(batch, time, hidden_size),
    )
