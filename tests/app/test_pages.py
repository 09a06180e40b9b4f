"""Pages of a run and of weights, by the command."""

import base64
import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from made_up_tasks import SIGN, SumConfig

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import inference, pages
from gru_jax.app.cli import main
from gru_jax.app.problem import Trained
from gru_jax.app.tasks.classifier import standardise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small trained run, made by the command."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    args = ["--hidden", "4", "--layers", "1", "--epochs", "1", "--batch", "81"]
    assert main(["train", "--out", str(folder), *args]) == 0
    return folder


def read_page(path):
    """Returns the data of a page, and its title."""
    text = path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    xs = np.frombuffer(base64.b64decode(data["xs"]["values"]), "<f4")
    return data, xs.reshape(-1, data["xs"]["size"]), re.search("<h1>(.*)</h1>", text)[1]


def test_a_page_runs_the_net_on_the_longest_sequence(folder, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["explain", str(folder), "--html", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Wrote a page of {path.stat().st_size / 1000:.0f} kB. Open it in a browser:",
        f"  {path}",
    ]
    data, xs, title = read_page(path)
    _, test = gj.load_japanese_vowels()
    trained = inference.load_trained(folder)
    np.testing.assert_array_equal(xs, standardise(trained.facts, gj.take(test, [7])).xs[0])
    assert title == "JapaneseVowels, test utterance 8, speaker 1"
    assert data["classes"] == list("123456789")
    assert data["inputs"] == [f"LPC {i + 1}" for i in range(12)]


def test_a_page_is_of_a_run_or_of_weights_and_a_report_of_a_run(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    html = ["--html", str(tmp_path / "page.html")]
    for name in ("empty", "missing"):
        assert main(["explain", str(tmp_path / name), *html]) == 2
        assert f"{name} must be the folder of a run, but has no config.json" in (
            capsys.readouterr().err
        )
    net = gj.stack(gj.dropout(0.1), gj.embed(7, 4), gj.recurrent(gj.gru(3)))
    path = tmp_path / "net.safetensors"
    interop.write(path, net, net.init(jax.random.key(0), 7))
    assert main(["explain", str(path)]) == 2
    assert "net.safetensors; for a file of weights, give --html PAGE." in capsys.readouterr().err
    assert main(["explain", str(path), *html]) == 2
    message = "net must take vectors of a fixed size, got (); for other inputs, give the folder of"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("first", [gj.gaussian_noise(0.8), gj.dense(3)])
def test_a_page_of_windows_names_the_inputs_that_the_first_cell_reads(first, tmp_path, monkeypatch):
    net = gj.stack(first, gj.recurrent(gj.gru(4)), gj.dense(2))
    facts, windows = {"inputs": ["y", "day"]}, np.random.default_rng(0).random((3, 6, 2), "float32")
    trained = Trained(SIGN, SumConfig(), facts, net, net.init(jax.random.key(0), 2))
    batch = SimpleNamespace(xs=windows, lengths=np.array([2, 6, 4]))
    monkeypatch.setattr(inference, "load_trained", lambda _: trained)
    monkeypatch.setattr(pages, "take", lambda *_: (batch, 3))
    pages.of_run(tmp_path, None).save(tmp_path / "page.html")
    data, xs, _ = read_page(tmp_path / "page.html")
    assert data["inputs"] == (["y", "day"] if first == gj.gaussian_noise(0.8) else [])
    np.testing.assert_array_equal(xs, windows[1])


def test_a_page_of_a_file_shows_its_first_sequence(folder, tmp_path):
    _, test = gj.load_japanese_vowels()
    np.savez(tmp_path / "in.npz", short=test.xs[0][:2], longer=test.xs[1])
    args = ["--input", str(tmp_path / "in.npz"), "--html", str(tmp_path / "page.html")]
    assert main(["explain", str(folder), *args]) == 0
    _, xs, title = read_page(tmp_path / "page.html")
    assert xs.shape == (2, 12)
    assert title == "JapaneseVowels, short"


def test_a_page_of_weights_runs_on_noise_or_on_a_file(tmp_path, capsys):
    net = gj.bidirectional(gj.gru(4, reset="after"))
    interop.write(tmp_path / "net.onnx", net, net.init(jax.random.key(0), 3))
    args = ["explain", str(tmp_path / "net.onnx"), "--html", str(tmp_path / "page.html")]
    assert main(args) == 0
    data, xs, title = read_page(tmp_path / "page.html")
    assert (data["net"]["kind"], xs.shape, title) == (
        "bidirectional",
        (30, 3),
        "net.onnx, on noise",
    )
    np.savez(tmp_path / "in.npz", mine=np.ones((5, 3)))
    assert main([*args, "--input", str(tmp_path / "in.npz")]) == 0
    _, xs, title = read_page(tmp_path / "page.html")
    np.testing.assert_array_equal(xs, np.ones((5, 3)))
    assert title == "net.onnx, mine"
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "no.pt"), "--html", str(tmp_path / "x.html")]) == 2
    assert f"no file {tmp_path / 'no.pt'}" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
