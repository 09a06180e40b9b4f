"""Reports and figures of a trained run, by the command and by themselves."""

import importlib.util
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from made_up_tasks import SIGN, SumConfig
from PIL import Image

import gru_jax as gj
from gru_jax.app import explain, figures, inference
from gru_jax.app.cli import main
from gru_jax.app.problem import Trained
from gru_jax.app.tasks.classifier import standardise

SIZE, LAYERS = 6, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small trained run, made by the command."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    args = ["--hidden", str(SIZE), "--layers", str(LAYERS), "--epochs", "2", "--batch", "81"]
    assert main(["train", "--out", str(folder), *args]) == 0
    return folder


@pytest.fixture(scope="module")
def found(folder):
    _, test = gj.load_japanese_vowels()
    trained = inference.load_trained(folder)
    cells, given = explain.inspect(trained, gj.take(test, np.arange(40)))
    assert given == 40
    return trained, test, cells


def test_each_cell_is_inspected_on_what_it_reads(found):
    trained, test, cells = found
    assert [(c.layer, c.direction) for c in cells] == [
        (layer, direction) for layer in (1, 2) for direction in ("forward", "backward")
    ]
    xs = standardise(trained.facts, gj.take(test, np.arange(40))).xs
    row = int(np.argmax([len(x) for x in xs]))
    read = xs[row]
    for layer in range(LAYERS):
        params, outputs = trained.params[1 + 2 * layer], []
        for each in cells[2 * layer : 2 * layer + 2]:
            want = reference.trace(
                getattr(params, each.direction),
                read[None],
                np.zeros((1, SIZE)),
                np.ones((1, len(read)), bool),
                reverse=each.direction == "backward",
            )
            for name in ("r", "z", "c", "h"):
                got = getattr(each.trace, name)[row, : len(read)]
                np.testing.assert_allclose(got, want[name][0], rtol=0, atol=1e-5)
            outputs.append(want["h"][0])
        read = np.concatenate(outputs, -1)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_gradients_are_those_of_the_loss_of_the_whole_network(found, direction):
    """A nudge of one state of the last layer goes through later states, pooling and head."""
    trained, test, cells = found
    own, other = cells[2:] if direction == "forward" else cells[:1:-1]
    assert own.direction == direction
    row, t = 3, 4
    length = len(test.xs[row])
    W, b = (np.asarray(a, float) for a in trained.params[-1])
    params = getattr(trained.params[3], direction)

    def loss(nudge):
        means = {other.direction: np.asarray(other.trace.h[row, :length], float).mean(0)}
        h, total = np.zeros(SIZE), np.zeros(SIZE)
        for step in range(length)[:: 1 if direction == "forward" else -1]:
            *_, h = reference.gates(params, np.asarray(own.trace.x[row, step], float), h)
            h = h + nudge * (step == t)
            total += h
        means[direction] = total / length
        logits = np.concatenate([means["forward"], means["backward"]]) @ W + b
        return np.log(np.exp(logits).sum()) - logits[test.targets[row]]

    slopes = [(loss(n) - loss(-n)) / 2e-5 for n in 1e-5 * np.eye(SIZE)]
    assert float(own.gradients[row, t]) == pytest.approx(np.linalg.norm(slopes), rel=1e-4)


@pytest.mark.slow("compiles the trace of a net")
def test_a_report_is_the_means_of_the_valid_steps(found):
    _, _, cells = found
    for each in cells[:2]:
        report, valid = explain.report(each), np.asarray(each.trace.valid)
        r, z = (np.asarray(a)[valid] for a in (each.trace.r, each.trace.z))
        memory = [
            -1 / np.log(1 - np.asarray(row[some], float)).mean(0)
            for row, some in zip(each.trace.z, valid, strict=True)
        ]
        want = {
            "reset_shut": (r < 0.1).mean(),
            "reset_open": (r > 0.9).mean(),
            "update_shut": (z < 0.1).mean(),
            "update_open": (z > 0.9).mean(),
            "memory": np.median(memory),
            "longest_memory": np.median([np.max(row) for row in memory]),
            "lyapunov": np.mean(each.exponents),
        }
        norms, last = np.asarray(each.gradients, float), valid.sum(1) - 1
        ratio = norms[:, 0] / norms[np.arange(len(norms)), last]
        turn = -1 if each.direction == "backward" else 1
        want["gradient"] = np.exp(np.log(ratio).mean()) ** turn
        for name, value in want.items():
            assert getattr(report, name) == pytest.approx(float(value), rel=1e-4), name
        assert report.lyapunov < 0


