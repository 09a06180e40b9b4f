"""Pages of a run and of weights, by the command."""

import base64
import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
from forecast_files import COLUMNS, HORIZON, OPTIONS, on_grid, read_back
from made_up_tasks import SIGN, SumConfig
from refusals import refused

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import inference, pages
from gru_jax.app.cli import main
from gru_jax.app.problem import Trained
from gru_jax.app.tasks import forecast_page
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
    messages = {
        "empty": "empty must be the folder of a run, but has no config.json",
        "no": "RUN must be the folder of a run or a file of weights, but there is no",
    }
    for name, message in messages.items():
        assert main(["explain", str(tmp_path / name), *html]) == 2
        assert message in capsys.readouterr().err
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
    assert f"there is no {tmp_path / 'no.pt'}." in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_page_of_a_forecast_has_the_units_of_its_series(sales, tmp_path):
    """The page adds y of the last season, and so says what the backtest says."""
    rows, table = sales
    args = ["train", "forecast", "--data", str(table), *COLUMNS, *OPTIONS, "--epochs", "1"]
    assert main([*args, "--out", str(tmp_path / "run")]) == 0
    target = tmp_path / "page.html"
    assert main(["explain", str(tmp_path / "run"), "--html", str(target)]) == 0
    data, xs, title = read_page(target)
    trained, horizon = inference.load_trained(tmp_path / "run"), data["horizon"]
    outputs = np.asarray(trained.net.apply(trained.params, xs[None])[0][0])
    scaled = np.sort(outputs + xs[:, [horizon["base"]]], -1)[-HORIZON:]
    backtest = read_back(tmp_path / "run" / "backtest.csv")
    backtest = backtest[backtest["unique_id"] == "a"][-HORIZON:].reset_index()
    names = [f"gru_jax{band}" for band in ("-lo-95", "-lo-80", "", "-hi-80", "-hi-95")]
    np.testing.assert_allclose(
        horizon["center"] + horizon["scale"] * scaled, backtest[names], rtol=1e-5
    )
    assert horizon["names"] == ["2.5 %", "10 %", "50 %", "90 %", "97.5 %"]
    begin, y = backtest["ds"][0], on_grid(rows)["a"]
    known = horizon["past"] + horizon["truth"]
    expected = y[pd.Timestamp(horizon["times"][0]) : backtest["ds"].iloc[-1]]
    np.testing.assert_allclose(np.array(known, float), expected, rtol=1e-6)
    assert horizon["times"][len(horizon["past"])] == f"{begin:%Y-%m-%d}"
    assert title == f"Forecast of a from {begin:%Y-%m-%d}"

    ahead = ["--input", str(table), "--html", str(target)]
    assert main(["explain", str(tmp_path / "run"), *ahead]) == 0
    horizon = read_page(target)[0]["horizon"]
    assert horizon["truth"] == []
    assert horizon["times"][-HORIZON] == f"{y.index[-1] + pd.Timedelta(days=1):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2024-02-26", "2024-02-27"], None),
        (["371", "372"], None),
        (["2024-02-26T13:00:00Z", "2024-02-26T13:30:00Z"], ["2024-02-26 13:00Z"]),
        (["2024-02-26T13:00:00", "2024-02-26T13:30:00"], ["2024-02-26 13:00"]),
        (["2024-02-26T13:00:00", "2024-02-26T13:00:01"], ["2024-02-26 13:00:00"]),
        (["2024-02-26T13:00:00.000000", "2024-02-26T13:00:00.100000"], None),
    ],
)
def test_times_have_seconds_if_one_has(times, expected):
    expected = expected or [times[0].replace("T", " ")]
    assert forecast_page.shorten(times)[:1] == expected


def test_a_page_of_segrnn_is_refused():
    with refused("explain: --html cannot run segrnn, whose GRU reads segments of steps."):
        forecast_page.choose_window(SimpleNamespace(facts={"net": "segrnn"}), (None, None))


def test_a_longer_sequence_is_cut(tmp_path):
    net = gj.gru(2)
    interop.write(tmp_path / "net.onnx", net, net.init(jax.random.key(0), 1))
    np.savez(tmp_path / "in.npz", long=np.arange(2001.0)[:, None])
    args = ["--input", str(tmp_path / "in.npz"), "--html", str(tmp_path / "page.html")]
    assert main(["explain", str(tmp_path / "net.onnx"), *args]) == 0
    _, xs, title = read_page(tmp_path / "page.html")
    np.testing.assert_array_equal(xs[:, 0], np.arange(2000))
    assert title == "net.onnx, long, first 2,000 of 2,001 steps"
