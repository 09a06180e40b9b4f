"""Polyphonic music: which notes sound next?

notes that sound, 0 or 1 -> [GRU -> dropout]* -> dense -> logit of each note in the next step

The loss of a step is the sum over its notes, in nats: -log p(chord), with p the product of the
notes' probabilities. The first step of a piece is given, not predicted, as in the code of Chung
(github.com/jych/cle) and of Bai et al. (2018). Boulanger-Lewandowski et al. (2012) predict it, too.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Row
from gru_jax.app.tasks import task as tasks
from gru_jax.app.tasks.music_config import MusicConfig
from gru_jax.app.tasks.piano_rolls import Roll, check_roll, read_parts, read_pieces
from gru_jax.app.tasks.task import Facts, Goal, Input, Mean, Parts, Published, Table, Task

SHORTEST = 64
"""Length of the shortest bucket of pieces; each further one is twice as long."""
ROWS = 16
"""Pieces in a batch of evaluation, at most."""
CHUNG = "Chung et al. 2014"
PUBLISHED = {
    (229, 13807): ("JSB Chorales", {"GRU": 8.54, "LSTM": 8.67, "tanh": 9.10}),
    (694, 176561): ("Nottingham", {"tanh": 3.13, "LSTM": 3.20, "GRU": 3.23}),
}
"""Table 2 of Chung et al., by the pieces and the steps of the training part."""


def load(config: MusicConfig) -> Parts:
    """Returns the pieces of the three parts."""
    if not config.data:
        raise ValueError("train: --data FILE is missing; see gru-jax train music --help.")
    return Parts(*map(_dataset, read_parts(Path(config.data))))


def _dataset(pieces: list[Roll]) -> gj.Dataset:
    """Returns the pieces with targets of no meaning: the next chords are in the pieces."""
    return gj.Dataset(pieces, np.zeros(len(pieces), np.int32))


def learn(config: MusicConfig, parts: Parts) -> Facts:
    """Returns the name, and the probability of each note: at all, after itself, after silence.

    Each is (count + 1) / (cases + 2), so that none is certain.
    """
    before = np.concatenate([piece[:-1] for piece in parts.train.xs]).astype(float)
    after = np.concatenate([piece[1:] for piece in parts.train.xs]).astype(float)
    cases = {"anyhow": np.ones_like(before), "held": before, "struck": 1 - before}
    known = len(parts.train.xs), sum(map(len, parts.train.xs))
    return {
        "title": PUBLISHED[known][0] if known in PUBLISHED else Path(config.data).stem,
        **{n: (((c * after).sum(0) + 1) / (c.sum(0) + 2)).tolist() for n, c in cases.items()},
    }


def goal(facts: Facts) -> Goal:
    """Returns the words of the task."""
    title, rates = facts["title"], np.array([facts[n] for n in ("anyhow", "held", "struck")], float)
    if not isinstance(title, str) or rates.ndim != 2 or not ((rates > 0) & (rates < 1)).all():
        raise ValueError("its facts must have a title and three probabilities of each note")
    published = dict(PUBLISHED.values()).get(title, {})
    return Goal(
        title=title,
        units={"loss": "nats per step"},
        sample="piece",
        published=tuple(Published(name, value, CHUNG) for name, value in published.items()),
    )


def make_net(config: MusicConfig, facts: Facts) -> gj.Layer:
    """Builds the net: the notes that sound in, one logit a note out."""
    layer = gj.recurrent(gj.gru(config.hidden), drop_connect=config.drop_connect)
    layers = [layer, gj.dropout(config.dropout)] * config.layers
    return gj.stack(*layers, gj.dense(len(facts["anyhow"])))


def batches(config: MusicConfig, data: gj.Dataset, epoch: int | None) -> Iterator[gj.Batch]:
    """Yields batches of single steps: all but the last step in, all but the first as targets."""
    if epoch is None:
        stacks = gj.make_batches(data, min(len(data.xs), ROWS), steps=1)
    else:
        ends = _buckets(data)
        options: dict[str, Any] = {"boundaries": ends, "steps": 1}
        stacks = gj.make_batches(data, config.batch, seed=config.seed, epoch=epoch, **options)
    for xs, lengths, _, valid in stacks:
        notes = np.asarray(xs, np.float32)
        steps = np.maximum(np.asarray(lengths) - 1, 0)
        yield gj.Batch(notes[:, :, :-1], steps, notes[:, :, 1:], valid)


def count_steps(config: MusicConfig, data: gj.Dataset) -> int:
    """Returns the number of batches in an epoch: each bucket fills up its last one."""
    lengths, ends = [len(piece) for piece in data.xs], _buckets(data)
    counts = np.bincount(np.searchsorted(ends, lengths))
    return int(sum(math.ceil(count / config.batch) for count in counts))


def _buckets(data: gj.Dataset) -> list[int]:
    longest = max(map(len, data.xs))
    doublings = (SHORTEST << i for i in range(longest.bit_length()))
    return [*(length for length in doublings if length < longest), longest]


def loss(_: MusicConfig, __: Facts, logits: Array, batch: gj.Batch) -> Mean:
    """Returns the negative log-likelihood of a step in nats."""
    return tasks.weigh_steps(_losses(logits, batch), batch.lengths)


def metrics(_: Facts, logits: Array, batch: gj.Batch) -> dict[str, Mean]:
    """Returns the negative log-likelihood of a step in nats."""
    return {"loss": tasks.weigh_steps(_losses(logits, batch), batch.lengths)}


def _losses(logits: Array, batch: gj.Batch) -> Float[Array, "pieces time"]:
    return optax.sigmoid_binary_cross_entropy(logits, jnp.asarray(batch.targets)).sum(-1)


def predict(_: Facts, logits: Array, batch: gj.Batch) -> Float[Array, "pieces 1"]:
    """Returns the negative log-likelihood of each piece, its mean over the steps."""
    total, weight = tasks.weigh_steps(_losses(logits, batch), batch.lengths)
    return total.sum(1, keepdims=True) / jnp.maximum(weight.sum(1, keepdims=True), 1)


def tabulate(_: Any, source: Input, answers: np.ndarray) -> Table:
    """Returns a line for each piece."""
    rows = [[name, f"{nll:.6f}"] for name, (nll,) in zip(source.names, answers, strict=True)]
    return Table(["sequence", "nll"], rows)


def baselines(_: MusicConfig, facts: Facts, test: gj.Dataset) -> dict[str, Row]:
    """Returns the loss with each note's frequency, and with its frequency after itself."""
    before = np.concatenate([piece[:-1] for piece in test.xs])
    after = np.concatenate([piece[1:] for piece in test.xs])
    anyhow, held, struck = (np.array(facts[n]) for n in ("anyhow", "held", "struck"))
    rates = {
        "note_frequencies": np.broadcast_to(anyhow, after.shape),
        "same_chord_again": np.where(before == 1, held, struck),
    }
    return {
        name: {"loss": float(-np.log(np.where(after == 1, p, 1 - p)).sum(-1).mean())}
        for name, p in rates.items()
    }


