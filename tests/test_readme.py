"""The documents keep what they promise: links lead somewhere, names exist, sentences are short.

These are README.md, CONTRIBUTING.md, notebooks/guide/*.md and the text of the notebooks.
"""

import importlib
import re
import shlex

import jax
import numpy as np
import pytest
from pages import (
    CONTRIBUTING,
    DOCUMENTS,
    NOTEBOOKS,
    PAGES,
    PROJECT,
    README,
    ROOT,
    anchors,
    blocks,
    name,
    prose,
    read,
)

import gru_jax as gj
from gru_jax.app.commands import parse


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


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
        resuming = {"--resume", "--override"}  # would look for the run
        parse([word for word in call if word not in resuming])


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
