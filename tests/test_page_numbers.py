"""The numbers in the pages are those of the files that commands wrote."""

import json
import re
import runpy
from pathlib import Path

import contenders
import jax
import numpy as np
import pytest
from PIL import Image

import gru_jax as gj
from gru_jax.app.bench import results
from gru_jax.app.bench.contenders import BOTH, OURS
from gru_jax.app.bench.names import FULL_NAMES
from gru_jax.app.bench.problem import Size
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


def test_the_numbers_in_the_readme_are_those_of_the_measured_files(run):
    script = run("readme")
    lines = script["table"]()
    assert "\n\n" + "\n".join(lines) + "\n\n" in script["PAGE"].read_text()
    runs = json.loads((FIGURES / "vowels.json").read_text())["seeds"].values()
    accuracy = 100 * np.median([each["test_accuracy"] for each in runs])
    assert f", {accuracy:.1f} % |" in "\n".join(lines)


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


def test_the_table_of_classify_is_that_of_the_measured_file(run):
    script = run("classify")
    lines = script["table"](json.loads(script["FIGURES"].read_text()))
    assert "\n".join(lines) + "\n\n" in script["PAGE"].read_text()
    assert len(lines) == 2 + len(script["SETS"])


def test_the_tables_of_published_results_are_those_of_the_measured_files(run):
    script = run("published")
    figures = json.loads(script["FIGURES"].read_text())
    for page, lines in (
        ("LANGUAGE", script["losses"](figures)),
        ("LANGUAGE", script["texts"](figures)),
        ("FORECAST", script["etth1"](figures)),
        ("README", script["results"](figures)),
    ):
        assert "\n\n" + "\n".join(lines) + "\n\n" in script[page].read_text()
    block = "\n".join(["```sh", *script["commands"](), "```"])
    assert block in script["README"].read_text()
    assert list(figures["runs"]) == list(script["RESULTS"])
    for name, rows in figures["runs"].items():
        result = script["RESULTS"][name]
        assert [row["seed"] for row in rows] == list(result.seeds)
        assert {row["command"] for row in rows} == {result.command}
        for metric in result.metrics:
            mean = np.mean([row[f"test_{metric}"] for row in rows])
            assert f" {mean:.{result.digits}f} " in "\n".join(script["results"](figures))


def test_the_table_of_moving_digits_is_that_of_the_measured_file(run):
    script = run("digits")
    lines = script["table"](json.loads(script["FIGURES"].read_text()))
    assert "\n".join(lines) + "\n\n" in script["PAGE"].read_text()
    assert len(lines) == 7


def test_the_tables_of_images_are_those_of_the_measured_files(run):
    script = run("images")
    page = script["PAGE"].read_text()
    for lines in (*map(script["table"], script["TITLES"]), script["conditions"]()):
        assert "\n\n" + "\n".join(lines) + "\n\n" in page
    rows = {line.split(" | ")[0]: line.split(" | ")[-1] for line in script["table"]("train")}
    flax, torch = (float(rows[f"| {name}"].strip(" |")) for name in ("linen", "torch"))
    words = " ".join((script["PAGE"].parent / "images.md").read_text().split())
    assert f"Training Flax's cell takes {flax:.0f} times as long" in words
    assert "Training in PyTorch takes half the time" in words
    assert torch == pytest.approx(0.5, abs=0.05)


def test_the_tables_of_speed_are_those_of_the_measured_files(run):
    script = run("speed")
    page = script["PAGE"].read_text()
    parts = script["tables"]()
    assert len(parts) == 7
    for start, lines in parts.items():
        assert "\n".join(lines).startswith(start)
        assert "\n\n" + "\n".join(lines) + "\n\n" in page


def test_the_tables_of_ensembles_are_those_of_the_measured_file(run):
    script = run("ensembles")
    page, text = script["PAGE"].read_text(), script["FILE"].read_text()
    for start, lines in script["tables"]().items():
        assert "\n".join(lines).startswith(start)
        assert "\n\n" + "\n".join(lines) + "\n\n" in page
    rows = results.loads(text)
    assert all(row.reason is None for row in rows)
    section = page.partition("\n## Ensembles\n")[2]
    words = re.search(r"\n(gru-jax bench .*/ensembles\.json)\n", section)[1].split()
    sizes = dict.fromkeys(str(row.size) for row in rows)
    peers = dict.fromkeys(row.name for row in rows if row.name != OURS)
    expected = ["gru-jax", "bench", "--sizes", *sizes, "--peers", *peers, "--rounds"]
    assert words[: len(expected) + 1] == [*expected, str(json.loads(text)["rounds"])]


