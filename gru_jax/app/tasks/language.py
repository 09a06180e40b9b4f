"""Language: which character comes next?

characters or bytes -> embed -> [GRU -> dropout]* -> dense -> logit of each next one

Training reads the text in parallel streams, chunk by chunk, and carries the state from chunk to
chunk (truncated backpropagation). Evaluation reads a part in order, in one stream.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Key, Params, Row
from gru_jax.app.tasks import streams
from gru_jax.app.tasks import task as tasks
from gru_jax.app.tasks.language_config import LanguageConfig
from gru_jax.app.tasks.streams import Passage, TextBatch
from gru_jax.app.tasks.task import Facts, Goal, Input, Mean, Parts, Table, Task
from gru_jax.app.tasks.texts import BYTES, encode, measure_ngrams, read_text

MODELS = {"small": (32, 128, 1), "medium": (64, 512, 1), "large": (128, 768, 2)}
"""Embedding, state and layers."""
ORDER, COUNTED = 4, 5_000_000
"""Characters before, and training characters counted, in the n-grams of the baseline."""


def load(config: LanguageConfig) -> Parts:
    """Returns the beginning of the text to train on, the part behind it, and the end."""
    if not config.data:
        raise ValueError("train: --data FILE is missing; see gru-jax train language --help.")
    text = read_text(Path(config.data), config.tokens)
    sizes = [round(share * len(text)) for share in (config.validation, config.test)]
    cuts = len(text) - sum(sizes), len(text) - sizes[1]
    parts = text[: max(cuts[0], 0)], text[max(cuts[0], 0) : cuts[1]], text[cuts[1] :]
    needed = config.batch * config.chunk + 1
    for name, part, least in zip(Parts._fields, parts, (needed, 2, 2), strict=True):
        if len(part) < least:
            why = f" for {config.batch} streams of {config.chunk}" * (name == "train")
            hint = "; try a smaller --batch or --chunk" * (name == "train")
            raise ValueError(
                f"{config.data}: the {name} part must have {least} {config.tokens} or more{why}, "
                f"got {len(part)} of {len(text)}{hint}."
            )
    return Parts(*map(streams.cut, parts))


def learn(config: LanguageConfig, parts: Parts) -> Facts:
    """Returns the kind of the tokens and the vocabulary of the training part."""
    known = "" if config.tokens == "bytes" else "".join(sorted(set(parts.train.text)))
    return {"title": Path(config.data).name, "tokens": config.tokens, "vocabulary": known}


def goal(facts: Facts) -> Goal:
    """Returns the words of the task."""
    title, kind, known = facts["title"], facts["tokens"], facts["vocabulary"]
    texts = all(isinstance(each, str) for each in (title, known))
    if not texts or kind not in ("characters", "bytes") or len(set(known)) < len(known):
        raise ValueError("its facts must have a title, tokens and a vocabulary")
    units = {"loss": f"nats per {kind[:-1]}", "bpc": f"bits per {kind[:-1]}"}
    return Goal(title=title, monitor="bpc", units=units, sample="segment")


def count_tokens(facts: Facts) -> int:
    """Returns the number of different tokens, the one for unknown characters included."""
    return BYTES if facts["tokens"] == "bytes" else len(facts["vocabulary"]) + 1


def make_net(config: LanguageConfig, facts: Facts) -> gj.Layer:
    """Builds the net: tokens in, one logit a token out."""
    size, (embed, hidden, layers) = count_tokens(facts), sizes(config)
    layer = gj.recurrent(gj.gru(hidden), drop_connect=config.drop_connect)
    middle = [layer, gj.dropout(config.dropout)] * layers
    return gj.stack(gj.embed(size, embed), *middle, gj.dense(size))


def sizes(config: LanguageConfig) -> tuple[int, int, int]:
    """Returns features of a character, features of the state, and layers."""
    embed, hidden, layers = MODELS[config.model]
    return config.embed or embed, config.hidden or hidden, config.layers or layers


def prepare(facts: Facts, passage: Passage) -> Passage:
    """Returns the tokens of a text."""
    return passage._replace(text=encode(facts["vocabulary"], passage.text))


def batches(config: LanguageConfig, data: Passage, epoch: int | None) -> Iterator[TextBatch]:
    """Yields an epoch's chunks of all streams or, for evaluation, the segments in order."""
    if epoch is None:
        return streams.read_in_order(data)
    return streams.read_streams(data, config.batch, config.chunk, config.chunks, epoch)


def apply(
    net: gj.Layer, params: Params, batch: TextBatch, carry: Any, key: Key | None
) -> tuple[Array, Any]:
    """Returns the logits of the next tokens, and the state behind the batch."""
    limits = {"lengths": batch.lengths, "resets": batch.resets}
    return net.apply(params, batch.xs, carry, key=key, **limits)


