"""The numbers in the pages are those of the files that commands wrote."""

import dataclasses
import json
import re
import runpy
from pathlib import Path

import pytest

import gru_jax as gj
from gru_jax.app.tasks.japanese_vowels import VowelsConfig
from gru_jax.sequence.schedule import GATES_BYTES

ROOT = Path(__file__).parent.parent
README, FIGURES = ROOT / "README.md", ROOT / "notebooks" / "figures"
PAGES = sorted((ROOT / "notebooks" / "guide").glob("*.md"))


@pytest.fixture
def run(monkeypatch):
    """Returns a function that gives the names of a script in the folder of figures."""
    monkeypatch.syspath_prepend(FIGURES)
    return lambda name: runpy.run_path(str(FIGURES / f"{name}.py"))


def test_the_numbers_in_the_readme_are_those_of_the_pages():
    rows = dict(re.findall(r"^\| ([^|]+?) \| (.+) \|$", README.read_text(), re.MULTILINE))
    pages = {path.stem: path.read_text() for path in PAGES}
    for row in ("training step", "forward pass"):
        assert f"| {row} | {rows[row]} |" in pages["speed"]
    assert f"`gru-jax train` takes {rows['`gru-jax train`, on two CPU cores']}," in pages["speed"]
    assert f"**{rows['its test accuracy, median of five seeds']}** |" in pages["japanese_vowels"]
    (memory,) = [value for row, value in rows.items() if "100,000 steps" in row]
    assert re.search(rf"^\| T = 100,000 \|.*\| {memory} \|", pages["memory"], re.MULTILINE)


def test_the_table_of_cells_is_that_of_the_measured_file(run):
    script = run("cells")
    figures = json.loads(script["FIGURES"].read_text())
    page = script["PAGE"].read_text()
    assert "\n".join(script["table"](figures)) in page
    for name, row in figures["cells"].items():
        _, (params, _) = script["build"](name)
        assert gj.count_parameters(params) == row["parameters"]
    for builder in ("conv_gru", "learned_initial_state", *script["CELLS"]):
        assert f"`{builder}" in page


def test_the_table_of_moving_digits_is_that_of_the_measured_file(run):
    script = run("digits")
    lines = script["table"](json.loads(script["FIGURES"].read_text()))
    assert "\n".join(lines) + "\n\n" in script["PAGE"].read_text()
    assert len(lines) == 7


def test_the_tables_of_images_are_those_of_the_measured_files(run):
    script = run("images")
    page = script["PAGE"].read_text()
    for measure in script["TITLES"]:
        assert "\n\n" + "\n".join(script["table"](measure)) + "\n\n" in page


def test_the_numbers_of_japanese_vowels_are_those_of_the_measured_files(run):
    script = run("vowels")
    figures, settings = (
        json.loads(script[name].read_text()) for name in ("FIGURES", "CROSS_VALIDATION")
    )
    page = (script["GUIDE"] / "japanese_vowels.md").read_text()
    for lines in (
        script["seeds_table"](figures),
        script["published_table"](figures),
        script["settings_table"](settings),
        [script["times"](figures)],
    ):
        assert "\n\n" + "\n".join(lines) + "\n\n" in page
    for name, (_, lines) in script["listings"](figures).items():
        assert "\n".join(lines) + "\n" in (script["GUIDE"] / name).read_text()
    assert f"of {figures['seeds']['0']['parameters']:,} parameters" in page
    best = {row["change"]: row["best"] for row in settings["rows"]}
    assert min(best, key=lambda change: best[change]["held_out_loss"]) == ""
    assert max(best, key=lambda change: best[change]["held_out_accuracy"]) == "--layers 1"
    assert settings["rows"][0]["config"] == dataclasses.asdict(VowelsConfig())


def test_the_tables_of_memory_are_those_of_the_measured_file(run):
    script = run("memory")
    figures, page = json.loads(script["FIGURES"].read_text()), script["PAGE"].read_text()
    for name in ("modes_table", "losses_table", "lengths_table"):
        assert "\n\n" + "\n".join(script[name](figures)) + "\n" in page
    assert "take up to 16 MiB |" in page
    assert GATES_BYTES == 16 * 2**20


@pytest.mark.slow("compiles loops in loops")
@pytest.mark.usefixtures("optimized")
def test_long_sequences_still_take_the_memory_of_the_measured_file(run):
    script = run("memory")
    figures = json.loads(script["FIGURES"].read_text())
    for row in figures["lengths"]["rows"]:
        if row["backend"] == "xla":
            options = {name: row[name] for name in ("memory", "backend")}
            program = script["build"](row["steps"], 32, script["loss_of_last"], **options)
            assert script["temporaries"](program) == pytest.approx(row["temporary_bytes"], rel=0.1)


def test_the_comparison_with_an_lstm_is_the_one_that_the_notebook_prints(run):
    script = run("lstm")
    page = script["PAGE"].read_text()
    assert "\n\n" + "\n".join(script["table"]()) + "\n\n" in page
    assert f"\n\n{script['default']()}\n\n" in page


def test_a_notebook_without_outputs_is_refused(run, tmp_path):
    script, notebook = run("lstm"), tmp_path / "notebook.ipynb"
    cells = json.loads(script["NOTEBOOK"].read_text())["cells"]
    notebook.write_text(json.dumps({"cells": [cell | {"outputs": []} for cell in cells]}))
    with pytest.raises(ValueError, match=r"cell table of notebook.ipynb must have a stored output"):
        script["table"](notebook)
    shown = {"data": {"text/markdown": ["|  | a |\n", "| --- | --- |"]}}
    printed = {"name": "stdout", "text": "GRU, gru_jax  2.00 ms\nGRU, default  1.00 ms (0.9)\n"}
    outputs = [{"id": "table", "outputs": [shown]}, {"id": "time", "outputs": [printed]}]
    notebook.write_text(json.dumps({"cells": outputs}))
    assert script["table"](notebook) == ["|  | a |", "| --- | --- |"]
    assert script["default"](notebook).endswith("runs in C++: 1.00 ms.")


def test_a_table_is_written_in_the_place_of_the_old_one(run, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nafter\n")
    write_table = run("page_table")["write_table"]
    write_table(page, "| a |", ["| a | c |", "|---|---|", "| 3 | 4 |"])
    assert page.read_text() == "before\n\n| a | c |\n|---|---|\n| 3 | 4 |\n\nafter\n"
    with pytest.raises(AssertionError, match="has lost its table"):
        write_table(page, "| b |", [])
    write_table(page, "after", ["end"])
    assert page.read_text().endswith("| 4 |\n\nend\n")
