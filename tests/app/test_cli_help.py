"""Help and version."""

import re
import tomllib
from pathlib import Path

import pytest

import gru_jax as gj
from gru_jax.app.cli import main
from gru_jax.app.tasks import TASKS

COMMANDS = ["train", "evaluate", "predict", "sample", "explain", "convert", "inspect", "bench"]


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
    project = Path(gj.__file__).parent.parent / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    assert capsys.readouterr().out == f"gru-jax {version}\n"
