"""Signals, full disks, damage and intruders: one clear line each, and nothing is lost."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SMALL
from killed_run import EPOCHS, TASK
from rich.console import Console
from run_folders import CHILD, bytes_of, check_same, count_epochs, read_rows, start

from gru_jax.app import runs
from gru_jax.app.cli import main
from gru_jax.app.console import interruptible
from gru_jax.app.folder import append_row

pytestmark = pytest.mark.usefixtures("_random_task")


WITH_SMALL_FILES = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""


@pytest.fixture
def begun(tmp_path, environment):
    """A folder in which a process trains, and the process, which has saved already."""
    folder = tmp_path / "x"
    with start(environment, folder, 0) as child:
        wait_until_saved(child)
        yield folder, child
        child.kill()


def wait_until_saved(child):
    for line in child.stdout:
        if line.startswith("epoch    3"):
            return
    pytest.fail("it ended before its third epoch")


def resume(environment, folder, *more):
    with start(environment, folder, 0, "--resume", *more) as child:
        said = child.stdout.read()
    assert child.returncode == 0, said


@pytest.mark.slow("starts processes that train")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(begun, environment, whole, number, code):
    folder, child = begun
    child.send_signal(number)
    said = child.stdout.read()
    assert child.wait() == code
    epoch = count_epochs(folder)
    assert 3 <= epoch < EPOCHS
    message = f"gru-jax: stopped after epoch {epoch}; go on with:"
    assert f"{message}\n  gru-jax train --resume --out {folder}\n" in said
    resume(environment, folder)
    check_same(folder, whole)


@pytest.mark.slow("starts processes that train")
def test_a_second_signal_ends_at_once_without_harm(begun, environment, whole):
    folder, child = begun
    child.send_signal(signal.SIGINT)
    while child.poll() is None:  # One that comes before the first was handled is the same one.
        child.send_signal(signal.SIGINT)
    assert child.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in child.stdout.read()
    resume(environment, folder)
    check_same(folder, whole)


def test_after_a_first_signal_the_next_is_the_systems():
    """So that it acts while a compiled program runs, too, which no handler of Python's does."""
    both = signal.SIGINT, signal.SIGTERM
    before = [*map(signal.getsignal, both)]
    with interruptible(Console(file=io.StringIO())) as received:
        assert not received
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        assert [*map(signal.getsignal, both)] == [signal.SIG_DFL] * 2
    assert [*map(signal.getsignal, both)] == before


@pytest.mark.slow("starts processes that train")
def test_of_two_processes_in_a_folder_the_second_is_refused(begun, environment, whole):
    folder, child = begun
    child.send_signal(signal.SIGSTOP)  # It must not have ended before the second one begins.
    for more in ([], ["--resume"]):
        with start(environment, folder, 0, *more) as second:
            said = second.stdout.read()
        assert second.returncode == 2
        message = f"{folder} must be free, but another process trains there; give another --out."
        assert said == f"ready\ngru-jax: {message}\n"
    child.send_signal(signal.SIGCONT)
    child.stdout.read()
    assert child.wait() == 0
    check_same(folder, whole)
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


@pytest.mark.slow("starts processes that train")
def test_of_two_processes_that_start_at_once_one_trains(tmp_path, environment, whole):
    folder = tmp_path / "x"
    with start(environment, folder, 0) as first, start(environment, folder, 0) as second:
        said = [child.stdout.read() for child in (first, second)]
    codes = sorted([first.returncode, second.returncode])
    assert codes in ([0, 2], [0, 1], [0, 0]), said
    check_same(folder, whole)
    if codes == [0, 1]:  # One of them moved the other's folder aside before that one trained.
        message = "must stay while training runs, but was moved or removed."
        assert any(message in " ".join(text.split()) for text in said), said
    if codes == [0, 0]:  # One of them ended before the other one began.
        check_same(tmp_path / "x.1", whole)


