"""`gru-jax bench` with ensembles: members with weights and data of their own."""

import json
import re

import jax
import numpy as np
import pytest
from contenders import EPISODES, FORMS, MEMBERS, SIZE, check_numbers, like_ours, printed

from gru_jax.app.bench import results
from gru_jax.app.bench.contenders import BOTH, CONTENDERS, OURS
from gru_jax.app.bench.measure import measure
from gru_jax.app.bench.problem import Size, draw_problem, parse_size
from gru_jax.app.cli import main

pytestmark = pytest.mark.usefixtures("rank_promotion")
IN_JAX = [(name, reset) for name, reset in FORMS if not CONTENDERS[name].platforms]
WITH_EPISODES = EPISODES._replace(members=2)


def ignore(*_):
    pass


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16,100,32,32,8members", Size(16, 100, 32, 32, members=8)),
        ("1,2,3,4,1members", Size(1, 2, 3, 4, members=1)),
        ("3,30,3,4,2members,resets", WITH_EPISODES),
    ],
)
def test_the_word_members_makes_an_ensemble(text, size):
    assert parse_size(text) == size
    assert str(size) == text
    assert size != size._replace(members=None)


@pytest.mark.parametrize(("name", "reset"), IN_JAX)
def test_every_library_in_jax_computes_the_reference_s_states_of_each_member(name, reset):
    check_numbers(CONTENDERS[name].make, reset, MEMBERS)


@pytest.mark.parametrize(
    ("name", "reset"), [form for form in IN_JAX if CONTENDERS[form[0]].has_resets]
)
def test_so_they_do_with_episodes(name, reset):
    check_numbers(CONTENDERS[name].make, reset, WITH_EPISODES)


@pytest.mark.parametrize("reset", BOTH)
def test_members_differ_in_weights_data_and_episodes(reset):
    problem = draw_problem(Size(64, 128, 2, 3, True, 3), reset)
    for name, leaf in (problem.params._asdict() | problem._asdict()).items():
        if name in ("size", "cell", "params") or leaf is None:
            continue
        assert len(leaf) == 3
        for i in range(3):
            assert name == "b_h" or not (leaf[i] == leaf[i - 1]).all()
    alone = draw_problem(Size(64, 128, 2, 3, True), reset)
    shapes = [list(map(np.shape, jax.tree.leaves(each[2:]))) for each in (problem, alone)]
    assert shapes[0] == [(3, *shape) for shape in shapes[1]]
    np.testing.assert_allclose(problem.xs.std((1, 2, 3)), 1, atol=0.05)
    np.testing.assert_allclose(problem.resets.mean((1, 2)), 1 / 16, atol=0.01)  # 4 deviations


def exchange_gradients(calls):
    def gradients(result):
        leaves, xs_grad = calls.gradients(result)
        return [leaf[::-1] for leaf in leaves], xs_grad

    return gradients


def test_exchanged_members_disagree_and_who_has_no_ensembles_is_left_out():
    contenders = {
        OURS: like_ours(BOTH),
        "states": like_ours(hs=lambda calls: lambda states: calls.hs(states)[::-1]),
        "gradients": like_ours(gradients=exchange_gradients),
        "torch": CONTENDERS["torch"]._replace(packages={}),
        "onnx": CONTENDERS["onnx"]._replace(packages={}),
    }
    (rows,) = measure([MEMBERS], contenders, ["train"], 1, ignore)
    reasons = {row.label: row.reason for row in rows}
    for kind in ("states", "gradients"):
        assert re.fullmatch(f"disagrees with gru_jax: {kind} by .*", reasons[f"{kind} (after)"])
    assert reasons["gru_jax (after)"] is None
    for label in ("torch (after)", "onnx (before)", "onnx (after)"):
        assert reasons[label] == "has no ensembles"
    text = printed(rows)
    assert "\ntorch (after): has no ensembles (2,5,3,4,3members)\n" in text
    heads = r"^ +2,5, *\nbatch,time, +3,4, *\ninput,hidden +3members *$"
    assert re.search(heads, text, re.MULTILINE)
    assert [row.size for row in results.loads(results.dumps(rows, 1))] == [MEMBERS] * len(rows)


@pytest.mark.slow("runs the whole command")
def test_the_whole_command(tmp_path, capsys):
    target, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    args = "bench --sizes 2,5,3,4 2,5,3,4,3members --rounds 2".split()
    args += "--peers xla linen_scan equinox haiku onnx".split()
    assert main([*args, "--json", str(target), "--figure", str(picture)]) == 0
    assert re.search(r"^2,5,3,4,3members  train$", capsys.readouterr().out, re.MULTILINE)
    assert "3 members" in picture.read_text()
    alone, members = {}, {}
    for row in json.loads(target.read_text())["results"]:
        (alone if row["size"] == str(SIZE) else members)[row["name"], row["reset"]] = row
    assert alone.keys() == members.keys()
    for form, row in members.items():
        reason = "has no ensembles" if form[0] == "onnx" else None
        assert row["size"] == str(MEMBERS)
        assert row["reason"] == reason
        assert row["values"].keys() == (set() if reason else {"forward", "train"})
