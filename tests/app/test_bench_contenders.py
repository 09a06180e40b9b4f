"""Contenders of the benchmark agree with ours, or are named and not timed."""

import json
import re

import chex
import jax
import numpy as np
import pytest
from contenders import (
    EPISODES,
    FORMS,
    IMAGE_FORMS,
    IMAGES,
    MEMBERS,
    SIZE,
    check_numbers,
    like_ours,
    ours,
    printed,
    unroll_reference,
)

from gru_jax.app.bench import agreement, results
from gru_jax.app.bench.contenders import BOTH, CONTENDERS, OURS, Contender
from gru_jax.app.bench.image_contenders import IMAGE_CONTENDERS
from gru_jax.app.bench.measure import measure
from gru_jax.app.bench.problem import Size

pytestmark = pytest.mark.usefixtures("rank_promotion")


def ignore(*_):
    pass


@pytest.mark.parametrize(("name", "reset"), FORMS)
def test_every_contender_computes_the_reference_s_states_and_our_gradients(name, reset):
    check_numbers(CONTENDERS[name].make, reset, gradients=name != "onnx")


@pytest.mark.parametrize("name", IMAGE_FORMS)
def test_so_does_every_contender_over_images(name):
    check_numbers(IMAGE_CONTENDERS[name].make, "before", IMAGES)


@pytest.mark.parametrize(
    ("name", "reset"), [form for form in FORMS if CONTENDERS[form[0]].has_resets]
)
def test_so_does_every_contender_with_episodes(name, reset):
    check_numbers(CONTENDERS[name].make, reset, EPISODES)


@pytest.mark.parametrize(
    ("reset", "size"),
    [*((r, size) for r in BOTH for size in (SIZE, EPISODES, MEMBERS)), ("before", IMAGES)],
)
def test_our_gradients_are_the_slopes_of_the_reference_s_loss(rng, reset, size):
    problem, calls = ours(reset, size)
    grads, xs_grad = calls.gradients(calls.train())
    leaves, tree = jax.tree.flatten((problem.params, problem.xs))
    directions = [rng.standard_normal(np.shape(leaf)) for leaf in leaves]

    def loss(step):
        params, xs = tree.unflatten(a + step * d for a, d in zip(leaves, directions, strict=True))
        return (problem.weigh * unroll_reference(problem, params, xs)).sum()

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    products = [np.vdot(g, d) for g, d in zip([*grads, xs_grad], directions, strict=True)]
    assert sum(products) == pytest.approx(slope, rel=1e-4)
    assert np.sum(calls.train()[0]) == pytest.approx(loss(0), rel=1e-5)


def with_grads(change):
    """Returns a field `gradients` whose last array, b_h's, is changed."""

    def field(calls):
        def gradients(result):
            (*grads, b_h), xs_grad = calls.gradients(result)
            return [*grads, change(np.asarray(b_h))], xs_grad

        return gradients

    return field


def fail(*_):
    raise RuntimeError("no such kernel\nand many lines more")


def fail_later(calls):
    remaining = iter([calls.forward])
    return lambda: next(remaining, fail)()


OTHERS = {
    "good": like_ours(),
    "shifted": like_ours(hs=lambda c: lambda states: c.hs(states) + 1e-3),
    "nan": like_ours(hs=lambda c: lambda states: c.hs(states) * np.nan),
    "stuck": like_ours(gradients=with_grads(lambda b_h: 0 * b_h)),
    "nan-gradient": like_ours(gradients=with_grads(lambda b_h: np.nan * b_h)),
    "absent": Contender(("before",), fail, {"jax": "jax", "no_such_module": "no-such"}),
    "broken": Contender(("before",), fail, {}),
    "tired": like_ours(forward=fail_later),
}


@pytest.fixture(scope="module")
def rows():
    """The results of contenders that are wrong in every way."""
    with jax.numpy_rank_promotion("allow"):
        contenders = {OURS: like_ours(BOTH)} | OTHERS
        (rows,) = measure([SIZE], contenders, ["forward", "train"], 3, ignore)
    return {row.name: row for row in rows if row.name != OURS}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("good", None),
        ("shifted", r"disagrees with gru_jax: states by 0\.001"),
        ("nan", "disagrees with gru_jax: states by nan"),
        ("stuck", "disagrees with gru_jax: gradients by 1"),
        ("nan-gradient", "disagrees with gru_jax: gradients by nan"),
        ("absent", "not installed: pip install no-such"),
        ("broken", "failed: RuntimeError: no such kernel"),
        ("tired", "failed: RuntimeError: no such kernel"),
    ],
)
def test_who_disagrees_fails_or_is_missing_is_named_and_not_timed(rows, name, reason):
    row = rows[name]
    assert row.values.keys() == ({"forward", "train"} if reason is None else set())
    if reason is None:
        assert row.reason is None
        assert len(row.values["forward"]) == 3
    else:
        assert re.fullmatch(reason, row.reason)


def test_small_gradients_are_compared_by_their_size_and_zeros_agree():
    problem, calls = ours("after")
    small = calls._replace(gradients=with_grads(lambda b_h: b_h / 50)(calls))
    zero = calls._replace(gradients=with_grads(lambda b_h: 0 * b_h)(calls))
    for a, b, error in ((calls, small, 49), (zero, zero, 0)):
        differences = agreement.compare(a, b, problem.params)
        assert differences["gradients"] == pytest.approx(error)


def test_without_ours_there_is_nothing_to_compare_with():
    contenders = {OURS: Contender(BOTH, fail, {}), "good": like_ours()}
    ((*own, good),) = measure([SIZE], contenders, ["forward"], 1, ignore)
    assert {row.reason for row in own} == {"failed: RuntimeError: no such kernel"}
    assert good.reason == "nothing to compare with, since gru_jax failed"
    assert good.values == {}


def test_keras_on_another_backend_is_left_out(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    contenders = {OURS: like_ours(BOTH), "keras": CONTENDERS["keras"]}
    (rows,) = measure([SIZE], contenders, [], 1, ignore)
    assert [row.name for row in rows[2:]] == ["keras", "keras"]
    reason = "KERAS_BACKEND is 'tensorflow': unset it, or make it jax"
    assert {row.reason for row in rows[2:]} == {reason}


def test_reasons_stand_below_the_tables(rows):
    text = printed(list(rows.values()), ["forward"])
    assert "\nshifted (after): disagrees with gru_jax: states by 0.001 (2,5,3,4)\n" in text
    assert re.search(r"^shifted \(after\) +- +- +1e-03", text, re.MULTILINE)
    assert re.search(r"^nan \(after\) +- +- +nan", text, re.MULTILINE)
    assert "\nabsent (before): not installed: pip install no-such (2,5,3,4)\n" in text
    assert re.search(r"^good \(after\) +\d\S* ±", text, re.MULTILINE)
    assert not re.search(r"^shifted \(after\) +\d\S* ±", text, re.MULTILINE)


def test_json_gives_the_results_back(rows):
    text = results.dumps(list(rows.values()), 3)
    assert "NaN" not in text
    assert set(json.loads(text)) == {"versions", "machine", "precision", "rounds", "results"}
    for before, after in zip(rows.values(), results.loads(text), strict=True):
        numbers = {"differences": None, "values": None}
        assert after._replace(**numbers) == before._replace(**numbers)
        # Differences have three significant digits, seconds five.
        chex.assert_trees_all_close(after.differences, before.differences, rtol=5e-3)
        chex.assert_trees_all_close(after.values, before.values, rtol=5e-5)
        assert isinstance(after.size, Size)