@pytest.mark.parametrize("again", [False, True], ids=["removed", "replaced"])
@pytest.mark.parametrize("every", [0.0, 99.0], ids=["saving", "reporting"])
def test_a_run_whose_folder_is_taken_away_ends_and_writes_nowhere_else(
    tmp_path, monkeypatch, again, every
):
    monkeypatch.setattr(runs, "SAVE_EVERY", every)
    folder = tmp_path / "x"
    run, _ = runs.begin(folder, TASK, TASK.Config(epochs=5, hidden=4))

    def take_away(row):
        if row["epoch"] == 2:
            folder.rename(tmp_path / "away")
            if again:
                folder.mkdir()
                (folder / "metrics.jsonl").write_text("mine")

    with pytest.raises(FileNotFoundError, match=r"x must stay while training runs, but was moved"):
        runs.train(run, take_away, lambda: False)
    assert bytes_of(folder) == ({folder / "metrics.jsonl": b"mine"} if again else {})
    assert folder.exists() == again
    rows = read_rows(tmp_path / "away")
    assert [row["epoch"] for row in rows] == [1, 2]


@pytest.mark.slow("starts processes that train")
@pytest.mark.parametrize(
    ("limit", "code", "message"),
    [
        (1000, 2, r"metrics\.jsonl must be written whole, but: .*File too large\."),
        (6000, 1, "checkpoints must take a whole checkpoint, but: .*"),
        (14000, 1, "checkpoints must take a whole checkpoint, but: .*"),
    ],
)
def test_a_full_disk_costs_no_checkpoint(tmp_path, environment, whole, limit, code, message):
    """Limits the size of files instead, which binds any user, and C++, too."""
    folder = tmp_path / "x"
    shutil.copytree(whole, folder)
    before = bytes_of(folder / "checkpoints")
    more = ["0", "--resume", "--epochs", str(EPOCHS + 1)]
    done = subprocess.run(
        [sys.executable, "-c", WITH_SMALL_FILES.format(limit), CHILD, folder, *more],
        env=environment | {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        capture_output=True,
        text=True,
    )
    again = f" Go on with:\n  gru-jax train --resume --out {folder}" * (code == 1)
    assert re.fullmatch(f"gru-jax: [^\n]*{message}{again}\n", done.stderr)
    assert done.returncode == code
    assert bytes_of(folder / "checkpoints") == before
    longer = tmp_path / "longer"
    shutil.copytree(whole, longer)
    for each in (folder, longer):
        resume(environment, each, *more[2:])
    check_same(folder, longer, EPOCHS + 1)


def test_a_row_that_a_full_disk_cuts_names_the_file():
    message = "^/dev/full must take the line of epoch 7, but: No space left on device.$"
    with pytest.raises(OSError, match=message):
        append_row(Path("/dev/full"), {"epoch": 7})


def test_a_damaged_checkpoint_is_one_line_and_stays_as_it_is(run, tmp_path, capsys):
    folder = tmp_path / "x"
    shutil.copytree(run, folder)
    before = bytes_of(folder)
    files = [*sorted(folder.glob("checkpoints/*/*/**/*")), *folder.glob("**/checksums.json")]
    files = [path for path in files if before.get(path)]
    assert len(files) > 10
    for number, path in enumerate(files):
        content = bytearray(before[path])
        content[len(content) // 2] ^= 1
        path.write_bytes(content if number % 2 else content[: len(content) // 2])
        damaged = bytes_of(folder)
        assert main(["train", "--resume", "--out", str(folder)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "must be whole, but" in err
        assert err.count("\n") == 1
        assert bytes_of(folder) == damaged
        path.write_bytes(before[path])


def test_a_checkpoint_of_another_net_is_one_line_and_stays_as_it_is(run, tmp_path, capsys):
    folder = tmp_path / "x"
    shutil.copytree(run, folder)
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden": 6', '"hidden": 7'))
    before = bytes_of(folder)
    assert main(["train", "--resume", "--out", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "to match this net, got float32[" in err
    assert err.count("\n") == 1
    assert bytes_of(folder) == before


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("mine")
    for place, message in {
        path: f"{path} must be empty, new, or a run: ",
        path / "x": f"{path / 'x'} must be a folder, but none can be made: ",
    }.items():
        assert main(["train", "--out", str(place), *SMALL]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"gru-jax: {message}")
        assert err.count("\n") == 1
    assert path.read_text() == "mine"


def test_a_file_in_place_of_the_checkpoints_is_one_line(tmp_path):
    config = TASK.Config(epochs=1, hidden=4)
    run, _ = runs.begin(tmp_path, TASK, config)
    (tmp_path / "checkpoints").write_text("mine")
    with pytest.raises(OSError, match=r"checkpoints must take a whole checkpoint, but: .* exists"):
        runs.train(run, lambda _: None, lambda: False)
    assert (tmp_path / "checkpoints").read_text() == "mine"
