"""The problem that every contender solves: one layer, one batch, the same numbers.

hs = GRU(params, xs)        loss = sum(weigh * hs)

Four numbers give the size of a GRU, six the size of a convolutional GRU over images. With resets,
new episodes begin at random steps, as in reinforcement learning: the state returns to zero there.
The members of an ensemble are GRUs of one size, each with its own weights and data.
"""

import math
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Float

import gru_jax as gj
from gru_jax.app.bench import device

Reset: TypeAlias = Literal["before", "after"]
KERNEL = (3, 3)
"""The kernel's size in every convolution."""
EPISODE = 16
"""Mean length of an episode, in steps."""


class Size(NamedTuple):
    """The size of a problem; `str` gives the word of the command line."""

    batch: int
    time: int
    input: int
    hidden: int
    resets: bool = False
    members: int | None = None

    def __str__(self) -> str:
        """Returns `batch,time,input,hidden`, with `,8members` and `,resets` if it has them."""
        return ",".join([*map(str, numbers(self)), *words(self)])


class ImageSize(NamedTuple):
    """The size of a problem of images; `str` gives the word of the command line."""

    batch: int
    time: int
    height: int
    width: int
    input: int
    channels: int
    members, resets = None, False  # These are no fields: images have neither.

    def __str__(self) -> str:
        """Returns `batch,time,height,width,input,channels`."""
        return ",".join(map(str, self))


AnySize: TypeAlias = Size | ImageSize

DEFAULT_SIZES = (
    *("16,100,32,32", "64,32,32,128", "32,128,128,256"),
    *("64,100,512,512", "1,1000,64,128", "128,50,64,64"),
)
DEFAULT_GPU_SIZES = (
    *("16,1024,128,128", "64,256,128,128", "64,256,256,256", "128,128,256,256", "512,128,256,256"),
    *("64,256,512,512", "16,1024,512,512", "1,1000,64,128", "64,128,256,256,resets"),
)
DEFAULT_IMAGE_SIZES = ("8,20,32,32,1,32", "4,12,64,64,16,64", "1,32,60,80,128,128")
"""A small state, a larger one, and RAFT's: 128 channels at an eighth of 480 x 640 pixels."""


class Problem(NamedTuple):
    """A cell with weights, data, and the weights of the loss.

    An ensemble has one more axis in front of every array, also of the weights: the members.

    Attributes:
        size: the size of the arrays below.
        cell: gru_jax's cell, of one form.
        params: its parameters; b_h is zero or, where the form has none, None.
        xs: the inputs.
        weigh: the factor of each state in the loss.
        resets: True at the steps that begin an episode; None without episodes.
    """

    size: AnySize
    cell: gj.Cell
    params: gj.Params
    xs: Float[np.ndarray, "*members_batch_time_space input"]
    weigh: Float[np.ndarray, "*members_batch_time_space hidden"]
    resets: Bool[np.ndarray, "*members batch time"] | None

    @property
    def hidden_size(self) -> int:
        """Returns the features or channels of the state."""
        return numbers(self.size)[-1]

    def split(self, params: Any) -> list[Any]:
        """Returns the parameters of each member; without an ensemble, these are all."""
        if not self.size.members:
            return [params]
        return [jax.tree.map(itemgetter(i), params) for i in range(self.size.members)]


def numbers(size: AnySize) -> tuple[int, ...]:
    """Returns the numbers of a size: four, or six for images."""
    return size[:4] if isinstance(size, Size) else size


def words(size: AnySize) -> list[str]:
    """Returns the words that follow the numbers of a size: `8members`, `resets`, both or none."""
    return [f"{size.members}members"] * bool(size.members) + ["resets"] * size.resets


def parse_sizes(texts: Sequence[str] | None, images: bool) -> list[AnySize]:
    """Returns the sizes, each once, all of one kind.

    Args:
        texts: words of the command line; None are the default sizes.
        images: whether the sizes must be those of images.

    Raises:
        ValueError: if a word is not a size, or the sizes are of both kinds.
    """
    if texts is None:
        plain = DEFAULT_GPU_SIZES if device.platform() == "gpu" else DEFAULT_SIZES
        texts = DEFAULT_IMAGE_SIZES if images else plain
    sizes = list(dict.fromkeys(map(parse_size, texts)))
    first = {type(size): str(size) for size in reversed(sizes)}
    if images and Size in first:
        raise ValueError(f"bench: sizes must be six numbers with --images, got {first[Size]}.")
    if len(first) > 1:
        raise ValueError(
            "bench: sizes must be four numbers each or six numbers each, "
            f"got {first[Size]} and {first[ImageSize]}."
        )
    return sizes


def parse_size(text: str) -> AnySize:
    """Returns the size that `16,100,32,32` or `8,20,32,32,1,32` names.

    Two words may follow four numbers, in this order: `8members` for an ensemble, and `resets`.

    Raises:
        ValueError: if that is not four or six whole numbers from 1, and such words.
    """
    number = r"0*[1-9]\d{0,8}"
    plain = rf"((?:{number},){{3}}{number})(?:,({number})members)?(,resets)?"
    if match := re.fullmatch(plain, text, re.ASCII):
        values, members, resets = match.groups()
        size = Size(*map(int, values.split(",")), resets=bool(resets))
        return size._replace(members=int(members)) if members else size
    if re.fullmatch(f"({number},){{5}}{number}", text, re.ASCII):
        return ImageSize(*map(int, text.split(",")))
    raise ValueError(
        "bench: sizes must be batch,time,input,hidden[,Nmembers][,resets] or "
        f"batch,time,height,width,input,channels, whole numbers from 1, got {text!r}."
    )


def draw_problem(size: AnySize, reset: Reset) -> Problem:
    """Draws the same numbers for both forms: weights from +-1/sqrt(fan-in), and normal data.

    The fan-in counts the state only. b_h is zero because Flax's nnx cell has no such bias. Its
    gradient is not zero and is compared wherever a library computes it.
    """
    batch, time, *space, input_size, hidden_size = numbers(size)
    kernel = KERNEL if space else ()
    members = (size.members,) if size.members else ()
    rng, scale = np.random.default_rng(0), (math.prod(kernel) * hidden_size) ** -0.5
    shapes = [(*kernel, input_size + hidden_size, hidden_size), (hidden_size,)] * 3
    leaves = [rng.uniform(-scale, scale, (*members, *shape)) for shape in shapes]
    b_h = np.zeros((*members, hidden_size), np.float32) if reset == "after" else None
    build = gj.conv_gru if space else gj.gru
    params: Any = gj.ConvGRUParams if space else gj.GRUParams
    return Problem(
        size,
        build(hidden_size, reset=reset),
        params(*(leaf.astype(np.float32) for leaf in leaves), b_h=b_h),
        xs=rng.standard_normal((*members, batch, time, *space, input_size), np.float32),
        weigh=rng.standard_normal((*members, batch, time, *space, hidden_size), np.float32),
        resets=rng.random((*members, batch, time)) < 1 / EPISODE if size.resets else None,
    )
