"""The task of music: its numbers against NumPy, its files, and what it refuses."""

import csv
import io
import itertools
import json

import numpy as np
import pytest
import reference
from small_pieces import LENGTHS, NOTES, PARTS, write

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import problem
from gru_jax.app.cli import main
from gru_jax.app.tasks import music
from gru_jax.app.tasks.music import MUSIC, MusicConfig

SMALL = ["--hidden", "6", "--epochs", "3", "--batch", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "songs.mat", PARTS)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A small run, made by the command."""
    folder = tmp_path_factory.mktemp("runs") / "music"
    assert main(["train", "music", "--data", str(data), "--out", str(folder), *SMALL]) == 0
    return folder


def measure_by_hand(params, piece):
    """Returns the negative log-likelihood of each step but the first, by plain loops in float64."""
    cell, _, (W, b) = params
    h, losses = np.zeros(cell.b_r.shape, float), []
    for x, chord in zip(piece[:-1].astype(float), piece[1:], strict=True):
        *_, h = reference.gates(cell, x, h)
        p = reference.sigmoid(h @ np.asarray(W, float) + np.asarray(b, float))
        losses.append(
            -sum(np.log(q) if on else np.log(1 - q) for q, on in zip(p, chord, strict=True))
        )
    return losses


def test_the_result_is_the_mean_over_all_steps_of_all_pieces(run):
    _, params = interop.load(run / "best.safetensors")
    result = json.loads((run / "result.json").read_text())
    for part, name in (("testdata", "test_loss"), ("validdata", "validation_loss")):
        losses = [loss for piece in PARTS[part] for loss in measure_by_hand(params, piece)]
        assert len(losses) == sum(LENGTHS[part]) - len(LENGTHS[part])
        assert result[name] == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_baselines_are_counted_in_the_training_part(run):
    steps = [
        (before, after)
        for piece in PARTS["traindata"]
        for before, after in itertools.pairwise(piece)
    ]

    def share(note, cases):
        return (sum(after[note] for _, after in cases) + 1) / (len(cases) + 2)

    frequencies, again = [], []
    for piece in PARTS["testdata"]:
        for before, after in itertools.pairwise(piece):
            p = [share(n, steps) for n in range(NOTES)]
            q = [share(n, [s for s in steps if s[0][n] == before[n]]) for n in range(NOTES)]
            for losses, rates in ((frequencies, p), (again, q)):
                chord = zip(rates, after, strict=True)
                losses.append(-sum(np.log(r if on else 1 - r) for r, on in chord))
    result = json.loads((run / "result.json").read_text())
    assert result["test_loss_note_frequencies"] == pytest.approx(np.mean(frequencies), rel=1e-12)
    assert result["test_loss_same_chord_again"] == pytest.approx(np.mean(again), rel=1e-12)
    assert result["test_loss_same_chord_again"] < result["test_loss_note_frequencies"]


@pytest.mark.usefixtures("x64")
def test_the_loss_is_the_sum_over_notes_and_leaves_padding_out(rng):
    logits = rng.normal(size=(2, 4, NOTES))
    targets = (rng.random((2, 4, NOTES)) < 0.5).astype(float)
    batch = gj.Batch(targets, np.array([4, 1]), targets, np.ones(2, bool))
    p = 1 / (1 + np.exp(-logits))
    losses = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(-1)
    kept = [*losses[0], losses[1, 0]]
    for mean in (
        music.metrics({}, logits, batch)["loss"],
        music.loss(MusicConfig(), {}, logits, batch),
    ):
        assert float(mean.total.sum() / mean.weight.sum()) == pytest.approx(
            np.mean(kept), rel=1e-12
        )
    answers = music.predict({}, logits, batch)
    np.testing.assert_allclose(answers[:, 0], [losses[0].mean(), losses[1, 0]], rtol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_an_epoch_has_every_piece_once_with_its_next_steps(size):
    config, pieces = MusicConfig(batch=size), PARTS["traindata"]
    dataset = gj.Dataset(pieces, np.zeros(len(pieces)))
    batches = list(problem.unstack(MUSIC.batches(config, dataset, 1)))
    assert len(batches) == MUSIC.steps(config, dataset)
    found = []
    for batch in batches:
        assert len(batch.valid) == size
        for xs, length, targets, valid in zip(*batch, strict=True):
            if valid:
                np.testing.assert_array_equal(xs[1:length], targets[: length - 1])
                found.append(np.concatenate([xs[:1], targets[:length]]).astype("uint8"))
    assert sorted(map(bytes, found)) == sorted(map(bytes, pieces))
    assert {batch.xs.shape[1] + 1 for batch in batches} == {64, 128, 130}


def read_table(text):
    return {row["sequence"]: float(row["nll"]) for row in csv.DictReader(io.StringIO(text))}


def test_predict_says_how_likely_each_piece_is(run, data, tmp_path, capsys):
    _, params = interop.load(run / "best.safetensors")
    assert main(["predict", str(run), "--input", str(data)]) == 0
    table = read_table(capsys.readouterr().out)
    assert list(table) == [f"{name}[{i}]" for name, part in PARTS.items() for i in range(len(part))]
    for name, pieces in PARTS.items():
        for i, piece in enumerate(pieces):
            expected = np.mean(measure_by_hand(params, piece))
            assert table[f"{name}[{i}]"] == pytest.approx(expected, rel=1e-5)
    np.savez(tmp_path / "new.npz", a=PARTS["testdata"][0], b=PARTS["testdata"][1].astype(float))
    assert main(["predict", str(run), "--input", str(tmp_path / "new.npz")]) == 0
    again = read_table(capsys.readouterr().out)
    assert again["a"] == pytest.approx(table["testdata[0]"], rel=1e-5)
    assert again["b"] == pytest.approx(table["testdata[1]"], rel=1e-5)


def test_published_results_stand_beside_known_data(run, data, monkeypatch, tmp_path, capsys):
    assert main(["evaluate", str(run)]) == 0
    assert "Chung" not in capsys.readouterr().out
    known = len(PARTS["traindata"]), sum(LENGTHS["traindata"])
    monkeypatch.setitem(music.PUBLISHED, known, ("Known Songs", {"GRU": 1.25}))
    out = str(tmp_path / "x")
    assert main(["train", "music", "--data", str(data), "--out", out, *SMALL]) == 0
    text = capsys.readouterr().out
    assert "Known Songs: which notes sound next?" in text
    assert any(line.split()[:2] == ["GRU", "1.250"] for line in text.splitlines())


@pytest.mark.slow("traces a network")
def test_explain_and_convert_take_the_net(run, tmp_path, capsys):
    assert main(["explain", str(run)]) == 0
    assert "1 forward" in capsys.readouterr().out
    np.savez(tmp_path / "new.npz", a=PARTS["traindata"][1])
    assert main(["explain", str(run), "--input", str(tmp_path / "new.npz")]) == 0
    assert main(["convert", str(run), str(tmp_path / "net.safetensors")]) == 0


@pytest.mark.slow("trains a network")
def test_a_tune_is_learned(tmp_path):
    """Which of two chords follows a third depends on the one before: no note says it by itself."""
    a, b, c = np.eye(3, dtype="uint8")
    tune = np.array([a, c, b, b, c, a] * 6)
    pieces = [tune[i : i + 24] for i in range(6)]
    data = write(tmp_path / "tune.mat", dict.fromkeys(PARTS, pieces))
    out = tmp_path / "x"
    options = ["--epochs", "80", "--batch", "2", "--hidden", "8", "--dropout", "0"]
    assert main(["train", "music", "--data", str(data), "--out", str(out), *options]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["test_loss"] < 0.5 < 1 < result["test_loss_same_chord_again"]


def test_a_run_with_facts_that_lie_is_refused():
    facts = {"title": "x", "anyhow": [0.5], "held": [0.5], "struck": [0.5]}
    assert MUSIC.goal(facts).title == "x"
    for lie in ({"title": 3}, {"held": [1.0]}, {"held": [0.5, 0.5]}, {"struck": ["a"]}):
        with pytest.raises(ValueError, match=r"facts must have|could not convert|inhomogeneous"):
            MUSIC.goal(facts | lie)
