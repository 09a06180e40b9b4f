"""Who follows a training, and what it is told."""

import json
import struct

import pytest
from made_up_tasks import SUM, add

from gru_jax.app.cli import main

OWN = """
import json

class Mine:
    def __init__(self, folder):
        self.path = folder.parent / "told.jsonl"

    def tell(self, *words):
        with self.path.open("a") as file:
            file.write(json.dumps(words) + "\\n")

    def begin(self, settings, epoch):
        self.tell("begin", settings["task"], settings["hidden"], epoch)

    def log(self, row):
        self.tell("log", row["epoch"])

    def end(self, result):
        self.tell("end", result and result["epochs"])

class Broken(Mine):
    def log(self, row):
        raise OSError("no network")
"""


@pytest.fixture(autouse=True)
def _known(monkeypatch, tmp_path):
    add(monkeypatch, SUM)
    monkeypatch.chdir(tmp_path)


def write_own(tmp_path):
    """Writes a module whose name no other test's has; returns the name."""
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(OWN)
    return name


def test_a_class_of_the_user_s_is_told_of_every_epoch(tmp_path):
    name = write_own(tmp_path)
    train = ["train", "sum", "--out", "x", "--track", f"{name}:Mine"]
    assert main([*train, "--epochs", "2"]) == 0
    assert main([*train, "--resume", "--epochs", "3"]) == 0
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    first = [["begin", "sum", 8, 0], ["log", 1], ["log", 2], ["end", 2]]
    assert told == [*first, ["begin", "sum", 8, 2], ["log", 3], ["end", 3]]


def test_a_tracker_that_fails_does_not_end_training(tmp_path, capsys):
    name = write_own(tmp_path)
    tracks = [f"{name}:Broken", f"{name}:Mine"]
    assert main(["train", "sum", "--out", "x", "--epochs", "2", "--track", *tracks]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("Broken no longer follows: log raised OSError('no network').") == 1
    assert len((tmp_path / "told.jsonl").read_text().splitlines()) == 1 + 4


def test_tensorboard_gets_each_number_once(tmp_path):
    """The file is read by its own records: length, two checksums, and a protocol buffer."""
    from tensorboardX.proto.event_pb2 import Event

    train = ["train", "sum", "--out", "x", "--track", "tensorboard"]
    assert main([*train, "--epochs", "3"]) == 0
    (path,) = (tmp_path / "x" / "tensorboard").iterdir()
    data, scalars = path.read_bytes(), {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars[value.tag, event.step] = value.simple_value
    rows = [
        json.loads(line) for line in (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()
    ]
    assert {step for _, step in scalars} == {1, 2, 3}
    for row in rows:
        assert scalars["loss/training", row["epoch"]] == pytest.approx(row["loss"])
        assert scalars["loss/validation", row["epoch"]] == pytest.approx(row["validation_loss"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere:Mine", "No module named 'nowhere'"),
        ("json:Mine", "module 'json' has no attribute 'Mine'"),
        ("pathlib:Path", "it has no begin"),
        ("", "Empty module name"),
    ],
)
def test_what_is_no_tracker_is_refused_before_anything_happens(tmp_path, capsys, name, reason):
    assert main(["train", "sum", "--out", "x", "--track", name]) == 2
    message = "train: --track must be tensorboard, or module:Class with begin, log and end, got"
    assert f"{message} {name}: {reason}" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
