"""`gru-jax bench` over images: a different function, the budget, files, tables."""

import json
import re
import time

import numpy as np
import pytest
from contenders import IMAGES, like_ours, printed, row
from matplotlib.figure import Figure

from gru_jax.app.bench import figure, results
from gru_jax.app.bench.contenders import OURS
from gru_jax.app.bench.image_contenders import IMAGE_CONTENDERS, make_linen_lstm
from gru_jax.app.bench.measure import choose, measure
from gru_jax.app.bench.problem import (
    DEFAULT_IMAGE_SIZES,
    DEFAULT_SIZES,
    ImageSize,
    draw_problem,
    parse_size,
    parse_sizes,
)
from gru_jax.app.cli import main

pytestmark = pytest.mark.usefixtures("rank_promotion")


def ignore(*_):
    pass


def test_the_numbers_of_a_size_tell_the_problem():
    assert parse_size("8,20,32,24,1,16") == ImageSize(8, 20, 32, 24, 1, 16)
    assert str(ImageSize(8, 20, 32, 24, 1, 16)) == "8,20,32,24,1,16"
    assert list(map(str, parse_sizes(None, False))) == list(DEFAULT_SIZES)
    assert list(map(str, parse_sizes(None, True))) == list(DEFAULT_IMAGE_SIZES)
    assert parse_sizes(["2,3,5,4,2,3", "02,3,5,4,2,3"], False) == [IMAGES]
    assert choose(IMAGES, None) == IMAGE_CONTENDERS
    assert list(choose(IMAGES, ["torch"])) == [OURS, "torch"]


@pytest.mark.slow("compiles Flax's training step")
def test_another_function_is_timed_but_not_compared():
    other = like_ours((None,), hs=lambda _: None, gradients=lambda _: None)
    contenders = {OURS: like_ours(("before",)), "other": other}
    (rows,) = measure([IMAGES], contenders, ["forward", "train"], 3, ignore)
    assert [each.label for each in rows] == ["gru_jax (before)", "other"]
    own, other = rows
    assert set(own.differences) == {"states", "gradients"}
    assert other.differences == {}
    assert other.reset is other.reason is None
    assert {name: len(values) for name, values in other.values.items()} == dict(forward=3, train=3)
    text = printed(rows, ["forward", "train"])
    assert "\nother: a different function; only its time is compared\n" in text
    assert re.search(r"^other( +\d\S* ±\S+){4} +- +- *$", text, re.MULTILINE)
    assert "gru_jax (before): another" not in text
    back = results.loads(results.dumps(rows, 3))
    assert [(each.label, each.size) for each in back] == [(each.label, each.size) for each in rows]


def test_the_lstm_of_flax_is_another_function():
    problem = draw_problem(IMAGES, "before")
    lstm = make_linen_lstm(problem)
    hs = lstm.hs(lstm.forward())
    assert hs.shape == problem.weigh.shape
    assert np.isfinite(lstm.train()[0])
    assert IMAGE_CONTENDERS["linen_lstm"].resets == (None,)


@pytest.mark.parametrize("resets", [("before",), (None,)])
def test_without_measuring_a_training_step_none_runs(resets):
    def fail():
        raise RuntimeError("too slow")

    contenders = {OURS: like_ours(("before",)), "slow": like_ours(resets, train=lambda _: fail)}
    (rows,) = measure([IMAGES], contenders, ["forward"], 2, ignore)
    assert [each.reason for each in rows] == [None, None]
    assert set(rows[0].differences) == {"states"}
    (rows,) = measure([IMAGES], contenders, ["train"], 2, ignore)
    assert [each.reason for each in rows] == [None, "failed: RuntimeError: too slow"]


def test_who_spends_the_budget_has_one_value():
    def slow(calls):
        return lambda: time.sleep(0.1) or calls.forward()

    contenders = {OURS: like_ours(("before",)), "slow": like_ours(("before",), forward=slow)}
    (rows,) = measure([IMAGES], contenders, ["forward"], 4, ignore, budget=0.1)
    ((seconds,),) = rows[1].values.values()
    assert 0.1 <= seconds
    (ratios,) = results.relative(rows, "forward").values()
    assert ratios == {IMAGES: [seconds / np.median(rows[0].values["forward"])]}


def test_rounds_that_are_fewer_stand_in_the_table():
    large = IMAGES._replace(batch=9)
    rows = [
        row(IMAGES, OURS, "before", 1.0, 2.0, 1.0),
        row(IMAGES, "linen", "before", 4.0),
        row(IMAGES, "linen_lstm", None, 3.0, 6.0),
        row(large, OURS, "before", 1.0, 1.0, 1.0),
        row(large, "linen", "before", 9.0, 16.0, 25.0),
    ]
    ratios = results.relative(rows, "train")
    assert ratios["linen (before)"] == {IMAGES: [4], large: [9, 16, 25]}
    assert ratios["linen_lstm"] == {IMAGES: [3, 3]}
    assert results.average(ratios["linen (before)"]) == pytest.approx([8])  # sqrt(4 * 16)
    assert results.average({IMAGES: [4, 4], large: [9, 16]}) == pytest.approx([6, 8])
    assert results.average({}) == []
    text = printed(rows, rounds=3)
    assert "(ms; [n]: only n rounds)" in text
    assert re.search(r"^linen \(before\) +4000 \[1\] +16000 ±\d+ *$", text, re.MULTILINE)
    assert re.search(r"^linen_lstm +\d+ ±\d+ \[2\] +- *$", text, re.MULTILINE)
    assert re.search(r"^linen \(before\) +8\.0 ", text, re.MULTILINE)
    assert "[" not in printed(rows[3:], rounds=3)
    heads = [line.split() for line in text.splitlines()]
    assert ["batch,time,", "2,3,", "9,3,"] in heads
    assert ["height,width,", "5,4,", "5,4,"] in heads
    assert ["input,channels", "2,3", "2,3"] in heads


def test_the_picture_names_another_function_without_a_form():
    rows = [row(IMAGES, OURS, "before", 1.0, 1.0), row(IMAGES, "linen_lstm", None, 2.0)]
    ax = Figure().subplots()
    figure.draw_measure(rows, "train", ax)
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines}["linen_lstm"] == [2]
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "batch 2\n3 steps\n5 x 4 pixels\n2 inputs\n3 channels"
    ]


@pytest.mark.slow("runs the whole command")
def test_the_whole_command(tmp_path, capsys):
    target, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    args = "bench --sizes 2,3,5,4,2,3 1,2,3,3,1,2 --peers linen linen_lstm --rounds 2".split()
    assert main([*args, "--json", str(target), "--figure", str(picture)]) == 0
    text = capsys.readouterr().out
    assert picture.read_text().lstrip().startswith("<?xml")
    rows = json.loads(target.read_text())["results"]
    forms = [(OURS, "before"), ("linen", "before"), ("linen_lstm", None)]
    sizes = ("2,3,5,4,2,3", "1,2,3,3,1,2")
    whose = [(each["size"], each["name"], each["reset"]) for each in rows]
    assert whose == [(size, *form) for size in sizes for form in forms]
    for each in rows:
        compared = {"states", "gradients"} if each["reset"] else set()
        assert each["reason"] is None
        assert set(each["differences"]) == compared
        assert {name: len(v) for name, v in each["values"].items()} == dict(forward=2, train=2)
    assert "linen_lstm: a different function; only its time is compared" in text
