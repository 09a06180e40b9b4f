"""Moving digits: their pixels, their motion, and who is held out."""

import gzip
import itertools
import zipfile

import numpy as np
import pytest
from refusals import refused

from gru_jax.data import moving_digits
from gru_jax.data.moving_digits import draw_moving_digits, repack

FIRST = [
    [0, 0, 5, 13, 9, 1, 0, 0],
    [0, 0, 13, 15, 10, 15, 5, 0],
    [0, 3, 15, 2, 0, 11, 8, 0],
    [0, 4, 12, 0, 0, 8, 8, 0],
    [0, 5, 8, 0, 0, 9, 8, 0],
    [0, 4, 11, 0, 1, 12, 7, 0],
    [0, 2, 14, 5, 10, 12, 0, 0],
    [0, 0, 6, 13, 10, 0, 0, 0],
]
"""The first digit, as it stands in the text of the source."""


def test_the_digits_are_the_published_ones_and_no_part_has_anothers():
    parts = [moving_digits._digits(part) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1297, 200, 300]
    np.testing.assert_array_equal(parts[0][0] * 16, FIRST)
    assert sum(part.sum() for part in parts) * 16 == 561718  # of all pixels in the source
    sets = [{digit.tobytes() for digit in part} for part in parts]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_repack_reads_the_sources_format(tmp_path, monkeypatch):
    line = ",".join(str(number) for number in np.ravel(FIRST))
    wheel = tmp_path / "source.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(repack.SOURCE, gzip.compress(f"{line},0\n".encode()))
    monkeypatch.setattr(repack, "TARGET", tmp_path / "digits.npz")
    repack.main(str(wheel))
    np.testing.assert_array_equal(np.load(tmp_path / "digits.npz")["images"], [FIRST])


def centre(frames):
    """Returns the centre of mass, `[..., 2]`, of frames `[..., size, size, 1]`."""
    weights = frames[..., 0] / frames.sum((-3, -2, -1), keepdims=True)[..., 0]
    at = np.arange(frames.shape[-2])
    return np.stack([(weights.sum(-1) * at).sum(-1), (weights.sum(-2) * at).sum(-1)], -1)


def test_digits_move_at_constant_velocity_and_bounce(monkeypatch):
    """A digit's centre of mass moves in straight lines, at 1 to 2 pixels a frame, with its room."""
    monkeypatch.setattr(moving_digits, "_digits", lambda _: np.float32([FIRST]) / 16)
    frames, straight = draw_moving_digits(300, seed=3, seen=10, future=10)
    mass = np.sum(FIRST) / 16
    alone = np.isclose(frames.sum((2, 3, 4)), mass, rtol=1e-4).all(1)
    assert 0.4 < alone.mean() < 0.6  # one digit or two
    path = centre(frames[alone].astype(float))
    steps = np.diff(path, axis=1)
    speed = np.linalg.norm(steps, axis=-1)
    free = np.isclose(steps[:, 1:], steps[:, :-1], atol=1e-3).all(-1)
    assert free.mean() > 0.6
    assert (speed[:, 1:][free] > 1 - 1e-3).all()
    assert (speed < 2 + 1e-3).all()
    low = centre(np.pad(np.float32(FIRST), [(0, 24), (0, 24)])[..., None])
    assert (path > low - 1e-3).all()
    assert (path < low + 24 + 1e-3).all()
    assert (np.sign(steps[:, :1]) != np.sign(steps)).any((1, 2)).mean() > 0.8  # they bounce

    # Without walls: the last seen velocity goes on, out of the frame.
    ahead = frames[alone][:, 10:]
    same = np.isclose(ahead, straight[alone], atol=1e-5).all((2, 3, 4))
    assert (same[:, 1:] <= same[:, :-1]).all()  # once they part, they stay apart
    assert 0.2 < same.mean() < 0.9
    away = straight[alone].sum((2, 3, 4))
    assert (away < mass / 2).any()
    calm = free[:, 7] & same[:, 0]  # no wall between frames 7 and 10
    expected = path[calm, 9] + steps[calm, 8]
    np.testing.assert_allclose(path[calm, 10], expected, atol=1e-3)


def test_two_digits_overlap_as_the_lighter_of_both(monkeypatch):
    monkeypatch.setattr(moving_digits, "_digits", lambda _: np.ones((1, 8, 8), np.float32))
    frames, _ = draw_moving_digits(200, seed=0)
    assert frames.max() == 1
    assert frames.min() == 0
    area = frames.sum((2, 3, 4))
    assert (area <= 128 + 1e-3).all()
    assert ((area > 64.1) & (area < 127.9)).any()


def test_the_same_arguments_give_the_same_sequences():
    one = draw_moving_digits(3, seed=[1, 2], part="test", future=0, seen=4, size=20)
    again = draw_moving_digits(3, seed=[1, 2], part="test", future=0, seen=4, size=20)
    other = draw_moving_digits(3, seed=[1, 3], part="test", future=0, seen=4, size=20)
    np.testing.assert_array_equal(one.frames, again.frames)
    assert (one.frames != other.frames).any()
    assert one.frames.shape == (3, 4, 20, 20, 1)
    assert one.straight.shape == (3, 0, 20, 20, 1)
    assert one.frames.dtype == one.straight.dtype == np.float32


def test_each_part_moves_differently_with_one_seed(monkeypatch):
    monkeypatch.setattr(moving_digits, "_digits", lambda _: np.float32([FIRST]) / 16)
    parts = ("train", "validation", "test")
    frames = [draw_moving_digits(20, seed=0, part=part).frames for part in parts]
    epochs = [draw_moving_digits(20, seed=[0, epoch]).frames for epoch in (0, 1, 2)]
    for one, other in itertools.combinations([*frames[1:], *epochs], 2):
        assert (one != other).any((1, 2, 3, 4)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "all"}, "part must be one of train, validation, test, got 'all'."),
        ({"size": 8}, "size must be a whole number from 9, got 8."),
        ({"seen": 0}, "seen must be a whole number from 1, got 0."),
        ({"future": 1.5}, "future must be a whole number from 0, got 1.5."),
        ({"seed": -1}, "seed must be whole numbers from 0, got -1."),
        ({"seed": "a"}, "seed must be whole numbers from 0, got 'a'."),
        ({"seed": 1.5}, "seed must be whole numbers from 0, got 1.5."),
        ({"cases": True}, "cases must be a whole number from 1, got True."),
        ({"cases": 0}, "cases must be a whole number from 1, got 0."),
    ],
)
@pytest.mark.untyped
def test_what_cannot_be_drawn_is_refused(options, message):
    with refused(f"draw_moving_digits: {message}"):
        draw_moving_digits(**{"cases": 2, "seed": 0} | options)