def test_sequences_of_two_steps_have_a_ratio_of_gradients_and_those_of_one_have_none(found):
    each = found[2][0]
    count, time = each.trace.valid.shape
    lengths = np.resize([1, 2, 3], count)
    valid = jnp.asarray(np.arange(time) < lengths[:, None])
    report = explain.report(each._replace(trace=each.trace._replace(valid=valid)))
    rows, norms = np.flatnonzero(lengths >= 2), np.asarray(each.gradients, float)
    ratios = norms[rows, 0] / norms[rows, lengths[rows] - 1]
    assert report.gradient == pytest.approx(np.exp(np.log(ratios).mean()), rel=1e-4)


@pytest.mark.slow("runs the whole command")
def test_the_command_prints_a_line_for_each_cell_and_draws_all_figures(folder, capsys):
    assert main(["explain", str(folder)]) == 0
    text = capsys.readouterr().out
    numbers = r"( +\d+\.\d%){4} +[\d.]+ +[\d.]+ +[\d.e+-]+ +[+-]\d\.\d{3}"
    for name in ("1 forward", "1 backward", "2 forward", "2 backward"):
        assert re.search(rf"^{name}{numbers}$", text.replace(" \n", "\n"), re.MULTILINE), text
    assert re.search(r"^sequences +370 *$", text, re.MULTILINE)
    assert "Figures of test utterance 8, speaker 1, 29 steps, 4 of them moving:" in text
    names = [f"gates_{i}_{way}.png" for i in (1, 2) for way in ("forward", "backward")]
    names += ["step.png", "timescales.png", "gradient_flow.png", "step.gif"]
    for name in names:
        assert str(folder / "figures" / name) in text
        with Image.open(folder / "figures" / name) as image:
            assert image.size[0] > 500
            assert getattr(image, "n_frames", 1) == (4 if name == "step.gif" else 1)
    kept = {"learning_curves.png", "confusion_matrix.png"}
    assert {path.name for path in (folder / "figures").iterdir()} == {*names, *kept}