def loss(_: LanguageConfig, __: Facts, logits: Array, batch: TextBatch) -> Mean:
    """Returns the cross entropy in nats."""
    return tasks.weigh_steps(gj.cross_entropy(logits, batch.targets), batch.lengths)


def metrics(_: Facts, logits: Array, batch: TextBatch) -> dict[str, Mean]:
    """Returns the cross entropy in nats and in bits."""
    nats, weight = tasks.weigh_steps(gj.cross_entropy(logits, batch.targets), batch.lengths)
    return {"loss": Mean(nats, weight), "bpc": Mean(nats / math.log(2), weight)}


def predict(facts: Facts, logits: Array, batch: TextBatch) -> Float[Array, "segments 3"]:
    """Returns of each segment its bits per token, its tokens, and how many are unknown."""
    bits, counted = metrics(facts, logits, batch)["bpc"]
    unknown = counted & (jnp.asarray(batch.targets) == len(facts["vocabulary"]))
    if facts["tokens"] == "bytes":
        unknown &= False
    count = counted.sum(1)
    return jnp.stack([bits.sum(1) / jnp.maximum(count, 1), count, unknown.sum(1)], 1)


def tabulate(_: Any, source: Input, answers: np.ndarray) -> Table:
    """Returns a line for each segment."""
    rows = [
        [name, f"{bits:.4f}", f"{count:.0f}", f"{unknown:.0f}"]
        for name, (bits, count, unknown) in zip(source.names, answers, strict=True)
    ]
    return Table(["segment", "bpc", "tokens", "unknown"], rows)


def baselines(config: LanguageConfig, facts: Facts, test: Passage) -> dict[str, Row]:
    """Returns the bits per token under n-grams of the training part's end."""
    train = prepare(facts, load(config).train).text[-COUNTED:]
    tokens, size = prepare(facts, test).text, count_tokens(facts)
    first, *_, last = measure_ngrams(train, tokens, size, ORDER)
    names = {"1-gram": first, f"{ORDER + 1}-gram": last}
    return {name: {"bpc": bits, "loss": bits * math.log(2)} for name, bits in names.items()}


def describe(config: LanguageConfig, facts: Facts, parts: Parts) -> dict[str, str]:
    """Returns the task, the data, unknown characters and the model in words."""
    kind, (embed, hidden, layers) = facts["tokens"], sizes(config)
    counts = {name: len(part.text) for name, part in parts._asdict().items()}
    unknown = {
        name: int((prepare(facts, part).text == len(facts["vocabulary"])).sum())
        for name, part in parts._asdict().items()
        if kind == "characters" and name != "train"
    }
    said = " and ".join(f"{count} of {name}" for name, count in unknown.items())
    return {
        "task": f"{facts['title']}: which {kind[:-1]} comes next?",
        "data": ", ".join(f"{n:,} {name}" for name, n in counts.items()) + f" {kind}",
        **({"unknown": f"{said} are not in the training part"} if sum(unknown.values()) else {}),
        "model": f"embedding of {count_tokens(facts)} {kind} in {embed}, GRU, "
        f"{'1 layer' if layers == 1 else f'{layers} layers'} of {hidden}, dense",
        "epoch": f"{config.chunks} chunks of {config.batch} streams of {config.chunk} {kind}: "
        f"{config.chunks * config.batch * config.chunk / counts['train']:.2f} of the training part",
    }


def read(_: LanguageConfig, facts: Facts, path: Path) -> Input:
    """Returns the lines of a user's file, long ones in segments; the state goes on."""
    text = read_text(path, facts["tokens"])
    newline: Any = b"\n" if isinstance(text, bytes) else "\n"
    names, ends, end = [], [], 0
    for number, line in enumerate(text.split(newline), 1):
        length = min(len(line) + 1, len(text) - end)
        for begin in range(0, length, streams.SEGMENT):
            names.append(f"line {number}" + f" from {begin + 1}" * (begin > 0))
            ends.append(end + min(begin + streams.SEGMENT, length))
        end += length
    return Input(names, Passage(text, ends), known=True)


LANGUAGE = Task(
    name="language",
    Config=LanguageConfig,
    load=load,
    learn=learn,
    goal=goal,
    make_net=make_net,
    input_size=count_tokens,
    loss=loss,
    metrics=metrics,
    predict=predict,
    describe=describe,
    read=read,
    prepare=prepare,
    batches=batches,
    steps=lambda config, _: config.chunks,
    apply=apply,
    carry=lambda net, params, rows: net.initial_state(params, (rows,)),
    tabulate=tabulate,
    baselines=baselines,
)
