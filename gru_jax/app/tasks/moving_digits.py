"""Moving digits: ten frames seen, ten forecast.

frames -> blocks of pixels as channels -> [convolutional GRU]* -> convolution -> logits of the next
frame; after the frames seen, the net runs on its own output.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import gru_jax as gj
from gru_jax import Key, Params, Row
from gru_jax.app.tasks.digits_config import SIZE, DigitsConfig
from gru_jax.app.tasks.task import (
    Arrays,
    Facts,
    Goal,
    Input,
    Mean,
    Parts,
    Task,
    make_batches,
    weigh,
)

Part: TypeAlias = Literal["train", "validation", "test"]
SEEN, FUTURE = 10, 10
HELD_OUT = 200
"""Sequences to validate with, and to test with."""
SHOWN = 2
"""Test sequences that are animated."""
DARK = -4.0
"""First logit of every pixel, as most are black."""
CLEAR = 1e-3
"""Baselines are clipped to [CLEAR, 1 - CLEAR]: a wrong 0 or 1 has an infinite cross entropy."""


def load(config: DigitsConfig) -> Parts:
    """Returns the first epoch's training sequences, and those held out."""
    # Always the same sequences are held out, so that runs compare.
    held_out = (_dataset(_draw(HELD_OUT, 0, part)) for part in ("validation", "test"))
    return Parts(_draw_epoch(config, 0), *held_out)


def batches(config: DigitsConfig, data: gj.Dataset, epoch: int | None) -> Iterator[gj.Batch]:
    """Yields an epoch's training sequences, drawn anew, or the data, for evaluation."""
    return make_batches(config, data if epoch is None else _draw_epoch(config, epoch), epoch)


def _draw_epoch(config: DigitsConfig, epoch: int) -> gj.Dataset:
    return _dataset(_draw(config.sequences, [config.seed, epoch], "train"))


def _draw(cases: int, seed: int | list[int], part: Part) -> gj.MovingDigits:
    return gj.draw_moving_digits(cases, seed=seed, part=part, seen=SEEN, future=FUTURE, size=SIZE)


def _dataset(digits: gj.MovingDigits) -> gj.Dataset:
    """Returns the frames seen, and for targets every frame's next one."""
    return gj.Dataset(list(digits.frames[:, :SEEN]), digits.frames[:, 1:])


def make_net(config: DigitsConfig, _: Facts) -> gj.Layer:
    """Builds the net: frames in, the logits of each next frame out."""
    if SIZE % config.block:
        raise ValueError(f"train: block must divide {SIZE}, got {config.block}.")
    cell = gj.conv_gru(config.channels, coordinates=config.coordinates)
    return gj.stack(
        gj.space_to_depth(config.block),
        *[gj.recurrent(cell)] * config.layers,
        gj.conv(config.block**2, bias_init=jax.nn.initializers.constant(DARK)),
        gj.depth_to_space(config.block),
    )


def apply(
    net: gj.Layer, params: Params, batch: gj.Batch, carry: Any, key: Key | None
) -> tuple[Array, Any]:
    """Returns the logits of the frames after the first: of those seen, then of the future."""
    steps: dict[str, Any] = {"steps": FUTURE, "feedback": "sigmoid", "lengths": batch.lengths}
    result = gj.forecast(net, params, batch.xs, key=key, **steps)
    return jnp.concatenate([result.ys[:, :-1], result.future], axis=1), carry


def loss(_: DigitsConfig, __: Facts, logits: Array, batch: gj.Batch) -> Mean:
    """Returns the cross entropy in nats, mean over the pixels of all frames but the first."""
    entropy = optax.sigmoid_binary_cross_entropy(logits, jnp.asarray(batch.targets))
    return weigh(entropy.mean((-4, -3, -2, -1)), batch.valid)


def metrics(_: Facts, logits: Array, batch: gj.Batch) -> dict[str, Mean]:
    """Returns the squared error and the cross entropy of a future frame, sums over its pixels."""
    logits, frames = logits[:, -FUTURE:], jnp.asarray(batch.targets)[:, -FUTURE:]
    errors = gj.squared_error(jax.nn.sigmoid(logits), frames)
    entropy = optax.sigmoid_binary_cross_entropy(logits, frames)
    values = {"mse": errors, "bce": entropy}
    return {name: weigh(_per_frame(each), batch.valid) for name, each in values.items()}


def _per_frame(pixels: Any) -> Any:
    """Returns the sum over a frame's pixels, mean over the frames."""
    return pixels.sum((-3, -2, -1)).mean(-1)


def predict(_: Facts, logits: Array, __: gj.Batch) -> Float[Array, "sequences future size size 1"]:
    """Returns the future frames."""
    return jax.nn.sigmoid(logits[:, -FUTURE:])