@pytest.mark.parametrize("measure", ["train", "forward"])
@pytest.mark.parametrize("name", ["speed", "ensembles"])
def test_the_times_on_the_page_are_medians_of_the_rounds(run, name, measure):
    script = run(name)
    content = json.loads((FIGURES / f"{name}.json").read_text())
    members = " of all members" * (name == "ensembles")
    start = f"| {script['TITLES'][measure]}{members}, ms | reset |"
    table = script["PAGE"].read_text().partition(start)[2].partition("\n\n")[0]
    sizes, _, *lines = (line.strip("| ").split(" | ") for line in table.splitlines())
    times = {
        (name, reset, size): float(time.strip("*"))
        for name, reset, *cells in lines
        for size, time in zip(sizes, cells, strict=True)
    }
    for result in content["results"]:
        if seconds := result["values"].get(measure):
            time = times.pop((FULL_NAMES[result["name"]], result["reset"], result["size"]))
            low, median, high = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75))
            assert time == pytest.approx(median, abs=(high - low) / 2 + 0.005 * median)
    assert not times


def test_the_picture_of_a_cluster_is_of_a_shape_of_the_kernel(run):
    script = run("cluster")
    source = (ROOT / "gru_jax" / "kernels" / "gpu" / "problem.h").read_text()
    (shapes,) = re.findall(r"kShapes\[\] = \{(.*)\};", source)
    blocks = {}
    for shape in re.findall(r"\{(\d+), (\d+), (\d+)\}", shapes):
        slices, chunks, columns = map(int, shape)
        width, units = 4 * slices * chunks, 4 * 32 // slices * columns
        blocks[width] = width // units
    assert blocks[script["FEATURES"]] == script["BLOCKS"]
    assert blocks == {64: 1, 128: 1, 256: 4, 512: 16}
    page = " ".join((ROOT / "notebooks" / "guide" / "backends.md").read_text().split())
    assert "1 block for up to 128 features, 4 for 256, 16 for 512." in page
    assert f"](../figures/{script['PICTURE'].name})" in page


def test_the_picture_of_speed_is_that_of_the_measured_file(run):
    script = run("speed")
    with Image.open(script["PICTURE"]) as picture:
        assert picture.text["Description"] == script["digest"]()
    assert f"](../figures/{script['PICTURE'].name})" in script["PAGE"].read_text()
    assert script["PICTURE"].stat().st_size < 300_000


def test_a_speed_up_is_over_the_fastest_form_of_the_fastest_library_at_each_size(run, tmp_path):
    """The second round was ten times slower for all, which says nothing of any."""
    small, large = Size(1, 1, 1, 1), Size(9, 9, 9, 9)
    seconds = {
        (OURS, "before"): (2, 1),
        (OURS, "after"): (1, 2),
        ("xla", "after"): (0.1, 0.1),
        ("linen", "after"): (4, 2),
        ("keras", "before"): (3, 5),
        ("torch", "after"): (8, 1),
    }
    peers = [
        contenders.row(size, *form, value, 10 * value, value)
        for form, values in seconds.items()
        for size, value in zip((small, large), values, strict=True)
    ]
    beside = [
        contenders.row(small, OURS, "after", 10.0),
        contenders.row(small, "onednn", "before", 15.0),
    ]
    files = tmp_path / "peers.json", tmp_path / "onednn.json"
    for path, rows in zip(files, (peers, beside), strict=True):
        path.write_text(results.dumps(rows, 3))
    script = run("speed")
    fastest = "the fastest other JAX library"
    assert script["speed_ups"](files)["train"] == {
        "before": {fastest: pytest.approx((3**0.5, 1.5)), "PyTorch": pytest.approx((2, 1))},
        "after": {
            fastest: pytest.approx((3**0.5, 1)),
            "PyTorch": pytest.approx((2, 0.5)),
            "oneDNN": pytest.approx((1.5, 1.5)),
        },
    }
    assert script["slower"](files) == [
        "gru_jax is slower in 1 of the 9 comparisons:",
        '- PyTorch, training step, `reset="after"`, 9,9,9,9: speed-up 0.50',
    ]
    loops = {"XLA's loops": ["xla"]}
    assert script["speed_ups"](files, loops)["train"] == {
        "before": {"XLA's loops": pytest.approx((0.005**0.5, 0.05))},
        "after": {"XLA's loops": pytest.approx((0.005**0.5, 0.05))},
    }
    assert script["slower"](files, loops)[0] == "gru_jax is slower in 4 of the 4 comparisons:"
    assert script["slower"](files[1:]) == ["gru_jax is slower in none of the 1 comparisons."]


