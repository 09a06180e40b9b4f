"""The README's Python runs as it stands, top to bottom."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gru_jax as gj

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.slow("trains a network")
def test_the_code_in_the_readme_runs_and_learns(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 6
    assert names["hs"].shape == (32, 100, 64)
    assert names["metrics"]["loss"].shape == (3,)
    lines = re.findall(r"^\d+ [\d.]+ [\d.]+$", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == 30
    assert {path.name for path in tmp_path.iterdir()} == {
        "gates.png",
        "cell.gif",
        "cell.onnx",
        "net.safetensors",
    }
    assert float(lines[-1].split()[-1]) > 0.95


def test_the_message_in_the_readme_is_the_one_that_comes():
    (message,) = re.findall(r"`(unroll: xs must be .*?)`", README)
    cell = gj.gru(64)
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        gj.unroll(cell, cell.init(jax.random.key(0), 12), jnp.zeros((32, 100, 11)))
    assert str(error.value) == message


def test_the_pictures_in_the_readme_are_there_and_small():
    paths = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(paths) == 4
    for path in paths:
        assert (Path(__file__).parent.parent / path).stat().st_size < 300_000
