"""A text in batches: in parallel streams to train on, and in order to evaluate.

    tokens   |-- stream 0 --|-- stream 1 --|-- stream 2 --|
              chunk chunk ..  chunk chunk ..                    state carried from chunk to chunk

Behind its end a stream begins again, and its state with it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from gru_jax.app.tasks.task import Arrays
from gru_jax.app.tasks.texts import Text

SEGMENT, SHORTEST = 512, 16
"""Tokens of the longest segment, and those that the shortest one is padded to."""
STACK = 10
"""Chunks in one call of the training loop."""


class Passage(NamedTuple):
    """A text, or its tokens, and where its segments end; the first token is in none."""

    text: Any
    ends: Sequence[int]


class TextBatch(NamedTuple):
    """Tokens, the ones that follow them, and where a stream begins again."""

    xs: Int[Arrays, "*steps batch time"]
    lengths: Int[Arrays, "*steps batch"]
    targets: Int[Arrays, "*steps batch time"]
    valid: Bool[Arrays, "*steps batch"]
    resets: Bool[Arrays, "*steps batch time"]


def cut(text: Text) -> Passage:
    """Returns a text in segments of one length, but for the last."""
    return Passage(text, [*range(SEGMENT + 1, len(text), SEGMENT), len(text)])


def read_streams(
    data: Passage, streams: int, chunk: int, chunks: int, epoch: int
) -> Iterator[TextBatch]:
    """Yields stacks of chunks of all streams, from where the epoch before ended."""
    tokens, size = data.text, (len(data.text) - 1) // streams
    starts = np.arange(streams)[:, None] * size
    for first in range(0, chunks, STACK):
        count = min(STACK, chunks - first)
        begin = (epoch * chunks + first) * chunk
        offsets = (begin + np.arange(count * chunk)) % size
        places = (starts + offsets).reshape(streams, count, chunk).swapaxes(0, 1)
        yield TextBatch(
            xs=tokens[places].astype(np.int32),
            lengths=np.full(places.shape[:2], chunk, np.int32),
            targets=tokens[places + 1].astype(np.int32),
            valid=np.ones(places.shape[:2], bool),
            resets=np.broadcast_to((offsets == 0).reshape(count, 1, chunk), places.shape),
        )


def read_in_order(data: Passage) -> Iterator[TextBatch]:
    """Yields each segment as a batch of one row: its tokens are the targets.

    Rows are padded to powers of two, so that few shapes are compiled.
    """
    for begin, end in zip([1, *data.ends[:-1]], data.ends, strict=True):
        length = end - begin
        padded = np.zeros((2, max(SHORTEST, 1 << (length - 1).bit_length())), np.int32)
        padded[:, :length] = data.text[begin - 1 : end - 1], data.text[begin:end]
        xs, targets = padded[:, None, None]
        lengths, resets = np.full((1, 1), length, np.int32), np.zeros(xs.shape, bool)
        yield TextBatch(xs, lengths, targets, np.ones((1, 1), bool), resets)
