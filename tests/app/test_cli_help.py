"""Help and version."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gru_jax as gj
from gru_jax.app.cli import PACKAGES, main
from gru_jax.app.tasks import CONFIGS
from gru_jax.app.tasks.table import TASKS

PROJECT = tomllib.loads((Path(gj.__file__).parent.parent / "pyproject.toml").read_text())["project"]
COMMANDS = ["train", "evaluate", "predict", "sample", "explain", "convert", "inspect", "bench"]
QUICK = {  # arguments and the exit code
    "": 0,
    "--version": 0,
    **{f"{name} --help": 0 for name in COMMANDS},
    **{f"train {name} --help": 0 for name in CONFIGS},
    "evaluate": 2,
    "train forecast --hroizon 3": 2,
    "train speech": 2,
    "train --resume --out no/such/run": 2,
}
ANSWER = """
import contextlib, io, json, sys
from gru_jax.__main__ import run

codes = {}
for line in json.loads(sys.argv[1]):
    sys.argv = ["gru-jax", *line.split()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            run()
        except SystemExit as exit:
            codes[line] = exit.code
heavy = [name for name in ("jax", "numpy", "rich") if name in sys.modules]
print(json.dumps([codes, heavy]))
"""


def test_help_names_every_flag_and_its_default(capsys):
    for command, flags in (
        ("train", "out seed resume epochs hidden layers learning-rate batch".split()),
        ("predict", ["input"]),
        ("sample", ["prompt", "length", "temperature", "seed"]),
        ("evaluate", []),
        ("explain", ["input"]),
    ):
        with pytest.raises(SystemExit) as exit:
            main([command, "--help"])
        assert exit.value.code == 0
        text = capsys.readouterr().out
        assert all(f"--{flag}" in text for flag in flags)
        assert "runs/japanese_vowels" in text


def test_help_of_train_names_every_task_and_its_own_settings(capsys):
    for name in ([], ["moving_digits"]):
        with pytest.raises(SystemExit):
            main(["train", *name, "--help"])
        text = capsys.readouterr().out
        assert all(task in text for task in TASKS)
        assert ("--coordinates" in text) == bool(name)
        assert ("--noise" in text) != bool(name)


@pytest.mark.parametrize("columns", [50, 57, 60, 66, 73, 80])
@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_keeps_to_the_width_and_breaks_no_word(capsys, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    words = capsys.readouterr().out.split()
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    assert text.split() == words


def test_without_a_command_there_is_help(capsys):
    texts = []
    for args in ([], ["--help"], ["-h"]):
        with pytest.raises(SystemExit) as exit:
            main(args)
        assert exit.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z]", texts[0], re.MULTILINE)


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"gru-jax {PROJECT['version']}\n"


def test_without_an_installation_there_is_no_version(capsys, monkeypatch):
    monkeypatch.setattr(importlib.metadata.Distribution, "discover", lambda **_: iter(()))
    assert main(["--version"]) == 2
    message = "gru-jax: gru_jax.__version__ needs an installation: pip install -e .\n"
    assert capsys.readouterr() == ("", message)


def test_help_and_wrong_use_are_answered_without_jax():
    command = [sys.executable, "-c", ANSWER, json.dumps(list(QUICK))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [QUICK, []]


def test_the_settings_are_those_of_the_tasks():
    assert list(CONFIGS.items()) == [(name, task.Config) for name, task in TASKS.items()]


def test_without_its_extra_the_command_says_what_to_install(monkeypatch, capsys):
    extra = [re.match(r"[\w-]+", entry)[0] for entry in PROJECT["optional-dependencies"]["app"]]
    assert list(PACKAGES.values()) == extra
    assert importlib.util.find_spec("orbax")  # A namespace: orbax-export has it as well.
    for module in PACKAGES:
        assert importlib.import_module(module).__file__
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["evaluate", "runs/x"]) == 2
    message = f"gru-jax: the command needs {', '.join(extra)}: pip install 'gru_jax[app]'.\n"
    assert capsys.readouterr() == ("", message)
