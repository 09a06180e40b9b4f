"""`gru-jax bench`: turns, files, help, Ctrl-C and wrong flags."""

import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys

import jax
import pytest
from contenders import SIZE, like_ours, row
from rich.console import Console

from gru_jax.app import console as show
from gru_jax.app.bench.contenders import BOTH, OURS
from gru_jax.app.bench.measure import Stopped, choose, count_turns, measure
from gru_jax.app.bench.names import MEASURES
from gru_jax.app.bench.problem import Size, parse_size
from gru_jax.app.cli import main
from gru_jax.app.commands import Bench

pytestmark = pytest.mark.usefixtures("rank_promotion")


def test_sizes_are_read_as_they_are_shown():
    assert parse_size("16,100,32,32") == Size(16, 100, 32, 32)
    assert str(Size(16, 100, 32, 32)) == "16,100,32,32"


@pytest.mark.slow("runs the whole command")
def test_the_whole_command(tmp_path, capsys):
    target, picture = tmp_path / "new" / "bench.json", tmp_path / "bench.svg"
    args = "bench --sizes 2,5,3,4 3,4,2,2 --peers onnx haiku --rounds 2".split()
    args += "--device cpu --precision tf32".split()
    assert main([*args, "--json", str(target), "--figure", str(picture)]) == 0
    text = capsys.readouterr().out
    assert picture.read_text().lstrip().startswith("<?xml")
    assert {path.name for path in tmp_path.rglob("*")} == {"new", "bench.json", "bench.svg"}
    content = json.loads(target.read_text())
    assert content["versions"]["jax"] == jax.__version__
    assert content["machine"]["backend"] == "cpu"
    assert content["rounds"] == 2
    assert content["precision"] == "highest"  # A CPU rounds no factors.
    forms = [("gru_jax", "before"), ("gru_jax", "after"), ("haiku", "before")]
    forms += [("onnx", "before"), ("onnx", "after")]
    whose = [(r["size"], r["name"], r["reset"]) for r in content["results"]]
    assert whose == [(size, *form) for size in ("2,5,3,4", "3,4,2,2") for form in forms]
    for result in content["results"]:
        assert result["reason"] is None
        measures = {"forward"} if result["name"] == "onnx" else set(MEASURES)
        assert result["values"].keys() == measures
        assert all(len(values) == 2 for values in result["values"].values())
    assert re.search(r"^2,5,3,4  train$", text, re.MULTILINE)
    assert str(target) in text


def test_every_turn_is_told():
    told, shown = [], Console(force_terminal=True, width=80)
    contenders = {OURS: like_ours(BOTH)}
    total = count_turns([SIZE], contenders, 1, 2)
    with shown.capture() as capture, show.turns(shown, total) as show_turn:

        def tell(*turn):
            told.append(turn)
            show_turn(*turn)

        list(measure([SIZE], contenders, ["forward"], 2, tell))
    assert len(told) == total == 2 * (1 + 1 + 2)
    assert told[0] == (SIZE, "compare", "gru_jax (before)")
    assert told[2] == (SIZE, "forward", "gru_jax (before)")
    assert re.search(r"100%\S* 2,5,3,4  forward  gru_jax", capture.get())
    assert list(choose(SIZE, ["onnx", "linen"])) == [OURS, "linen", "onnx"]


def test_stopping_keeps_whole_rounds_of_every_contender():
    told = []

    def tell(_, stage, __):
        told.append(stage)
        if told.count("train") == 2 + 2 + 1:  # the second round's second turn
            raise Stopped

    contenders = {OURS: like_ours(BOTH)}
    *_, rows = measure([SIZE, Size(1, 1, 1, 1)], contenders, ["forward", "train"], 3, tell)
    counts = [{name: len(values) for name, values in each.values.items()} for each in rows]
    assert counts == [{"forward": 3, "train": 1}] * 2


def test_what_was_written_survives_a_size_that_crashes(tmp_path, monkeypatch):
    def crash(*_, **__):
        yield [row(SIZE, OURS, "before", 1.0)]
        raise MemoryError("too much")

    monkeypatch.setattr("gru_jax.app.bench.measure.measure", crash)
    target = tmp_path / "x.json"
    assert main(["bench", "--json", str(target)]) == 1
    assert json.loads(target.read_text())["results"][0]["values"] == {"train": [1.0]}