def test_with_a_file_its_first_sequence_is_drawn(folder, tmp_path, capsys, monkeypatch):
    _, test = gj.load_japanese_vowels()
    np.savez(tmp_path / "in.npz", short=test.xs[0][:1], longer=test.xs[1])
    monkeypatch.setattr(figures, "draw_cells", lambda _goal, _found, *about: about)
    assert main(["explain", str(folder), "--input", str(tmp_path / "in.npz")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^sequences +2 *$", text, re.MULTILINE)
    assert "Figures of short, 1 step:" in text
    shown = [line.strip() for line in text.splitlines()[-3:]]
    assert shown == ["0", "short", str(folder / "figures" / "in")]


@pytest.mark.parametrize("columns", [60, 80])
def test_the_table_keeps_to_the_width_and_breaks_no_number(folder, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(figures, "draw_cells", lambda *_: [])
    assert main(["explain", str(folder)]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= columns
    shares, others = r"( +\d+\.\d%){4}", r" +[\d.]+ +[\d.]+ +[\d.e+-]+ +[+-]\d\.\d{3}"
    for name in ("1 forward", "1 backward", "2 forward", "2 backward"):
        rows = [line for line in lines if line.startswith(name)]
        forms = [shares + others] if columns == 80 else [shares, others]
        for row, form in zip(rows, forms, strict=True):
            assert re.fullmatch(name + form, row), row
    for word in ("r < 0.1", "z > 0.9", "memory", "longest", "gradient", "Lyapunov"):
        assert any(word in line for line in lines)


@pytest.mark.slow("compiles the trace of a net")
def test_of_too_many_steps_the_first_sequences_are_looked_at(found, monkeypatch):
    trained, test, _ = found
    monkeypatch.setattr(explain, "STEPS", 2 * max(len(test.xs[0]), len(test.xs[1])))
    assert len(explain.inspect(trained, test)[0][0].exponents) == 2
    monkeypatch.setattr(explain, "STEPS", 1)
    cells, given = explain.inspect(trained, test)
    assert (len(cells[0].exponents), given) == (1, 370)


def test_without_matplotlib_there_are_reports_alone(folder, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    assert main(["explain", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "No figures: they need matplotlib, pip install 'gru_jax[plot]'." in text
    assert "2 backward" in text


def test_labels_not_given_are_those_that_the_network_thinks_likeliest(found):
    trained, test, _ = found
    data = gj.take(test, np.arange(6))
    labels = np.argmax(inference.predict(trained, data), -1)

    def gradients(labels, known):
        cells, _ = explain.inspect(trained, data._replace(targets=labels), known=known)
        return cells[0].gradients

    likeliest = gradients(labels, known=True)
    np.testing.assert_array_equal(gradients((labels + 1) % 9, known=False), likeliest)
    assert not jnp.array_equal(gradients((labels + 1) % 9, known=True), likeliest)


@pytest.mark.slow("traces three layers")
def test_explain_sees_through_residuals_sums_and_stacks_in_stacks(rng):
    """The oracle is a loop over the steps, with a nudge added to each state."""
    inner = gj.stack(gj.residual(gj.recurrent(gj.gru(2))), gj.dropout(0.5))
    net = gj.stack(inner, gj.bidirectional(gj.gru(3), merge="sum"), gj.pool("mean"), gj.dense(2))
    params = net.init(jax.random.key(0), 2)
    x = rng.normal(size=(6, 2)).astype("float32")
    trained = Trained(SIGN, SumConfig(), {"scale": 1.0}, net, params)
    found, _ = explain.inspect(trained, gj.Dataset([x], np.array([1])))
    places = [(each.layer, each.direction) for each in found]
    assert places == [(1, "forward"), (2, "forward"), (2, "backward")]

    def loop(cell, params, xs, nudges, order=1):
        h, hs = jnp.zeros(nudges.shape[-1]), {}
        for t in range(6)[::order]:
            h = hs[t] = cell.step(params, xs[t], h) + nudges[t]
        return jnp.stack([hs[t] for t in range(6)])

    def loss(first, forward, backward):
        ys = x + loop(gj.gru(2), params[0][0], x, first)
        ahead = loop(gj.gru(3), params[1].forward, ys, forward)
        ys = ahead + loop(gj.gru(3), params[1].backward, ys, backward, -1)
        logits = ys.mean(0) @ params[3].W + params[3].b
        return jnp.log(jnp.exp(logits).sum()) - logits[1]

    slopes = jax.grad(loss, (0, 1, 2))(*(jnp.zeros((6, n)) for n in (2, 3, 3)))
    for each, slope in zip(found, slopes, strict=True):
        norms = np.linalg.norm(slope, axis=-1)
        np.testing.assert_allclose(each.gradients[0], norms, rtol=1e-4)


def test_explain_needs_a_recurrence():
    net = gj.stack(gj.dense(2), gj.pool("mean"))
    params = net.init(jax.random.key(0), 2)
    trained = Trained(SIGN, SumConfig(), {"scale": 1.0}, net, params)
    with pytest.raises(ValueError, match=r"^explain: net of sign must have a recurrent layer"):
        explain.inspect(trained, gj.Dataset([np.ones((3, 2), "float32")], np.array([1])))
