"""`--seeds`: each member is the run that its seed would train alone; statistics are NumPy's."""

import json

import jax
import numpy as np
import pytest
import waves
from refusals import refused
from run_folders import read_rows

import gru_jax as gj
from gru_jax import interop
from gru_jax.app import ensemble, inference, settings
from gru_jax.app import problem as problems
from gru_jax.app import runs as run_folder
from gru_jax.app.cli import main
from gru_jax.app.tasks.classify import CLASSIFY, ClassifyConfig

SEEDS = (3, 4, 5)
OPTIONS = ["--batch", "8", "--hidden", "6", "--layers", "1", "--seed", "3"]


def draw_data(folder):
    """Waves of several lengths, with numbers as labels: parts differ in lengths and statistics."""
    rng = np.random.default_rng(0)
    xs, _ = waves.draw(rng, time=12)
    xs = [x[: 6 + i % 7] for i, x in enumerate(xs)]
    return waves.write(folder, "npz", xs, [float(x[:, 0].sum() + rng.normal()) for x in xs])


def train(folder, data, *options):
    """Trains by the command; the last options win."""
    args = ["train", "classify", "--data", str(data), "--out", str(folder), *OPTIONS, *options]
    assert main(args) == 0
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of three seeds, and the run of each seed alone."""
    folder = tmp_path_factory.mktemp("seeds")
    data = draw_data(folder)
    together = train(folder / "together", data, "--epochs", "4", "--seeds", "3")
    alone = [train(folder / f"alone_{s}", data, "--epochs", "4", "--seed", str(s)) for s in SEEDS]
    return together, alone


def test_members_are_the_runs_that_they_would_be_alone(runs):
    together, alone = runs
    for seed, single in zip(SEEDS, alone, strict=True):
        member = together / f"seed_{seed}"
        files = (folder / "best.safetensors" for folder in (member, single))
        (net, got), (other, expected) = map(interop.load, files)
        assert net == other
        for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert inference.load_trained(member).facts == inference.load_trained(single).facts
        assert (member / "config.json").read_text() == (single / "config.json").read_text()
        got, expected = (json.loads((f / "result.json").read_text()) for f in (member, single))
        assert got["best_epoch"] == expected["best_epoch"]
        assert got["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-4)


def test_the_run_has_means_and_standard_deviations(runs):
    together, alone = runs
    result = json.loads((together / "result.json").read_text())
    members = [json.loads((f / "result.json").read_text()) for f in alone]
    for name in ("test_loss", "test_mae", "validation_loss"):
        values = [each[name] for each in members]
        assert result[name] == pytest.approx(np.mean(values), rel=1e-4)
        assert result[f"{name}_sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-3)
    assert [each["seed"] for each in result["members"]] == list(SEEDS)
    assert result["parameters"] == members[0]["parameters"]
    rows = zip(read_rows(together), *map(read_rows, alone), strict=True)
    for row, *others in rows:
        for name in ("loss", "validation_loss"):
            values = [each[name] for each in others]
            assert row[name] == pytest.approx(np.mean(values), rel=1e-4)
            assert row[f"{name}_sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-3)


def test_a_member_is_a_run_and_the_whole_is_none(runs, capsys):
    together, _ = runs
    assert main(["evaluate", str(together / "seed_4")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(together)]) == 2
    message = f"{together} must be a run of one seed, but has 3: name one, e.g. {together}/seed_3."
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_printed_has_plus_and_minus(tmp_path, capsys):
    folder = train(tmp_path / "x", draw_data(tmp_path), "--epochs", "2", "--seeds", "2")
    text = capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    mean, deviation = result["test_loss"], result["test_loss_sd"]
    assert f"{mean:.3f} ± {deviation:.3f}" in text
    assert "GRU (2 seeds)" in text
    assert "seeds 3 to 4 at once" in text
    assert f"{result['parameters']:,} parameters" in text
    assert f"{folder / 'seed_4'}\n" in text


def test_a_run_of_several_seeds_resumes_to_the_same_bits(runs, tmp_path):
    together, _ = runs
    task, config = settings.read_config(together)
    run, _ = run_folder.begin(tmp_path / "x", task, config)
    rows = []
    run, ended = run_folder.train(run, rows.append, lambda: len(rows) == 2)
    assert ended == "stopped"
    run = run_folder.reopen(run.folder, task, config)
    assert run.progress.epoch == 2
    run, ended = run_folder.train(run, rows.append, lambda: False)
    assert ended == "epochs"
    assert read_rows(run.folder) == read_rows(together)
    for seed in SEEDS:
        file = f"seed_{seed}/best.safetensors"
        assert (run.folder / file).read_bytes() == (together / file).read_bytes()


def test_a_seed_whose_loss_is_not_finite_is_named(tmp_path, capsys):
    data, folder = draw_data(tmp_path), tmp_path / "x"
    options = ["--learning-rate", "1e38", "--seeds", "2", "--epochs", "2"]
    args = ["train", "classify", "--data", str(data), "--out", str(folder), *OPTIONS, *options]
    assert main(args) == 1
    assert "the loss or its gradient of seed 3 was not finite at step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masked": ["x"]}, "since they draw parts with other masked"),
        ({"counts": [1, 2, 3]}, "since they draw parts with other counts"),
    ],
)
def test_seeds_that_no_program_fits_are_refused(monkeypatch, changes, message):
    config = ClassifyConfig(data="some.csv", seeds=2)
    facts = {"masked": [], "counts": [1, 2]}

    def make_problem(task, config):
        own = facts | (changes if config.seed else {})
        return problems.Problem(task, config, own, *[None] * 8)

    monkeypatch.setattr(problems, "make_problem", make_problem)
    with refused(f"train: seeds must be 1 for these data, {message}."):
        ensemble.make_members(make_problem(CLASSIFY, config))


def test_members_may_draw_batches_of_different_lengths_in_different_orders():
    times = {0: [[5, 5], [3]], 1: [[4], [5, 5]]}  # the steps of each batch, stack by stack

    def batches(config, data, _):
        for stack in times[config.seed]:
            shape = (len(stack), 2, stack[0], 1)
            lengths = np.full(shape[:2], stack[0]) - [0, config.seed]
            yield gj.Batch(data.normal(size=shape), lengths, np.ones(shape[:2]), np.ones(shape[:2]))

    task = CLASSIFY._replace(batches=batches)
    nothing = dict.fromkeys(problems.Problem._fields)
    members = [
        problems.Problem(
            **nothing
            | {"task": task, "config": ClassifyConfig(seed=i), "facts": {}}
            | {"train": np.random.default_rng(i)}
        )
        for i in (0, 1)
    ]
    stacks = (stack for stack, _ in ensemble._join_epoch(members, 0))
    stacks = (jax.tree.map(lambda a: a.swapaxes(0, 1), stack) for stack in stacks)
    joined = list(problems.unstack(stacks))
    assert len(joined) == 3
    for i in (0, 1):
        alone = list(problems.unstack(batches(ClassifyConfig(seed=i), np.random.default_rng(i), 0)))
        for batch, all_members in zip(alone, joined, strict=True):
            time = batch.xs.shape[1]
            np.testing.assert_array_equal(all_members.xs[i][:, :time], batch.xs)
            assert not all_members.xs[i][:, time:].any()
            np.testing.assert_array_equal(all_members.lengths[i], batch.lengths)


def test_batches_of_different_sizes_are_refused():
    with refused("train: seeds must draw batches of one size, got [2, 3]."):
        ensemble._join(np.ones((2, 4)), np.ones((3, 4)))
