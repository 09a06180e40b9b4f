"""A run that is killed at any moment goes on to the same bits as one that is left alone."""

import random
import shutil
import signal
import time

import chex
import pytest
from killed_run import EPOCHS, TASK
from run_folders import bytes_of, check_same, count_epochs, start

from gru_jax import interop
from gru_jax.app import problem as problems
from gru_jax.app import runs, settings

pytestmark = pytest.mark.usefixtures("_random_task")
KILLS = 20


def begin_and_lose(folder):
    """Trains two epochs, and removes their checkpoints; returns the best parameters."""
    config = TASK.Config(epochs=2, hidden=4)
    run, _ = runs.begin(folder, TASK, config)
    run, _ = runs.train(run, lambda _: None, lambda: False)
    shutil.rmtree(folder / "checkpoints")
    return run.progress.best_params, config


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path):
    """Its unfinished checkpoint and its leftover files are never mistaken for a run."""
    expected, config = begin_and_lose(tmp_path)
    (tmp_path / "best.safetensors").unlink()
    (tmp_path / "checkpoints" / "unfinished.orbax-checkpoint-tmp" / "last").mkdir(parents=True)
    leftover = tmp_path / f".best.{'0123456789abcdef' * 2}.safetensors"
    leftover.write_text("half")
    run = runs.reopen(tmp_path, TASK, config)
    assert (run.progress.epoch, run.rows) == (0, [])
    runs.train(run, lambda _: None, lambda: False)
    _, best = interop.load(tmp_path / "best.safetensors")
    chex.assert_trees_all_equal(best, expected)
    assert not leftover.exists()
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert checkpoint.name.isdecimal()


def test_a_run_that_lost_its_checkpoints_does_not_begin_again(tmp_path):
    _, config = begin_and_lose(tmp_path)
    before = bytes_of(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*/checkpoints; train first\."):
        runs.reopen(tmp_path, TASK, config)
    assert bytes_of(tmp_path) == before


def test_a_run_that_was_killed_before_it_had_settings_is_no_obstacle(tmp_path):
    (tmp_path / f".config.{'0123456789abcdef' * 2}.json").write_text('{"ta')
    run, moved = runs.begin(tmp_path, TASK, TASK.Config(epochs=1, hidden=4))
    assert moved is None
    runs.train(run, lambda _: None, lambda: False)
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_another_process_has_continued_is_not_trained(tmp_path):
    config = TASK.Config(epochs=1, hidden=4)
    first, _ = runs.begin(tmp_path, TASK, config)
    second = runs.reopen(tmp_path, TASK, config)
    runs.train(second, lambda _: None, lambda: False)
    before = bytes_of(tmp_path)
    with pytest.raises(ValueError, match="must be as it was opened, but another process trained"):
        runs.train(first, lambda _: None, lambda: False)
    assert bytes_of(tmp_path) == before


@pytest.mark.slow("starts a process for each kill")
def test_a_run_that_is_killed_twenty_times_ends_in_the_same_bits(tmp_path, environment, whole):
    """Ten times after a while, ten times before some operation on files, begun anew or resumed."""
    folder, draw, reached = tmp_path / "x", random.Random(0), []
    for kill in range(KILLS):
        at_operation = draw.randrange(1, 300) if kill % 2 else 0
        more = ["--resume"] if (folder / "config.json").exists() else []
        with start(environment, folder, at_operation, *more) as child:
            assert child.stdout.readline() == "ready\n"
            if not at_operation:
                time.sleep(draw.uniform(0, 1))
                child.kill()
            said = child.stdout.read()
        assert child.returncode == -signal.SIGKILL, said
        reached.append(count_epochs(folder))
    assert 5 < reached[-1] < EPOCHS, reached
    with start(environment, folder, 0, "--resume") as child:
        said = child.stdout.read()
    assert child.returncode == 0, said
    check_same(folder, whole)


@pytest.mark.slow("continues sixty runs")
def test_before_each_operation_of_a_save_the_folder_holds_a_whole_run(
    tmp_path, environment, whole, monkeypatch
):
    """SIGKILL would leave these files: written bytes stay, even in files that are open."""
    folder, states = tmp_path / "x", tmp_path / "states"
    shutil.copytree(whole, folder)
    with start(environment, folder, "states", states) as child:
        said = child.stdout.read()
    assert child.returncode == 0, said
    task, config = settings.read_config(folder)
    problem = problems.make_problem(task, config)  # One for all, and so compiled once.
    loop, epochs = problems.make_loop(problem), []
    monkeypatch.setattr(problems, "make_problem", lambda *_: problem)
    monkeypatch.setattr(problems, "make_loop", lambda _: loop)
    for state in distinct(sorted(states.iterdir())):
        numbers = [path.name for path in (state / "checkpoints").iterdir()]
        newest = max((name for name in numbers if name.isdecimal()), key=int)
        assert (state / "checkpoints" / newest / "checksums.json").exists()
        run = runs.reopen(state, task, config)
        epochs.append(len(run.rows))
        _, best = interop.load(state / "best.safetensors")
        chex.assert_trees_all_equal(best, run.progress.best_params)
        runs.train(run, lambda _: None, lambda: False)
        check_same(state, folder, EPOCHS + 1)
    assert len(epochs) > 50
    assert epochs == sorted(epochs)
    assert set(epochs) == {EPOCHS, EPOCHS + 1}


def distinct(folders):
    """Yields the folders that differ from the one before."""
    before = None
    for folder in folders:
        paths = sorted(folder.rglob("*"))
        content = [
            (path.relative_to(folder), path.is_file() and path.read_bytes()) for path in paths
        ]
        if content != before:
            yield folder
        before = content
