"""The code of the pages runs, and does what they say.

Every `python` block runs, from top to bottom, in one namespace for each page. A fragment that
cannot run is marked `py`.
"""

import contextlib
import io
import math
import re
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from pages import DOCUMENTS, ROOT, blocks, read

import gru_jax as gj
from gru_jax.app.cli import main
from gru_jax.app.tasks.classify import CLASSIFY, ClassifyConfig
from gru_jax.kernels.cpu import library


class Page(NamedTuple):
    """What a page's code has left behind."""

    names: dict
    files: set
    printed: str


def check_readme(page):
    assert page.names["hs"].shape == (32, 100, 64)
    grads, params = (jax.tree.map(np.shape, page.names[name]) for name in ("grads", "params"))
    assert grads == params


def check_cells(page):
    np.testing.assert_allclose(page.names["h_next"], page.names["hs"][:, 0], atol=1e-6)


def check_sequences(page):
    padding = np.arange(100) >= np.asarray(page.names["lengths"])[:, None]
    assert padding.any()
    np.testing.assert_array_equal(np.any(page.names["hs"] != 0, -1), ~padding)


def check_layers(page):
    assert page.names["ys"].shape == (32, 100, 9)
    np.testing.assert_allclose(page.names["y"], page.names["ys"][:, 0], atol=1e-5)
    assert page.names["logits"].shape == (32, 100, 50)


def check_training(page):
    lines = re.findall(r"^\d+ [\d.]+ [\d.]+$", page.printed, re.MULTILINE)
    assert len(lines) == 10
    assert float(lines[-1].split()[-1]) > 0.9
    assert page.names["metrics"]["loss"].shape == (3,)
    losses = page.names["curves"]["loss"]
    assert losses.shape == (3, 20)
    assert len(set(losses[:, 0].tolist())) == 3


def check_look_inside(page):
    assert page.names["memory"].shape == (32, 64)
    assert page.files == {"gates.png", "cell.gif", "gru.html"}


def check_weights(page):
    net, params = gj.load("net.safetensors")
    assert net == page.names["net"]
    logits, _ = net.apply(params, page.names["xs"])
    assert logits.shape == (32, 9)
    assert page.files == {"cell.onnx", "net.safetensors"}


def check_flax(page):
    actual, _ = page.names["gru"](page.names["xs"])
    np.testing.assert_allclose(actual, page.names["trained"](page.names["xs"]), atol=1e-5)
    params, observations = page.names["params"], page.names["x"][0]
    x = observations, np.arange(16)[:, None] % 5 == np.zeros(32)
    _, logits = page.names["Actor"]().apply({"params": params}, np.zeros((32, 128), "f"), x)
    h, cell = np.zeros((32, 128), "f"), page.names["nn"].GRUCell(128)
    for t in range(16):
        embedding = page.names["nn"].Dense(128).apply({"params": params["Dense_0"]}, x[0][t])
        h, y = cell.apply(page.names["cell"], 0 * h if t % 5 == 0 else h, np.maximum(embedding, 0))
        expected = page.names["nn"].Dense(4).apply({"params": params["Dense_1"]}, y)
        np.testing.assert_allclose(logits[t], expected, atol=1e-5)


def check_own_cell(page):
    assert page.names["logits"].shape == (4, 20, 50)
    assert page.names["hs"].shape == (4, 20, 32)
    cell, weights, xs = (page.names[name] for name in ("cell", "weights", "xs"))
    own, _ = gj.unroll(cell, weights, xs)
    theirs, _ = gj.unroll(gj.mgu(32), gj.MGUParams(*weights), xs)
    np.testing.assert_allclose(own, theirs, atol=1e-5)
    assert page.printed.split() == str(page.names["net"]).split()
    assert page.printed.startswith("stack(embed(50, 16), bidirectional(my_mgu(32))")


def check_images(page):
    assert page.names["hs"].shape == (2, 5, 8, 32, 32)
    assert page.names["ys"].shape == (2, 5, 10)


def check_episodes(page):
    names = page.names
    net, params, batch = (names[name] for name in ("net", "params", "batch"))
    assert batch.resets.sum() > 8
    np.testing.assert_allclose(names["logits"], batch.logits, atol=1e-5)
    assert np.abs(names["late"] - batch.logits).max() > 0.1
    assert names["agents"].shape == (8, 2, 32, 3)
    assert names["rewards"][:, :10].mean() < 0.15
    assert (names["rewards"][:, -10:].mean(1) > 0.2).all()
    assert names["played"].returns.mean() > 3.9
    text = read(ROOT / "notebooks/guide/episodes.md")
    (message,) = re.findall(r"`(stack: resets must be .*?)`", text)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        net.apply(params, batch.xs, resets=batch.resets.astype(float))