@pytest.mark.onednn
def test_the_times_beside_onednn_are_in_the_benchmark_s_schema(run):
    text = run("onednn")["time_onednn"]([Size(2, 5, 3, 4)], 1)
    rows = results.loads(text)
    forms = [(name, reset) for name in (OURS, "onednn") for reset in BOTH]
    assert [(row.name, row.reset) for row in rows] == forms
    for row in rows:
        assert max(row.differences.values()) < 1e-5
        assert {name: len(values) for name, values in row.values.items()} == {
            "forward": 1,
            "train": 1,
        }
    assert re.fullmatch(r"\d+\.\d+\.\d+", json.loads(text)["versions"]["onednn"])


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
    assert VowelsConfig(**settings["rows"][0]["config"]) == VowelsConfig()


def test_the_numbers_of_forecasts_are_those_of_the_measured_file(run):
    script = run("forecast")
    figures, page = json.loads(script["FIGURES"].read_text()), script["PAGE"].read_text()
    for lines in (script["listing"](figures), script["table"](figures), [script["ratio"](figures)]):
        assert "\n\n" + "\n".join(lines) + "\n\n" in page
    assert f"gru-jax train forecast --data vic_elec.csv {figures['options']}\n" in page


def test_the_tables_of_memory_are_those_of_the_measured_file(run):
    script = run("memory")
    figures, page = json.loads(script["FIGURES"].read_text()), script["PAGE"].read_text()
    for name in ("modes_table", "losses_table", "lengths_table"):
        assert "\n\n" + "\n".join(script[name](figures)) + "\n" in page
    assert "up to 16 MiB of states |" in page
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


def test_the_picture_of_episodes_has_the_states_that_unroll_has(run):
    """A state depends on the observations of its own episode, and on no others."""
    drawn = run("episodes")
    cell = gj.gru(4)
    params, resets = cell.init(jax.random.key(0), 2), np.array(drawn["RESETS"])
    xs = np.random.default_rng(0).normal(size=(drawn["STEPS"], 2)).astype(np.float32)

    def states(xs):
        return gj.unroll(cell, params, xs, resets=resets)[0]

    slopes = np.abs(jax.jacobian(states)(xs)).max((1, 3))  # [state, observation]
    same = np.array([[a == b for b in drawn["EPISODES"]] for a in drawn["EPISODES"]])
    # The first and the last have one colour, but the third is between them.
    same[-1, 0] = False
    np.testing.assert_array_equal(slopes > 0, np.tril(same))
    assert drawn["DONE"][:-1] == drawn["RESETS"][1:]


def test_the_table_of_agents_is_that_of_the_measured_file(run):
    script = run("agent")
    lines = script["table"](json.loads(script["FIGURES"].read_text()))
    page = script["PAGE"].read_text()
    assert "\n\n" + "\n".join(lines) + "\n\n" in page
    # Acting takes "about as long with each GRU. Learning is faster with gru_jax."
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines[2:]}
    ours, flax = (
        [float(cell.split()[0]) for cell in cells[f"| {script['NAMES'][name]}"]]
        for name in ("gru_jax", "flax")
    )
    for i in (0, 2):
        assert ours[i] - ours[i + 1] < flax[i] - flax[i + 1]
        assert ours[i + 1] == pytest.approx(flax[i + 1], rel=0.3)
