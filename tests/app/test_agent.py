"""`gru-jax train agent`, from the first line to a resumed run; `tests/agents` has the numbers."""

import json

import jax
import numpy as np
import pytest
from refusals import refused
from run_folders import read_rows

import gru_jax as gj
from gru_jax.app import ensemble, inference, runs, settings
from gru_jax.app import problem as problems
from gru_jax.app.cli import main
from gru_jax.app.tasks.agent import AGENT, AgentConfig

SMALL = ["--corridor", "2", "--hidden", "16", "--batch", "16", "--steps", "32", "--epochs", "3"]


def train(folder, *options):
    assert main(["train", "agent", "--out", str(folder), *SMALL, *options]) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "x")


def test_a_short_run_learns_a_short_maze(run):
    result = json.loads((run / "result.json").read_text())
    assert result["test_return"] == pytest.approx(4)
    assert (result["test_success"], result["test_length"]) == (1, 3)
    assert result["test_return_best_possible"] == 4
    assert result["test_return_best_without_memory"] == pytest.approx(1.95)
    assert result["test_return_random_actions"] < 1.95
    assert (run / "figures" / "episode.png").read_bytes().startswith(b"\x89PNG")
    rows = read_rows(run)
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[-1].keys() >= {"loss", "return", "length", "entropy", "kl", "clipped"}


def test_without_memory_the_sign_is_forgotten(tmp_path, capsys):
    result = json.loads((train(tmp_path / "x", "--memory", "none") / "result.json").read_text())
    assert result["test_return"] == pytest.approx(1.95, abs=0.5)
    text = " ".join(capsys.readouterr().out.split())
    assert "GRU of 16, put back to zero before each step" in text


def test_the_test_plays_the_best_parameters_from_seeds_of_its_own(run, capsys):
    trained = inference.load_trained(run)
    environment = gj.agents.t_maze(2)
    key = jax.random.fold_in(jax.random.key(0), 2)
    played = gj.agents.play(environment, trained.net, trained.params, key, 200)
    result = json.loads((run / "result.json").read_text())
    assert result["test_return"] == pytest.approx(float(played.returns.mean()))
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    assert "GRU (this run)" in capsys.readouterr().out


def test_a_run_resumes_to_the_same_bits(run, tmp_path):
    task, config = settings.read_config(run)
    other, _ = runs.begin(tmp_path / "x", task, config)
    rows = []
    other, ended = runs.train(other, rows.append, lambda: len(rows) == 1)
    assert ended == "stopped"
    other, ended = runs.train(runs.reopen(other.folder, task, config), rows.append, lambda: False)
    assert ended == "epochs"
    assert read_rows(other.folder) == read_rows(run)
    file = "best.safetensors"
    assert (other.folder / file).read_bytes() == (run / file).read_bytes()


def test_several_seeds_are_the_runs_that_they_would_be_alone():
    config = AgentConfig(corridor=2, hidden=8, batch=8, steps=16, epochs=1, updates=2, seeds=2)
    problem = problems.make_problem(AGENT, config)
    members = ensemble.make_members(problem)
    together, _ = ensemble.train(problem, members, ensemble.init_progress(problem, members))
    for i, member in enumerate(members):
        start = problems.init_progress(member)
        alone, _ = problems.train(member, problems.make_loop(member), start)
        got = ensemble.take(together.state.params, i)
        for a, b in zip(*map(jax.tree.leaves, (got, alone.state.params)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_what_an_agent_has_no_use_for_is_refused(run, capsys):
    assert main(["explain", str(run)]) == 2
    message = (
        "explain: task must have sequences of vectors or tokens, got agent, which plays its own "
        "episodes; its gates over one are in the run's figures/."
    )
    assert message in " ".join(capsys.readouterr().err.split())
    assert main(["predict", str(run), "--input", "a.csv"]) == 2
    message = "a.csv must not be given to an agent, which plays its own episodes."
    assert message in " ".join(capsys.readouterr().err.split())
    assert main(["train", "agent", "--env", "maze"]) == 2
    message = "--env must be one of tmaze, repeat_previous, cart_pole, got 'maze'"
    assert message in " ".join(capsys.readouterr().err.split())
    with refused("ppo: minibatches must divide the 6 environments, got 4."):
        runs.begin(run.parent / "other", AGENT, AgentConfig(batch=6))
    assert not (run.parent / "other").exists()
