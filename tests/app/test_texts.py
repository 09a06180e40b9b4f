"""Texts as tokens, and n-grams by counting."""

import collections
import math

import numpy as np
import pytest
from refusals import refused

from gru_jax.app.tasks.texts import encode, measure_ngrams, read_text


@pytest.mark.parametrize("text", ["a né\r\n\tß", "\N{GRINNING FACE} and \u2028 end", "xy"])
def test_characters_and_bytes_are_read_as_they_are(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    assert read_text(path, "characters") == text
    assert read_text(path, "bytes") == text.encode()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_text(path, "characters") == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold two characters or more, got 0."),
        (b"\xef\xbb\xbf", "must hold two characters or more, got 0."),
        ("\N{GRINNING FACE}".encode(), "must hold two characters or more, got 1."),
        (
            b"ab\ncd\xff\n",
            "line 2 must be UTF-8, got 0xff (invalid start byte) at byte 5 of the file",
        ),
        (b"ab\n\n\xc3", "line 3 must be UTF-8, got 0xc3 (unexpected end of data) at byte 4 of the"),
        (b"a\n\x00b", "line 2 must be text, got NUL at byte 2 of the file; training with --tokens"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt") as caught:
        read_text(path, "characters")
    assert message in str(caught.value)
    if len(content) > 1:
        assert read_text(path, "bytes") == content


def test_one_byte_is_no_text(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with refused(f"{tmp_path / 'a'} must hold two bytes or more, got 1."):
        read_text(tmp_path / "a", "bytes")


def test_tokens_are_places_in_the_vocabulary(monkeypatch):
    monkeypatch.setattr("gru_jax.app.tasks.texts.PIECE", 3)
    known = "\naß\N{GRINNING FACE}"
    text = "a\N{GRINNING FACE}b\nßac"
    np.testing.assert_array_equal(encode(known, text), [1, 3, 4, 0, 2, 1, 4])
    np.testing.assert_array_equal(encode("", "aß".encode()), [97, 195, 159])
    many = "".join(map(chr, range(300, 900)))
    np.testing.assert_array_equal(encode(many, many), np.arange(600))


def count_ngrams(train, test, size, order):
    """Returns the mean bits of test[1:], by dictionaries."""
    after = collections.defaultdict(collections.Counter)
    for i in range(len(train)):
        for k in range(min(i, order) + 1):
            after[tuple(train[i - k : i])][train[i]] += 1
    bits = []
    for i in range(1, len(test)):
        p = 1 / size
        for k in range(min(i, order) + 1):
            if counts := after.get(tuple(test[i - k : i])):
                p = (counts[test[i]] + len(counts) * p) / (counts.total() + len(counts))
        bits.append(-math.log2(p))
    return np.mean(bits)


@pytest.mark.parametrize("size", [2, 5, 40])
def test_ngrams_are_counts(rng, size):
    train = np.minimum(rng.geometric(0.3, 500), size) - 1
    test = np.minimum(rng.geometric(0.25, 200), size + 1) - 1  # with one that training has not
    found = measure_ngrams(train.astype("uint8"), test.astype("uint8"), size + 1, 4)
    expected = [count_ngrams(train.tolist(), test.tolist(), size + 1, k) for k in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ngrams_of_few_tokens():
    for train, test in ((np.array([1]), np.array([0, 1])), (np.array([0, 1]), np.array([1, 1, 0]))):
        found = measure_ngrams(train, test, 3, 3)
        expected = [count_ngrams(train.tolist(), test.tolist(), 3, k) for k in range(4)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