def baselines(_: DigitsConfig, __: Facts, test: gj.Dataset) -> dict[str, Row]:
    """Returns the metrics of forecasts that need no training.

    Black frames; the last frame again; and the true digits, had they kept their velocity and met no
    wall.
    """
    digits, truth = _draw(HELD_OUT, 0, "test"), test.targets[:, -FUTURE:]
    last = np.broadcast_to(digits.frames[:, SEEN - 1 : SEEN], truth.shape)
    forecasts = {
        "black_frames": np.zeros_like(truth),
        "last_frame": last,
        "constant_velocity": digits.straight,
    }
    rows = {}
    for name, frames in forecasts.items():
        sure = np.clip(frames, CLEAR, 1 - CLEAR)
        entropy = -truth * np.log(sure) - (1 - truth) * np.log(1 - sure)
        errors = {"mse": (frames - truth) ** 2, "bce": entropy}
        rows[name] = {key: float(_per_frame(e).mean()) for key, e in errors.items()}
    return rows


def describe(config: DigitsConfig, _: Facts, __: Parts) -> dict[str, str]:
    """Returns the task, the data and the model in words."""
    pixels = SIZE // config.block
    layers = "1 layer" if config.layers == 1 else f"{config.layers} layers"
    return {
        "task": f"moving digits: {SEEN} frames seen, {FUTURE} to forecast",
        "data": f"{config.sequences} sequences drawn anew each epoch, {HELD_OUT} to validate, "
        f"{HELD_OUT} to test, of {SIZE} x {SIZE} pixels",
        "model": f"convolutional GRU{' with coordinates' * config.coordinates}, {layers} of "
        f"{config.channels} channels on {pixels} x {pixels} pixels",
    }


def read(_: DigitsConfig, __: Facts, path: Path) -> Input:
    """Returns the frames in a user's file, without the frames that follow."""
    sequences = gj.read_sequences(path, 1, (SIZE, SIZE))
    targets = np.zeros((len(sequences), SEEN + FUTURE - 1, SIZE, SIZE, 1), np.float32)
    return Input(list(sequences), gj.Dataset(list(sequences.values()), targets), known=False)


def draw_forecasts(trained: Any, test: gj.Dataset, folder: Path) -> list[Path]:
    """Animates two test sequences: input, gates of the first layer, forecast and truth.

    Of each gate, the channel that varies most.
    """
    from gru_jax import plot

    net, params = trained.net, trained.params
    seen, truth = np.stack(test.xs[:SHOWN]), test.targets[:SHOWN]
    result = gj.forecast(net, params, seen, steps=FUTURE, feedback="sigmoid")
    future = jax.nn.sigmoid(result.future)
    xs = jnp.concatenate([seen, future[:, :-1]], axis=1)
    logits, _ = net.apply(params, xs, key=None)
    gates = gj.trace(net, params, xs, key=None)[1].gates
    panels = {"input": xs[..., 0]}
    for name, gate in {"update": gates.z, "reset": gates.r}.items():
        channel = int(gate.std((0, 1, 2, 3)).argmax())
        panels[f"{name} gate, channel {channel}"] = gate[..., channel]
    panels |= {"forecast": jax.nn.sigmoid(logits)[..., 0], "truth": truth[..., 0]}
    steps = [
        f"reads {'frame' if t <= SEEN else 'its forecast of frame'} {t}, forecasts frame {t + 1}"
        for t in range(1, SEEN + FUTURE)
    ]
    images = {name: _pile(images) for name, images in panels.items()}
    moving = plot.video(images, columns=len(images), labels=steps)
    plot.save_gif(moving, folder / "forecast.gif", dpi=68)  # small enough for a page
    return [folder / "forecast.gif"]


def _pile(
    images: Float[Arrays, "sequences time height width"],
) -> Float[np.ndarray, "time _ width"]:
    """Puts sequences one below the other, with a line of nothing between them."""
    line = np.full((images.shape[1], images.shape[2] // 8, images.shape[3]), np.nan)
    piles = [piece for each in np.asarray(images, float) for piece in (line, each)]
    return np.concatenate(piles[1:], axis=1)


MOVING_DIGITS = Task(
    name="moving_digits",
    Config=DigitsConfig,
    load=load,
    learn=lambda *_: {},
    goal=lambda _: Goal(
        title="moving digits",
        monitor="mse",
        units={"mse": "squared intensity per frame", "bce": "nats per frame"},
        target="frame",
    ),
    make_net=make_net,
    input_size=lambda _: 1,
    loss=loss,
    metrics=metrics,
    predict=predict,
    describe=describe,
    read=read,
    batches=batches,
    steps=lambda config, _: math.ceil(config.sequences / config.batch),
    apply=apply,
    baselines=baselines,
    figures=draw_forecasts,
    hidden_because="whose inputs are images; its gates are animated in the run's figures/",
)
