"""Streams: what is read, which state is carried, and where both begin again."""

import dataclasses

import jax
import numpy as np
import pytest

from gru_jax.app import problem
from gru_jax.app.tasks import streams
from gru_jax.app.tasks.language import LANGUAGE, LanguageConfig, apply
from gru_jax.app.tasks.streams import Passage, read_in_order, read_streams
from gru_jax.app.tasks.task import Parts

SIZE = 50
"""Tokens in a stream; no chunk of 8 ends with one."""
TOKENS = np.random.default_rng(0).integers(0, 9, 3 * SIZE + 2).astype("uint8")
CONFIG = LanguageConfig(
    embed=4, hidden=5, layers=2, batch=3, chunk=8, chunks=13, dropout=0.0, learning_rate=0.0
)
NET = LANGUAGE.make_net(CONFIG, {"tokens": "characters", "vocabulary": "abcdefgh"})


def read(epochs):
    """Returns all batches of some epochs."""
    data = Passage(TOKENS, [])
    return [
        batch
        for epoch in range(epochs)
        for batch in problem.unstack(read_streams(data, 3, 8, 13, epoch))
    ]


def join(batches, name):
    return np.concatenate([getattr(batch, name) for batch in batches], axis=1)


def test_each_stream_reads_its_part_again_and_again():
    batches = read(3)
    assert len(batches) == 3 * 13
    assert len(set(map(str, (jax.tree.map(np.shape, batch) for batch in batches)))) == 1
    for row in range(3):
        own = TOKENS[row * SIZE : (row + 1) * SIZE + 1]
        expected = np.tile(own[:-1], 7)[: 3 * 13 * 8], np.tile(own[1:], 7)[: 3 * 13 * 8]
        np.testing.assert_array_equal(join(batches, "xs")[row], expected[0])
        np.testing.assert_array_equal(join(batches, "targets")[row], expected[1])
        begins = np.flatnonzero(join(batches, "resets")[row])
        np.testing.assert_array_equal(begins, np.arange(0, 3 * 13 * 8, SIZE))


@pytest.mark.parametrize("stack", [1, 5, 13, 100])
def test_the_size_of_stacks_changes_nothing(monkeypatch, stack):
    expected = read(2)
    monkeypatch.setattr(streams, "STACK", stack)
    for one, other in zip(expected, read(2), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope="module")
def chunked():
    """Logits of two epochs, chunk by chunk; parameters and the last state."""
    params = NET.init(jax.random.key(0), 9)
    carry, logits = LANGUAGE.carry(NET, params, 3), []
    for batch in read(2):
        ys, carry = apply(NET, params, batch, carry, None)
        logits.append(np.asarray(ys))
    return np.concatenate(logits, axis=1), params, carry


def test_the_state_goes_on_over_the_borders_of_chunks(chunked):
    """Inside of a pass, the oracle is one long sequence that begins with it."""
    logits, params, _ = chunked
    for row in range(3):
        own = TOKENS[row * SIZE : (row + 1) * SIZE].astype("int32")
        whole, _ = NET.apply(params, own, key=None)
        for begin in range(0, 2 * 13 * 8, SIZE):
            part = logits[row, begin : begin + SIZE]
            np.testing.assert_allclose(part, whole[: len(part)], atol=1e-5)


def test_training_carries_the_state_from_epoch_to_epoch(chunked):
    """With a rate of zero no parameter moves, and the state is the one of the chunks."""
    _, params, carry = chunked
    facts = {"title": "x", "tokens": "characters", "vocabulary": "abcdefgh"}
    text = Passage("".join("abcdefghi"[t] for t in TOKENS), [5, 9])
    task = LANGUAGE._replace(load=lambda _: Parts(text, text, text), learn=lambda *_: facts)
    made = problem.make_problem(task, dataclasses.replace(CONFIG, epochs=2))
    np.testing.assert_array_equal(made.train.text, TOKENS)
    progress = problem.init_progress(made)
    state = progress.state._replace(params=jax.tree.map(np.asarray, params))
    progress = progress._replace(state=state)
    progress, reason = problem.train(made, problem.make_loop(made), progress)
    assert reason == "epochs"
    for one, other in zip(
        jax.tree.leaves(progress.state.carry), jax.tree.leaves(carry), strict=True
    ):
        assert np.abs(one).max() > 0.01
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_segments_are_the_targets_and_the_tokens_before_them():
    batches = list(problem.unstack(read_in_order(Passage(TOKENS, [1, 20, 21, 60]))))
    assert [int(batch.lengths[0]) for batch in batches] == [0, 19, 1, 39]
    assert [batch.xs.shape for batch in batches] == [(1, 16), (1, 32), (1, 16), (1, 64)]
    for name, begin in (("xs", 0), ("targets", 1)):
        parts = [getattr(batch, name)[0, : int(batch.lengths[0])] for batch in batches]
        np.testing.assert_array_equal(np.concatenate(parts), TOKENS[begin : begin + 59])
    assert not any(batch.resets.any() for batch in batches)


def test_a_part_is_cut_into_segments_that_leave_out_its_first_token():
    assert streams.cut("x" * 1025).ends == [513, 1025]
    assert streams.cut("x" * 1026).ends == [513, 1025, 1026]
    assert streams.cut(b"xy").ends == [2]
