"""Text from a net: each token is drawn by the net's probabilities, and read by it.

    p = softmax(logits / temperature)

A temperature of 0 is the limit: the largest logit wins.
"""

import codecs
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

import gru_jax as gj
from gru_jax import Key, Params
from gru_jax.app.problem import Trained
from gru_jax.app.tasks.language import LANGUAGE, count_tokens
from gru_jax.app.tasks.task import Facts
from gru_jax.app.tasks.texts import encode

BLOCK = 16
"""Tokens of one call: a screen shows them at once, and Python does not slow them down."""
COLDEST = 1e-30
"""A temperature that is 0 for logits of float32, but divides them."""


def draw(
    trained: Trained, prompt: str, length: int, temperature: float, seed: int
) -> Iterator[Sequence[int]]:
    """Yields the tokens that follow a prompt, a block at a time.

    Args:
        trained: a run of language.
        prompt: the text to go on with; "" is a new line.
        length: the number of tokens.
        temperature: 0 or more.
        seed: of the draws.

    Raises:
        ValueError: if the run is of another task, or an argument is out of range.
    """
    if trained.task.name != LANGUAGE.name:
        raise ValueError(f"sample: RUN must be a run of language, got one of {trained.task.name}.")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"sample: temperature must be a number from 0, got {temperature}.")
    if length < 1:
        raise ValueError(f"sample: length must be 1 or more, got {length}.")
    if not 0 <= seed < 1 << 32:
        raise ValueError(
            f"sample: seed must be a whole number from 0 to below {1 << 32}, got {seed}."
        )
    tokens, size = _read_prompt(trained.facts, prompt)
    return _blocks(trained.net, trained.params, tokens, size, length, temperature, seed)


def _read_prompt(facts: Facts, prompt: str) -> tuple[Int[np.ndarray, " tokens"], int]:
    """Returns the prompt's tokens, and the number of tokens to draw from: all but the unknown."""
    if facts["tokens"] == "bytes":
        return encode("", (prompt or "\n").encode()).astype(np.int32), count_tokens(facts)
    known = facts["vocabulary"]
    if unknown := sorted(set(prompt) - set(known)):
        raise ValueError(
            "sample: prompt must have characters of the training text, "
            f"got {', '.join(map(repr, unknown))}."
        )
    begin = prompt or ("\n" if "\n" in known else known[0])
    return encode(known, begin).astype(np.int32), len(known)


def _blocks(
    net: gj.Layer,
    params: Params,
    tokens: Int[np.ndarray, " tokens"],
    size: int,
    length: int,
    temperature: float,
    seed: int,
) -> Iterator[Sequence[int]]:
    logits, state = net.apply(params, tokens, key=None)
    carry, key = (logits[-1], state), jax.random.key(seed)
    for block, begin in enumerate(range(0, length, BLOCK)):
        keys = jax.random.split(jax.random.fold_in(key, block), BLOCK)
        carry, drawn = _draw_block(net, size, params, carry, keys, max(temperature, COLDEST))
        yield drawn[: length - begin].tolist()


@partial(jax.jit, static_argnums=(0, 1))
def _draw_block(
    net: gj.Layer,
    size: int,
    params: Params,
    carry: tuple[Array, Any],
    keys: Key,
    temperature: Float[Array, ""] | float,
) -> tuple[tuple[Array, Any], Int[Array, " tokens"]]:
    """Returns the logits and the state behind a block, and its tokens."""

    def step(carry: tuple[Array, Any], key: Key) -> tuple[tuple[Array, Any], Array]:
        logits, state = carry
        # The largest is zero before the division, so that a small temperature makes no NaN.
        gaps = logits[:size] - logits[:size].max()
        token = jax.random.categorical(key, gaps / temperature)
        return net.step(params, token, state), token

    return jax.lax.scan(step, carry, keys)


def as_text(facts: Facts, blocks: Iterable[Sequence[int]]) -> Iterator[str]:
    """Yields the text of each block, and a replacement for bytes left over at the end."""
    if facts["tokens"] == "characters":
        yield from ("".join(facts["vocabulary"][token] for token in block) for block in blocks)
        return
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    yield from (decoder.decode(bytes(block)) for block in blocks)
    yield decoder.decode(b"", final=True)
