"""Texts from files that are not trusted, and their tokens.

characters   "né"  ->  [12, 33]           numbers in the vocabulary of the training part
bytes        "né"  ->  [110, 195, 169]
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Integer

from gru_jax.app.tasks.language_config import Kind
from gru_jax.files import check_size

Text: TypeAlias = str | bytes
Tokens: TypeAlias = Integer[np.ndarray, " tokens"]
BYTES = 256
PIECE = 1 << 20
"""Characters encoded at once: UTF-32 takes four bytes for each."""


def read_text(path: Path, kind: Kind) -> Text:
    """Returns a file's characters or bytes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has fewer than two, or is not the UTF-8 text that characters need.
    """
    check_size(path)
    content = path.read_bytes()
    text = content if kind == "bytes" else _decode(path, content)
    if len(text) < 2:
        raise ValueError(f"{path} must hold two {kind} or more, got {len(text)}.")
    return text


def _decode(path: Path, content: bytes) -> str:
    def refuse(needed: str, got: str, offset: int) -> ValueError:
        line = content.count(b"\n", 0, offset) + 1
        return ValueError(
            f"{path}: line {line} must be {needed}, got {got} at byte {offset} of the file; "
            "training with --tokens bytes reads any file."
        )

    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise refuse("UTF-8", f"0x{byte:02x} ({error.reason})", error.start) from error
    if (offset := content.find(b"\0")) >= 0:
        raise refuse("text", "NUL", offset)
    return text.removeprefix("\ufeff")


def encode(vocabulary: str, text: Text) -> Tokens:
    """Returns the tokens of a text; a character outside the vocabulary is its length."""
    if isinstance(text, bytes):
        return np.frombuffer(text, np.uint8)
    unknown = len(vocabulary)
    numbers = np.full(0x110000, unknown, np.min_scalar_type(unknown))
    numbers[_points(vocabulary)] = np.arange(unknown)
    tokens = np.empty(len(text), numbers.dtype)
    for i in range(0, len(text), PIECE):
        tokens[i : i + PIECE] = numbers[_points(text[i : i + PIECE])]
    return tokens


def _points(text: str) -> Integer[np.ndarray, " characters"]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def measure_ngrams(train: Tokens, test: Tokens, size: int, order: int) -> list[float]:
    """Returns the bits per token of test texts under n-grams of training texts.

    p_k(x | k tokens before) = (n(tokens, x) + d p_(k-1)(x)) / (n(tokens) + d), with n a count and d
    the number of different tokens that follow: Witten-Bell interpolation, down to 1 / size. The
    first token is not counted.

    Args:
        train: the tokens to count.
        test: the tokens to predict.
        size: the number of different tokens.
        order: the largest number of tokens before.

    Returns:
        The mean of -log2 p_k, for k from 0 to `order`.

    References:
        Bell, Cleary and Witten (1990), "Text compression", method C.
    """
    p, bits = np.full(len(test), 1 / size), []
    # The tokens before, as a number from 0; -1 if there are not enough, or training has no such.
    before_train, before_test = np.zeros(len(train), np.int64), np.zeros(len(test), np.int64)
    for _ in range(order + 1):
        grams = np.where(before_train < 0, -1, before_train * size + train)
        known, counts = np.unique(grams[grams >= 0], return_counts=True)
        places = before_train.max() + 2  # The last one belongs to -1, and stays empty.
        totals = np.bincount(known // size, counts, places)
        kinds = np.bincount(known // size, minlength=places)

        wanted = np.where(before_test < 0, -1, before_test * size + test)
        place = np.searchsorted(known, wanted)
        found = np.append(known, -2)[place] == wanted
        total, kind = totals[before_test], kinds[before_test]
        mixed = (np.where(found, np.append(counts, 0)[place], 0) + kind * p) / (total + kind).clip(
            1
        )
        p = np.where(total == 0, p, mixed)
        bits.append(float(-np.log2(p[1:]).mean()))

        ranks = np.where(grams < 0, -1, np.searchsorted(known, grams))
        before_train = np.concatenate([[-1], ranks[:-1]])
        before_test = np.concatenate([[-1], np.where(found, place, -1)[:-1]])
    return bits
