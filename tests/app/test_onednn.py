"""oneDNN in the benchmark: its driver, built from C++ as a user builds it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_bench import SIZE, check_form, loose

from gru_jax.app.bench import onednn
from gru_jax.app.bench.contender import Unavailable
from gru_jax.app.bench.peers import BOTH
from gru_jax.app.bench.problem import Size, draw_problem
from gru_jax.app.cli import main

pytestmark = pytest.mark.onednn
__all__ = ["loose"]  # a fixture, in use here, too


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory):
    """Builds it into a folder of its own."""
    target = tmp_path_factory.mktemp("onednn") / "libgru_onednn.so"
    source = Path(__file__).parent / "onednn"
    subprocess.run(["make", "-C", source, f"TARGET={target}"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(onednn.VARIABLE, str(target))
        yield


@pytest.mark.parametrize("reset", BOTH)
def test_it_computes_what_numpy_loops_do_and_ours_differentiates(reset):
    check_form("onednn", reset)


@pytest.mark.parametrize("reset", BOTH)
def test_every_training_step_gives_the_loss_and_its_gradients_anew(reset):
    """Its own primitives add gradients to what was there before."""
    problem = draw_problem(SIZE)
    contender = onednn.build_onednn(problem, reset)
    hs = contender.hs(contender.forward())
    for train in (contender.train, contender.train, contender.first_train):
        loss = train()
        assert loss == pytest.approx(float((problem.weigh * hs).sum()), rel=1e-5)
        grads, xs_grad = contender.gradients(loss)
        if train is contender.train:
            first = [np.array(leaf) for leaf in grads if leaf is not None] + [xs_grad]
        again = [np.array(leaf) for leaf in grads if leaf is not None] + [xs_grad]
        for a, b in zip(again, first, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_it_refuses_is_said():
    problem = draw_problem(SIZE)
    with pytest.raises(Unavailable, match=r"^oneDNN: \w+"):
        onednn.build_onednn(problem._replace(size=Size(2, -1, 3, 4)), "after")


def test_the_command_ranks_it_and_names_its_version(tmp_path, capsys):
    target = tmp_path / "x.json"
    args = "bench --sizes 2,5,3,4 --peers onednn --rounds 2 --json".split()
    assert main([*args, str(target)]) == 0
    content = json.loads(target.read_text())
    assert content["versions"]["onednn"] in capsys.readouterr().out
    for result in content["results"][-2:]:
        assert result["library"] == "onednn"
        assert result["reason"] is None
        assert result["values"].keys() == {"forward", "train", "first-step", "latency"}
