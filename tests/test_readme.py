"""The documents keep what they promise: code runs, links lead somewhere, names exist.

These are README.md, CONTRIBUTING.md, notebooks/guide/*.md and the text of the notebooks. Every
`python` block runs, from top to bottom, in one namespace for each page. A fragment that cannot run
is marked `py`.
"""

import importlib
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

import gru_jax as gj
from gru_jax.app.commands import parse

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = (ROOT / "README.md"), (ROOT / "CONTRIBUTING.md")
PAGES = sorted((ROOT / "notebooks" / "guide").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCUMENTS = [README, CONTRIBUTING, *PAGES, *NOTEBOOKS]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(path):
    """Returns a document's text; of a notebook, its text cells'."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(path, language):
    """Returns the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(path), re.MULTILINE | re.DOTALL)


def prose(path):
    """Returns the sentences outside code, tables, headings and pictures."""
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(\||#|!).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "X", text))
    parts = re.split(r"(?<=[.!?:])\s+(?=[A-Z])|\n\s*\n|\n- ", text)
    return [words for part in parts if (words := re.findall(r"[A-Za-z][\w'-]*", part))]


def anchors(path):
    """Returns what a link's `#...` may name, as code hosts make it from headings."""
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(path):
    return path.name


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


def check_training(page):
    lines = re.findall(r"^\d+ [\d.]+ [\d.]+$", page.printed, re.MULTILINE)
    assert len(lines) == 10
    assert float(lines[-1].split()[-1]) > 0.9
    assert page.names["metrics"]["loss"].shape == (3,)


def check_look_inside(page):
    assert page.names["memory"].shape == (32, 64)
    assert page.files == {"gates.png", "cell.gif"}


def check_weights(page):
    logits, _ = page.names["net"].apply(page.names["params"], page.names["xs"])
    assert logits.shape == (32, 9)
    assert page.files == {"cell.onnx", "net.safetensors"}


def check_flax(page):
    actual, _ = page.names["gru"](page.names["xs"])
    np.testing.assert_allclose(actual, page.names["trained"](page.names["xs"]), atol=1e-5)


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


CHECKS = {
    "README.md": check_readme,
    "cells.md": check_cells,
    "sequences.md": check_sequences,
    "layers.md": check_layers,
    "training.md": check_training,
    "look_inside.md": check_look_inside,
    "weights.md": check_weights,
    "flax.md": check_flax,
    "own_cell.md": check_own_cell,
    "images.md": check_images,
    "japanese_vowels.md": check_japanese_vowels,
    "memory.md": check_memory,
}


SLOW = pytest.mark.slow("runs a page")
QUICK = "README.md", "own_cell.md"


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
    if check := CHECKS.get(path.name):
        files = {file.name for file in tmp_path.iterdir()}
        check(Page(names, files, capsys.readouterr().out))


def test_no_page_has_lost_its_code():
    assert set(CHECKS) <= {path.name for path in DOCUMENTS if blocks(path, "python")}


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 250


@pytest.mark.parametrize("path", [README, CONTRIBUTING, *PAGES], ids=name)
def test_sentences_are_short(path):
    lengths = [len(words) for words in prose(path)]
    assert np.mean(lengths) <= 18
    assert max(lengths) <= 32, " ".join(max(prose(path), key=len))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_opens_with_its_question_and_the_way_back(path):
    title, empty, first, *_ = path.read_text().splitlines()
    assert title.startswith("# ")
    assert empty == ""
    assert re.fullmatch(r"This page .*\. \[Back to the README\]\(\.\./\.\./README\.md\)\.", first)


def test_the_readme_links_to_every_page_and_notebook():
    targets = re.findall(r"\]\((notebooks/[^)#]+)", README.read_text())
    assert {str(p.relative_to(ROOT)) for p in [*PAGES, *NOTEBOOKS]} <= set(targets)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_to_what_is_there(path):
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.is_relative_to(ROOT.resolve()), target
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_pictures_are_small():
    pictures = [
        path.parent / picture
        for path in DOCUMENTS
        for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", read(path))
    ]
    assert pictures
    assert [picture for picture in pictures if picture.stat().st_size >= 300_000] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_names_in_the_text_exist(path):
    for dotted in re.findall(r"\b(?:gj|gru_jax)(?:\.[A-Za-z_]\w*)+", read(path)):
        value = gj
        for position, part in enumerate(parts := dotted.replace("gj.", "gru_jax.").split(".")[1:]):
            if not hasattr(value, part):
                importlib.import_module(".".join(["gru_jax", *parts[: position + 1]]))
            value = getattr(value, part)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_files_named_in_the_text_exist(path):
    ours = r"(?<![\w./-])(?:tests|notebooks|gru_jax|\.ci)/[\w./]*\w"
    text = re.sub(r"\]\([^)]*\)", "]", read(path))
    assert [file for file in re.findall(ours, text) if not (ROOT / file).exists()] == []


def test_commands_in_the_text_are_understood(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    calls = [
        words[1:]
        for path in DOCUMENTS
        for line in "".join(blocks(path, "sh")).splitlines()
        for call in line.split("&&")
        if (words := shlex.split(call, comments=True))[:1] == ["gru-jax"]
    ]
    assert len(calls) >= 12
    for call in calls:
        parse([word for word in call if word != "--resume"])  # which would look for the run


def test_the_measures_of_the_benchmark_are_those_of_the_command():
    text = read(ROOT / "notebooks/guide/speed.md")
    _, table = text.split("| `--measure` | measures |\n|---|---|\n")
    names = re.findall(r"^\| `([\w-]+)` \|", table.split("\n\n")[0], re.MULTILINE)
    assert parse(["bench", "--measure", *names]) == parse(["bench"])  # all of them, in this order


def test_the_message_in_the_text_is_the_one_that_comes():
    text = read(ROOT / "notebooks/guide/sequences.md")
    (message,) = re.findall(r"`(unroll: xs must be .*?)`", text)
    cell = gj.gru(64)
    params = cell.init(jax.random.key(0), 12)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        gj.unroll(cell, params, np.zeros((32, 100, 11), np.float32))


def test_the_map_is_the_import_contract():
    (code,) = re.findall(r"```\n(__main__.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    rows = [re.match(r"\w+( \| \w+)*", line) for line in code.splitlines()]
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [row.group() for row in rows if row] == layers


def test_the_citation_names_this_version():
    (version,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version == PROJECT["project"]["version"]