def describe(config: MusicConfig, facts: Facts, parts: Parts) -> dict[str, str]:
    """Returns the task, the data and the model in words."""
    sizes = (f"{len(part.xs)} {name}" for name, part in parts._asdict().items())
    steps = sum(len(piece) for part in parts for piece in part.xs)
    layers = "1 layer" if config.layers == 1 else f"{config.layers} layers"
    return {
        "task": f"{facts['title']}: which notes sound next?",
        "data": f"{', '.join(sizes)} pieces, {steps:,} steps of {len(facts['anyhow'])} notes",
        "model": f"GRU, {layers} of {config.hidden}, dense",
    }


def read(_: MusicConfig, facts: Facts, path: Path) -> Input:
    """Returns the pieces of a user's file."""
    notes = len(facts["anyhow"])
    if path.suffix.lower() == ".mat":
        pieces = read_pieces(path, notes)
    else:
        pieces = gj.read_sequences(path, notes)
        pieces = {name: check_roll(f"{path}: {name}", xs, notes) for name, xs in pieces.items()}
    return Input(list(pieces), _dataset(list(pieces.values())), known=True)


MUSIC = Task(
    name="music",
    Config=MusicConfig,
    load=load,
    learn=learn,
    goal=goal,
    make_net=make_net,
    input_size=lambda facts: len(facts["anyhow"]),
    loss=loss,
    metrics=metrics,
    predict=predict,
    describe=describe,
    read=read,
    batches=batches,
    steps=count_steps,
    tabulate=tabulate,
    baselines=baselines,
)
