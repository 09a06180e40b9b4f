"""The problem that every contender solves: one layer, one batch, the same numbers.

hs = GRU(params, xs)        loss = sum(weigh * hs)
"""

import re
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

import gru_jax as gj

Reset: TypeAlias = Literal["before", "after"]


class Size(NamedTuple):
    """The size of a problem; `str` gives the word of the command line."""

    batch: int
    time: int
    input: int
    hidden: int

    def __str__(self) -> str:
        """Returns `batch,time,input,hidden`."""
        return ",".join(map(str, self))


DEFAULT_SIZES = (
    *("16,100,32,32", "64,32,32,128", "32,128,128,256"),
    *("64,100,512,512", "1,1000,64,128", "128,50,64,64"),
)


class Problem(NamedTuple):
    """A cell with weights, data, and the weights of the loss.

    Attributes:
        size: the size of the arrays below.
        cell: gru_jax's cell, of one form.
        params: its parameters; b_h is zero or, where the form has none, None.
        xs: the inputs.
        weigh: the factor of each state in the loss.
    """

    size: Size
    cell: gj.Cell
    params: gj.GRUParams
    xs: Float[np.ndarray, "batch time input"]
    weigh: Float[np.ndarray, "batch time hidden"]


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


def draw_problem(size: Size, reset: Reset) -> Problem:
    """Draws the same numbers for both forms: weights from +-1/sqrt(hidden), and normal data.

    b_h is zero because Flax's nnx cell has no such bias. Its gradient is not zero and is compared
    wherever a library computes it.
    """
    batch, time, input_size, hidden_size = size
    rng, scale = np.random.default_rng(0), hidden_size**-0.5
    shapes = [(input_size + hidden_size, hidden_size), (hidden_size,)] * 3
    leaves = [rng.uniform(-scale, scale, shape).astype(np.float32) for shape in shapes]
    b_h = np.zeros(hidden_size, np.float32) if reset == "after" else None
    return Problem(
        size,
        gj.gru(hidden_size, reset=reset),
        gj.GRUParams(*leaves, b_h=b_h),  # type: ignore[arg-type]
        xs=rng.standard_normal((batch, time, input_size), np.float32),
        weigh=rng.standard_normal((batch, time, hidden_size), np.float32),
    )