def check_streaming(page):
    names = page.names
    xs, whole = names["xs"], names["whole"]
    np.testing.assert_allclose(names["streamed"], whole, atol=1e-5)
    np.testing.assert_allclose(names["chunked"], whole, atol=1e-5)
    for ours in ("end", "state"):  # the state comes out of a file
        for a, b in zip(*map(jax.tree.leaves, (names[ours], names["last"])), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    hs, h_last = gj.unroll(names["cell"], names["weights"], xs)
    np.testing.assert_allclose(names["h_last"], h_last, atol=1e-5)
    np.testing.assert_allclose(names["h"], hs[:, 0], atol=1e-5)
    np.testing.assert_array_equal(names["label"], whole[:, 0].argmax(-1))
    np.testing.assert_allclose(names["y"][1], whole[1, 0], atol=1e-5)
    assert not names["y"][2].any()
    for row, changed in ((0, True), (2, False)):
        before, after = (jax.tree.leaves(names[name]) for name in ("last", "after"))
        moved = [np.abs(a[row] - b[row]).max() for a, b in zip(before, after, strict=True)]
        assert (min(moved) > 1e-3) if changed else (max(moved) < 1e-5)
    assert names["generated"].shape == names["sampled"].T.shape == (4, 6)
    given = np.concatenate([names["tokens"], names["generated"][:, :-1]], 1)
    logits, _ = names["language"].apply(names["language_params"], given)
    np.testing.assert_array_equal(names["generated"], logits[:, -6:].argmax(-1))
    text = read(ROOT / "notebooks/guide/streaming.md")
    (message,) = re.findall(r"`(bidirectional: step must .*?)`", text)
    both = gj.stack(gj.bidirectional(gj.gru(3)), gj.dense(2))
    params = both.init(jax.random.key(0), 12)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        both.step(params, xs[:, 0], both.initial_state(params, (4, 12)))


def check_recipes(page):
    names, equal = page.names, np.testing.assert_array_equal
    code = blocks(ROOT / "notebooks/guide/recipes.md", "python")[1:]
    assert max(len(re.findall(r"^.*\S", block, re.MULTILINE)) for block in code) <= 12
    assert names["hits"].mean() > 0.8  # of nine speakers
    assert names["tag_losses"][-1] < 0.1 < names["tag_losses"][0]
    waves, net, trained = (names[name] for name in ("waves", "net", "trained"))
    np.testing.assert_allclose(names["future"], waves[:, 40:], atol=0.2)
    assert names["written"] == names["text"][8:48]
    sequences = names["train"].xs[:4]
    for sequence, last in zip(sequences, names["h_last"], strict=True):
        _, alone = gj.unroll(names["cell"], names["weights"], sequence)
        np.testing.assert_allclose(last, alone, atol=1e-6)
    assert names["fill_losses"][-1] < 0.05 < 0.3 < names["fill_losses"][0]
    gradient = jax.grad(names["last_state"])(names["weights"], "states")
    for a, b in zip(*map(jax.tree.leaves, (names["gradient"], gradient)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    certain, _ = names["deep"].apply(names["deep_params"], names["xs"], lengths=names["lengths"])
    assert np.abs(names["dropped"] - certain).max() > 0.1
    tx = gj.make_optimizer(1e-2, steps=100, weight_decay=1e-3)
    own, _ = names["minimize"](names["huber_loss"], net.init(names["key"], 1), tx)
    jax.tree.map(equal, names["own"], own)
    assert names["reason"] == "patience"
    assert names["progress"].best_epoch == names["progress"].epoch - 2
    assert names["half_losses"][-1] < 0.1 * names["half_losses"][0]
    assert {a.dtype for a in jax.tree.leaves(names["mixed"])} == {np.dtype("float32")}
    start = net.init(names["key"], 1)
    jax.tree.map(equal, names["tuned"][0], start[0])
    assert np.abs(names["tuned"][1].W - start[1].W).max() > 0.1
    assert names["loaded"] == net
    jax.tree.map(equal, names["loaded_params"], trained)
    assert page.files == {"net.safetensors"}
    ys, _ = net.apply(trained, waves)
    np.testing.assert_allclose(names["outputs"], ys[:3], atol=1e-5)
    np.testing.assert_allclose(names["ys"], ys, atol=1e-5)
    assert names["ys"].sharding.spec[0] == "batch"
    jax.tree.map(equal, names["once"], names["again"])


def check_contributing(page):
    params, xs, h0 = page.names["cell_cases"].draw(np.random.default_rng(1), page.names["leaky"](5))
    W_c, b_c, b_z = params
    twin = gj.MinGRUParams(0 * W_c, b_z, W_c, b_c)
    expected, _ = gj.unroll(gj.min_gru(5, activation="tanh"), twin, xs, h0)
    actual, _ = gj.unroll(page.names["leaky"](5), params, xs, h0)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def check_install(page):
    choice = page.names["choice"]
    assert choice.backend == ("cpu" if library.reason() is None else "xla")
    assert page.printed == f"{choice.backend} - {choice.reason}\n"


def check_what_is_a_gru(page):
    def sigmoid(a):
        return 1 / (1 + math.exp(-a))

    r, z = sigmoid(1 * 1 + 2 * 0.5 - 1), sigmoid(2 * 1 - 4 * 0.5)
    c = math.tanh(1 * 1 - 2 * r * 0.5)
    expected = {"r": r, "z": z, "c": c, "h_next": (1 - z) * 0.5 + z * c}
    (code,) = blocks(ROOT / "notebooks/guide/what_is_a_gru.md", "python")
    results = dict(re.findall(r"^(\w+) = .* = (\d\.\d+)$", code, re.MULTILINE))
    assert results == {name: f"{value:.3f}" for name, value in expected.items()}
    for name, value in expected.items():
        np.testing.assert_allclose(page.names[name], [value], rtol=1e-6)


def check_coming_from(page):
    assert page.names["ys"].shape == (4, 7, 5)
    expected = page.names["rnn"](page.names["xs"])
    np.testing.assert_allclose(page.names["ys"], expected, atol=1e-5)


def check_japanese_vowels(page):
    text = read(ROOT / "notebooks/guide/japanese_vowels.md")
    for part in ("train", "test"):
        xs, speakers = page.names[part]
        counts, steps = set(np.bincount(speakers)), [len(x) for x in xs]
        each = " to ".join(map(str, sorted({min(counts), max(counts)})))
        row = f"| {part} | {len(xs)} | {each} | {min(steps)} to {max(steps)} | {xs[0].shape[1]} |"
        assert row in text
    assert page.names["xs"].shape == (270, 26, 12)


def check_memory(page):
    taken = {line.split()[0]: float(line.split()[1]) for line in page.printed.splitlines()}
    assert taken["gates"] > 5 * taken["chunked"]
    cell, params, grads = (page.names[name] for name in ("cell", "params", "grads"))
    xs, targets = (page.names[name].reshape(400, 16, 128) for name in ("xs", "targets"))

    def loss(params):
        hs, _ = gj.unroll(cell, params, xs, time_axis=0, derivative="autodiff")
        return gj.squared_error(hs, targets).mean()

    for actual, expected in zip(grads, jax.jit(jax.grad(loss))(params), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


def check_classify(page):
    """The output that the page shows comes from its file, and so do the messages."""
    assert page.names["accuracy"] > 0.6
    assert page.names["shares"].shape == (len(page.names["test_xs"]), 3)
    np.testing.assert_allclose(page.names["shares"].sum(1), 1, rtol=1e-5)
    text = read(ROOT / "notebooks/guide/classify.md")
    path = Path("waves.csv").absolute()
    parts = CLASSIFY.load(config := ClassifyConfig(data=str(path)))
    lines = CLASSIFY.describe(config, CLASSIFY.learn(config, parts), parts)
    for name, line in lines.items():
        assert f"\n{name:12}{line}\n" in text
    rows = re.findall(r"^\| `(--.*?)` \| `(.*?)` \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for flags, message in rows:
        with contextlib.redirect_stderr(io.StringIO()) as error:
            assert main(["train", "classify", "--data", "waves.csv", *flags.split()]) == 2
        expected = error.getvalue().replace(f"{path.parent}/", "")
        assert expected == f"gru-jax: {message}\n"
    assert page.files == {"waves.csv"}


def check_forecast(page):
    """The page shows what is printed, and the forecast goes on as the sales were made."""
    _, text = read(ROOT / "notebooks/guide/forecast.md").split("## In Python\n")
    shown = re.search(r"^```\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    number = re.compile(r"\b\d+\.\d+\b")
    assert number.sub("x", page.printed) == number.sub("x", shown)
    actual, expected = (np.array(number.findall(each), float) for each in (page.printed, shown))
    np.testing.assert_allclose(actual, expected, atol=0.11)
    days, promotion = np.arange(len(page.names["days"])), page.names["promotion"]
    expected = 100 + 20 * np.sin(2 * np.pi * days / 7) + 30 * promotion
    assert np.abs(page.names["forecast"]["gru_jax"].to_numpy() - expected[-14:]).mean() < 5
    assert page.files == set()


CHECKS = {name[6:]: check for name, check in globals().items() if name.startswith("check_")}
"""By the page's name, in small letters."""
SLOW = pytest.mark.slow("runs a page")
QUICK = "README.md", "own_cell.md", "what_is_a_gru.md", "install.md"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.name, marks=() if path.name in QUICK else SLOW)
        for path in DOCUMENTS
        if blocks(path, "python")
    ],
)
def test_the_code_of_a_page_runs(path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, block in enumerate(blocks(path, "python"), 1):
        exec(compile(block, f"{path.name}, block {number}", "exec"), names)
    if check := CHECKS.get(path.stem.lower()):
        files = {file.name for file in tmp_path.iterdir()}
        check(Page(names, files, capsys.readouterr().out))


def test_no_page_has_lost_its_code():
    assert set(CHECKS) <= {path.stem.lower() for path in DOCUMENTS if blocks(path, "python")}