@pytest.mark.slow("runs the whole command")
def test_ctrl_c_prints_and_writes_what_there_is(tmp_path):
    args = "bench --sizes 2,5,3,4 2,6,3,4 --peers onnx --rounds 40"
    command = [sys.executable, "-m", "gru_jax", *args.split(), "--json", "x.json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ), **pipes) as process:
        for line in process.stdout:
            if line == "2,5,3,4  train\n":
                process.send_signal(signal.SIGINT)
                break
        text, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "gru-jax: stopped early.\n"
    assert re.search(r"gru_jax \(before\) +\d\S* ±", text)
    results = json.loads((tmp_path / "x.json").read_text())["results"]
    assert [len(result["values"]["forward"]) for result in results] == [40] * 4
    assert all(len(result["values"].get("train", [])) < 40 for result in results)


def test_help_names_every_flag_and_only_packages_that_are_published(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Bench):
        assert f"--{field.name}" in text
    commands = re.findall(r"pip install (-e \S+|\S+)", text)
    assert commands == ["-e '.[bench]'", "torch."]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--sizes", "16,100,32"],
            "bench: sizes must be batch,time,input,hidden[,Nmembers][,resets] or "
            "batch,time,height,width,input,channels, whole numbers from 1, got '16,100,32'.",
        ),
        (["--sizes", "1,2,3,0"], "whole numbers from 1, got '1,2,3,0'."),
        (["--sizes", "1,2,3,-4"], "whole numbers from 1, got '1,2,3,-4'."),
        (["--sizes", "1,2,3,4.5"], "whole numbers from 1, got '1,2,3,4.5'."),
        (["--sizes", "2,3,5,4,reset"], "whole numbers from 1, got '2,3,5,4,reset'."),
        (["--sizes", "2,3,5,4,2,3,resets"], "whole numbers from 1, got '2,3,5,4,2,3,resets'."),
        (["--sizes", "2,3,5,4,8member"], "whole numbers from 1, got '2,3,5,4,8member'."),
        (["--sizes", "2,3,5,4,members"], "whole numbers from 1, got '2,3,5,4,members'."),
        (["--sizes", "2,3,5,4,0members"], "whole numbers from 1, got '2,3,5,4,0members'."),
        (["--sizes", "2,3,5,4,resets,8members"], "got '2,3,5,4,resets,8members'."),
        (["--sizes", "2,3,5,4,2,3,8members"], "got '2,3,5,4,2,3,8members'."),
        (["--sizes", "2,3,5,4,2"], "whole numbers from 1, got '2,3,5,4,2'."),
        (["--sizes", "2,3,5,0,2,3"], "whole numbers from 1, got '2,3,5,0,2,3'."),
        (["--sizes", "2,3,5,4,2,3,1"], "whole numbers from 1, got '2,3,5,4,2,3,1'."),
        (
            ["--sizes", "2,3,5,4,2,3", "1,2,3,4", "2,2,3,4"],
            "sizes must be four numbers each or six numbers each, got 1,2,3,4 and 2,3,5,4,2,3.",
        ),
        (["--images", "--sizes", "1,2,3,4"], "six numbers with --images, got 1,2,3,4."),
        (
            ["--images", "--peers", "torch", "keras"],
            "bench: peers must be among linen, linen_lstm, torch for sizes of 6 numbers, "
            "got keras.",
        ),
        (["--peers", "linen_lstm"], "keras, torch, onnx for sizes of 4 numbers, got linen_lstm."),
        (["--budget", "0"], "bench: budget must be above 0, got 0.0."),
        (["--budget", "nan"], "bench: budget must be above 0, got nan."),
        (["--sizes"], "bench: sizes must be one or more, got none."),
        (["--measure"], "bench: measure must be one or more, got none."),
        (["--rounds", "0"], "bench: rounds must be 1 or more, got 0."),
        (["--peers", "numpy"], "bench: --peers must be one of xla,"),
        (["--device", "tpu"], "bench: --device must be one of cpu, gpu, got 'tpu'"),
        (["--precision", "bf16"], "--precision must be one of highest, tf32, got 'bf16'"),
        (["--measure", "beauty"], "bench: --measure must be one of forward,"),
        (["--figure", "x.jpg"], "bench: figure must end in .png or .svg, got x.jpg."),
        (["--json", "."], ". must be a file, but is a folder."),
        (["--json", "file/x.json"], "file"),
    ],
)
def test_wrong_flags_are_one_line_before_anything_is_measured(
    tmp_path, monkeypatch, capsys, args, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["bench", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gru-jax: ")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_figure_without_matplotlib_is_refused_first(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    assert main(["bench", "--figure", "x.png"]) == 2
    assert "bench: figure needs matplotlib: pip install matplotlib." in capsys.readouterr().err
