"""Moving digits: one or two handwritten digits that move in a square and bounce off its walls.

    p_t = p_0 + t v, reflected at the walls, per axis;   image = maximum over digits

The digits are images of 8 x 8 pixels, read from the file beside this one; see its LICENSE for
origin and terms. The frames are drawn when they are needed, so that training never sees one twice.

References:
    Srivastava, Mansimov and Salakhutdinov (2015), "Unsupervised learning of video representations
    using LSTMs", section 4, for Moving MNIST. Kaynak (1995), UCI Machine Learning Repository,
    doi:10.24432/C50P49, CC BY 4.0, for the digits.
"""

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

SIDE = 8
"""Pixels of a digit."""
SLOWEST, FASTEST = 1.0, 2.0
"""Speeds, in pixels per frame."""
Part = Literal["train", "validation", "test"]
LAST = {"train": 1297, "validation": 1497, "test": 1797}
"""The end of each part's range in the file. No digit is in two parts."""


class MovingDigits(NamedTuple):
    """Sequences of frames; values from 0 to 1.

    Attributes:
        frames: the sequences, of `seen + future` frames.
        straight: the future frames, had each digit kept its last seen velocity and met no wall.
    """

    frames: Float[np.ndarray, "cases time size size 1"]
    straight: Float[np.ndarray, "cases future size size 1"]


def draw_moving_digits(
    cases: int,
    *,
    seed: int | list[int],
    part: Part = "train",
    seen: int = 10,
    future: int = 10,
    size: int = 32,
) -> MovingDigits:
    """Draws sequences of one or two digits; the same arguments give the same sequences.

    Each sequence has one or two digits, with equal probability. Places and directions are uniform,
    speeds are uniform from 1 to 2 pixels per frame. Between pixels, images are interpolated
    linearly.

    Args:
        cases: the number of sequences.
        seed: one whole number, or several, from 0. Each part moves differently with one seed.
        part: the digits to draw from; no digit is in two parts.
        seen: frames to look at; the velocity at the last of them is that of `straight`.
        future: frames after those.
        size: side of the frames, in pixels; more than a digit's 8.

    Raises:
        ValueError: if an argument is out of range.
    """
    if part not in get_args(Part):
        raise ValueError(
            f"draw_moving_digits: part must be one of {', '.join(get_args(Part))}, got {part!r}."
        )
    counts = {"cases": (cases, 1), "seen": (seen, 1), "future": (future, 0), "size": (size, 9)}
    for name, (count, least) in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
            raise ValueError(
                f"draw_moving_digits: {name} must be a whole number from {least}, got {count!r}."
            )
    try:
        rng = np.random.default_rng([get_args(Part).index(part), *np.atleast_1d(seed).tolist()])
    except (TypeError, ValueError):
        raise ValueError(
            f"draw_moving_digits: seed must be whole numbers from 0, got {seed!r}."
        ) from None
    digits = _digits(part)
    images = digits[rng.integers(len(digits), size=(cases, 2))]
    images[:, 1] *= rng.integers(2, size=(cases, 1, 1))  # black: one digit alone
    room = float(size - SIDE)
    place = rng.uniform(0, room, (cases, 2, 1, 2))
    angle, speed = rng.uniform([0, SLOWEST], [2 * np.pi, FASTEST], (cases, 2, 1, 2)).T
    velocity = (speed * np.stack([np.sin(angle), np.cos(angle)])).T
    path = np.mod(place + velocity * np.arange(seen + future)[:, None], 2 * room)
    places = np.minimum(path, 2 * room - path)
    heading = np.where(path < room, velocity, -velocity)[:, :, seen - 1 : seen]
    straight = places[:, :, seen - 1 : seen] + heading * np.arange(1, future + 1)[:, None]
    return MovingDigits(_render(images, places, size), _render(images, straight, size))


def _render(
    images: Float[np.ndarray, "cases 2 8 8"], places: Float[np.ndarray, "cases 2 time 2"], size: int
) -> Float[np.ndarray, "cases time size size 1"]:
    """Returns frames with each image's corner at its place, which may be outside the frame."""
    margin = SIDE + 1  # A digit between pixels takes one pixel more.
    corner = np.clip(np.floor(places), -margin, size).astype(int)
    down, right = np.moveaxis(places - np.floor(places), -1, 0)[..., None, None]
    x = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])[:, :, None]
    x = (1 - down) * x[..., 1:, :] + down * x[..., :-1, :]
    x = (1 - right) * x[..., 1:] + right * x[..., :-1]
    cases, _, time, _ = places.shape
    canvas = np.zeros((cases, time, size + 2 * margin, size + 2 * margin), np.float32)
    case, step = np.ogrid[:cases, :time]
    for digit in range(2):
        rows, columns = np.moveaxis(corner[:, digit, :, :, None] + margin + np.arange(margin), 2, 0)
        block = case[..., None, None], step[..., None, None], rows[..., None], columns[..., None, :]
        canvas[block] = np.maximum(canvas[block], x[:, digit])
    return canvas[:, :, margin:-margin, margin:-margin, None]


@cache
def _digits(part: Part) -> Float[np.ndarray, "digits 8 8"]:
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as arrays:
        digits = arrays["images"].astype(np.float32) / 16
    first = {"train": 0, "validation": LAST["train"], "test": LAST["validation"]}[part]
    return digits[first : LAST[part]]
