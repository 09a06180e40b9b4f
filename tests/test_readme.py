"""The README's Python runs as it stands, top to bottom."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


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
    from test_errors import CASES

    (message,) = re.findall(r"`(unroll: xs must be .*?)`", README)
    assert message in CASES


def test_the_pictures_in_the_readme_are_there_and_small():
    paths = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(paths) == 4
    for path in paths:
        assert (Path(__file__).parent.parent / path).stat().st_size < 300_000
