"""The task of moving digits: its numbers against NumPy, its files, and what it refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from refusals import refused

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import inference, runs
from gru_jax.app.cli import main
from gru_jax.app.tasks.moving_digits import MOVING_DIGITS, DigitsConfig, apply, metrics
from gru_jax.data.moving_digits import draw_moving_digits

TINY = {"sequences": 8, "epochs": 2, "channels": 4, "block": 8, "batch": 4}
OPTIONS = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run with coordinates, made by the command."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "moving_digits", "--out", str(folder), "--coordinates", *OPTIONS]) == 0
    return folder


def per_frame(frames, truth, least=1e-3):
    """Returns the squared error and the cross entropy of a frame."""
    sure = np.clip(frames.astype(float), least, 1 - least)
    entropy = -truth * np.log(sure) - (1 - truth) * np.log(1 - sure)
    return ((frames - truth) ** 2).sum((2, 3, 4)).mean(), entropy.sum((2, 3, 4)).mean()


def test_the_result_stands_beside_its_baselines(run):
    result = json.loads((run / "result.json").read_text())
    digits = draw_moving_digits(200, seed=0, part="test")
    seen, truth = digits.frames[:, :10], digits.frames[:, 10:].astype(float)
    trained = inference.load_trained(run)
    future = inference.predict(trained, trained.task.load(trained.config).test)
    frames = {
        "": future,
        "_black_frames": np.zeros_like(truth),
        "_last_frame": np.broadcast_to(seen[:, -1:], truth.shape),
        "_constant_velocity": digits.straight,
    }
    for name, forecast in frames.items():
        mse, bce = per_frame(forecast, truth, 1e-3 if name else 1e-30)
        np.testing.assert_allclose(result[f"test_mse{name}"], mse, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(result[f"test_bce{name}"], bce, rtol=1e-5, err_msg=name)
    assert result["test_mse_constant_velocity"] < result["test_mse_last_frame"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    with Image.open(run / "figures/forecast.gif") as image:
        assert image.n_frames == 19


def batch_of(xs, targets=None):
    return gj.Batch(xs, np.full(len(xs), xs.shape[1]), targets, np.ones(len(xs), bool))


def test_the_net_foretells_from_its_own_frames(rng):
    """The oracle is the net over seen frames and its own; it runs no step of `forecast`."""
    net = MOVING_DIGITS.make_net(DigitsConfig(**TINY), {})
    params = net.init(jax.random.key(0), 1)
    xs = rng.uniform(size=(2, 10, 32, 32, 1)).astype(np.float32)
    logits, _ = apply(net, params, batch_of(xs), (), None)
    assert logits.shape == (2, 19, 32, 32, 1)
    frames = jnp.concatenate([xs, jax.nn.sigmoid(logits[:, 9:-1])], axis=1)
    np.testing.assert_allclose(net.apply(params, frames)[0], logits, rtol=1e-4, atol=1e-5)


def test_metrics_are_of_the_future_alone(rng):
    logits = rng.normal(size=(3, 19, 4, 4, 1)).astype(np.float32)
    frames = rng.uniform(size=logits.shape).astype(np.float32)
    p = 1 / (1 + np.exp(-logits[:, 9:].astype(float)))
    truth = frames[:, 9:]
    entropy = -truth * np.log(p) - (1 - truth) * np.log(1 - p)
    values = metrics({}, logits, batch_of(frames[:, :10], frames))
    for name, pixels in {"mse": (p - truth) ** 2, "bce": entropy}.items():
        expected = pixels.sum((2, 3, 4)).mean(1)
        np.testing.assert_allclose(values[name].total, expected, rtol=1e-5)
        np.testing.assert_array_equal(values[name].weight, [1, 1, 1])


def test_every_epoch_has_sequences_of_its_own_and_every_seed():
    config = DigitsConfig(**TINY)
    data = MOVING_DIGITS.load(config).train

    def draw(config, epoch):
        return next(MOVING_DIGITS.batches(config, data, epoch)).xs

    first, again, second = (draw(config, epoch) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    other = draw(DigitsConfig(**TINY, seed=1), 0)
    assert (first != other).any()
    test, same = (MOVING_DIGITS.load(DigitsConfig(**TINY, seed=s)).test.xs[0] for s in (0, 1))
    np.testing.assert_array_equal(test, same)


@pytest.mark.slow("trains a network")
def test_resuming_draws_the_same_sequences(run, tmp_path):
    config = DigitsConfig(**TINY, coordinates=True)
    part, _ = runs.begin(tmp_path / "x", MOVING_DIGITS, config)
    calls = iter(range(9))
    _, reason = runs.train(part, lambda _: None, lambda: next(calls) == 1)
    assert reason == "stopped"
    assert main(["train", "--resume", "--out", str(tmp_path / "x")]) == 0
    best = [interop.load(each / "best.safetensors")[1] for each in (run, tmp_path / "x")]
    for one, other in zip(*map(jax.tree.leaves, best), strict=True):
        np.testing.assert_array_equal(one, other)


def test_predict_and_evaluate_take_images(run, tmp_path, capsys):
    frames = draw_moving_digits(2, seed=5, future=0).frames
    np.savez(tmp_path / "in.npz", both=frames, short=frames[0, :3])
    assert main(["predict", str(run), "--input", str(tmp_path / "in.npz")]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["sequence", "both[0]", "both[1]", "short"]
    short = gj.Dataset([frames[0, :3]], np.zeros((1, 19, 32, 32, 1), np.float32))
    expected = inference.predict(inference.load_trained(run), short)
    np.testing.assert_allclose(np.array(rows[3][1:], float), expected.ravel(), rtol=1e-3, atol=1e-6)
    assert main(["evaluate", str(run)]) == 0
    text = capsys.readouterr().out
    for word in (
        "Test mse on moving digits, squared intensity per frame",
        "last frame",
        "black frames",
        "lower is better",
    ):
        assert word in text
    np.savez(tmp_path / "flat.npz", a=np.ones((3, 32)))
    assert main(["predict", str(run), "--input", str(tmp_path / "flat.npz")]) == 2
    message = "sequence a must be [time, 32, 32, 1] with one step or more, got [3, 32]."
    assert message in capsys.readouterr().err


def test_what_has_no_meaning_for_images_is_refused(run, tmp_path, capsys):
    assert main(["explain", str(run)]) == 2
    message = (
        "explain: task must have sequences of vectors or tokens, got moving_digits, whose inputs "
        "are images"
    )
    assert message in capsys.readouterr().err
    with refused("train: block must divide 32, got 3."):
        MOVING_DIGITS.make_net(DigitsConfig(block=3), {})
    (tmp_path / "in.csv").write_text("1,2\n")
    with refused(f"{tmp_path / 'in.csv'} must end in .npz."):
        gj.read_sequences(tmp_path / "in.csv", 1, (32, 32))
