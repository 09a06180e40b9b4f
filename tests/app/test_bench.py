"""The benchmark: contenders agree or are named, results are kept, and the command as a whole."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from typing import get_args

import jax
import numpy as np
import pytest
import reference
from contenders import SIZE, check_numbers, ours
from matplotlib.figure import Figure
from rich.console import Console

from gru_jax.app import console as show
from gru_jax.app.bench import agreement, figure, report, results
from gru_jax.app.bench.contenders import BOTH, CONTENDERS, OURS, Contender, PeerName
from gru_jax.app.bench.measure import MEASURES, Result, Stopped, choose, count_turns, measure
from gru_jax.app.bench.problem import Size, parse_size
from gru_jax.app.bench.timing import spread
from gru_jax.app.cli import main

FORMS = [(name, reset) for name, each in CONTENDERS.items() for reset in each.resets]
# PyTorch's wheels take gigabytes: its case exists only where it is installed.
if importlib.util.find_spec("torch") is None:
    FORMS = [(name, reset) for name, reset in FORMS if name != "torch"]


@pytest.fixture(autouse=True)
def loose():
    """Other libraries add vectors to matrices."""
    with jax.numpy_rank_promotion("allow"):
        yield


def ignore(*_):
    pass


# Agreement.


@pytest.mark.parametrize(("name", "reset"), FORMS)
def test_every_contender_computes_the_reference_s_states_and_our_gradients(name, reset):
    check_numbers(CONTENDERS[name].make, reset, gradients=name != "onnx")


@pytest.mark.parametrize("reset", BOTH)
def test_our_gradients_are_the_slopes_of_the_reference_s_loss(rng, reset):
    problem, calls = ours(reset)
    grads, xs_grad = calls.gradients(calls.train())
    leaves, tree = jax.tree.flatten((problem.params, problem.xs))
    directions = [rng.standard_normal(np.shape(leaf)) for leaf in leaves]

    def loss(step):
        params, xs = tree.unflatten(a + step * d for a, d in zip(leaves, directions, strict=True))
        h0, valid = np.zeros((SIZE.batch, SIZE.hidden)), np.ones((SIZE.batch, SIZE.time), bool)
        return (problem.weigh * reference.unroll(params, xs, h0, valid)[0]).sum()

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    products = [np.vdot(g, d) for g, d in zip([*grads, xs_grad], directions, strict=True)]
    assert sum(products) == pytest.approx(slope, rel=1e-4)
    assert float(calls.train()[0]) == pytest.approx(loss(0), rel=1e-5)


def like_ours(resets=("after",), **changes):
    """Returns a contender that is ours but for some fields of its calls: `(calls) -> field`."""

    def make(problem):
        _, calls = ours("before" if problem.params.b_h is None else "after")
        return calls._replace(**{name: change(calls) for name, change in changes.items()})

    return Contender(resets, make, {})


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
        (rows,) = measure([SIZE], contenders, ["forward"], 3, ignore)
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
    assert row.values.keys() == ({"forward"} if reason is None else set())
    if reason is None:
        assert row.reason is None
        assert len(row.values["forward"]) == 3
    else:
        assert re.fullmatch(reason, row.reason)


def test_small_gradients_are_compared_by_their_size_and_zeros_agree():
    problem, calls = ours("after")
    small = calls._replace(gradients=with_grads(lambda b_h: b_h / 50)(calls))
    zero = calls._replace(gradients=with_grads(lambda b_h: 0 * b_h)(calls))
    error = lambda a, b: agreement.compare(a, b, problem.params)["gradients"]  # noqa: E731
    assert error(calls, small) == pytest.approx(49)
    assert error(zero, zero) == 0


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


# Results, tables and the figure.


def row(size, name, reset, *train):
    return Result(size, name, reset, None, {}, {"train": list(train)})


def printed(rows, measures=("train",), width=100):
    with (console := Console(width=width)).capture() as capture:
        report.print_results(console, rows, measures)
    return capture.get()


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
    assert set(json.loads(text)) == {"versions", "machine", "rounds", "results"}
    for before, after in zip(rows.values(), results.loads(text), strict=True):
        np.testing.assert_equal(after._asdict(), before._asdict())
        assert isinstance(after.size, Size)


def test_ratios_are_to_ours_of_the_same_form_round_by_round():
    """The second round was ten times slower for both, which says nothing of either."""
    small, large = Size(1, 1, 1, 1), Size(9, 9, 9, 9)
    some = [
        row(small, OURS, "before", 9.0, 9.0, 9.0),
        row(small, OURS, "after", 1.0, 10.0, 2.0),
        row(small, "linen", "after", 2.0, 20.0, 6.0),
        row(large, OURS, "after", 1.0, 1.0, 1.0),
        row(large, "linen", "after", 8.0, 8.0, 3.0),
        row(large, "haiku", "before", 1.0, 1.0, 1.0),
    ]
    ratios = results.relative(some, "train")
    assert ratios == {"linen (after)": {small: [2, 2, 3], large: [8, 8, 3]}}
    assert np.median([2, 20, 6]) / np.median([1, 10, 2]) == 3
    assert results.relative(some, "forward") == {}
    # Rounds' geometric means are 4, 4 and 3; the least size has 2, 2 and 3.
    text = printed(some)
    assert re.search(r"^linen \(after\) +4\.0 ±0\.2 +2\.0 ±0\.2 +- +-", text, re.MULTILINE)
    assert re.search(r"^haiku \(before\) +- +- +- +-", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((12.3456, 12.1, 12.7), "12.3 ±0.3"),
        ((123.456, 119, 127), "123 ±4"),
        ((123.456, 109, 137), "120 ±10"),
        ((0.0123456, 0.01214, 0.01254), "0.0123 ±0.0002"),
        ((12.3456, 12.34559, 12.34561), "12.3 ±0.1"),  # three digits at most
        ((0.5, 0.1, 3), "0 ±1"),
        ((12.3456, 12.3456, 12.3456), "12"),  # the spread is unknown
        ((123456, 123456, 123456), "120000"),
    ],
)
def test_no_more_digits_are_printed_than_the_spread_supports(values, text):
    assert "".join(report.digits(spread([values[1], *values, values[2]]))) == text


def test_the_picture_shows_ratios_to_ours_with_quartiles():
    some = [
        row(SIZE, OURS, "after", 1.0, 1.0, 2.0),
        row(SIZE, "linen", "after", 2.0, 2.0, 2.0),
        row(SIZE, "torch", "after", 1.5, 1.5, 1.5),
    ]
    ax = Figure().subplots()
    figure.draw_measure(some, "train", ax)
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines if "(" in line.get_label()}
    assert drawn == {"linen (after)": [2], "torch (after)": [1.5]}
    (segment,) = ax.collections[0].get_segments()
    assert segment[:, 1].tolist() == [1.5, 2]  # of 2, 2, 1
    assert len(figure.draw(some).axes) == 1


def test_every_contender_has_a_mark_of_its_own_and_a_flag():
    assert get_args(PeerName) == tuple(name for name in CONTENDERS if name != OURS)
    assert len(set(figure.STYLES.values())) == len(CONTENDERS) - 1
    assert len({marker for _, marker in figure.STYLES.values()}) == len(CONTENDERS) - 1


@pytest.mark.parametrize(("width", "tables"), [(100, 3), (80, 3), (50, 6)])
def test_tables_are_parted_to_fit_the_width(width, tables):
    sizes = [Size(64, 100, 512, 512)._replace(batch=batch) for batch in range(101, 113)]
    some = [
        row(size, name, reset, scale, 1.02 * scale)
        for size, scale in zip(sizes, np.geomspace(9.9e-6, 99, 12), strict=True)
        for name, reset in FORMS
    ]
    text = printed(some, width=width)
    assert "…" not in text
    assert text.count("batch,time,") == tables
    assert max(map(len, text.splitlines())) <= width


# The command.


def test_sizes_are_read_as_they_are_shown():
    assert parse_size("16,100,32,32") == Size(16, 100, 32, 32)
    assert str(Size(16, 100, 32, 32)) == "16,100,32,32"


@pytest.mark.slow("runs the whole command")
def test_the_whole_command(tmp_path, capsys):
    target, picture = tmp_path / "new" / "bench.json", tmp_path / "bench.svg"
    args = "bench --sizes 2,5,3,4 3,4,2,2 --peers onnx haiku --rounds 2".split()
    assert main([*args, "--json", str(target), "--figure", str(picture)]) == 0
    text = capsys.readouterr().out
    assert picture.read_text().lstrip().startswith("<?xml")
    assert {path.name for path in tmp_path.rglob("*")} == {"new", "bench.json", "bench.svg"}
    content = json.loads(target.read_text())
    assert content["versions"]["jax"] == jax.__version__
    assert content["machine"]["backend"] == "cpu"
    assert content["rounds"] == 2
    forms = [("gru_jax", "before"), ("gru_jax", "after"), ("haiku", "before")]
    forms += [("onnx", "before"), ("onnx", "after")]
    whose = [(r["size"], r["name"], r["reset"]) for r in content["results"]]
    assert whose == [(size, *form) for size in ("2,5,3,4", "3,4,2,2") for form in forms]
    for result in content["results"]:
        assert result["reason"] is None
        measures = {"forward"} if result["name"] == "onnx" else set(MEASURES)
        assert result["values"].keys() == measures
        assert all(len(values) == 2 for values in result["values"].values())
    assert re.search(r"^2,5,3,4  train$", text, re.MULTILINE)
    assert str(target) in text


def test_every_turn_is_told():
    told, shown = [], Console(force_terminal=True, width=80)
    contenders = {OURS: like_ours(BOTH)}
    total = count_turns(1, contenders, 1, 2)
    with shown.capture() as capture, show.turns(shown, total) as show_turn:

        def tell(*turn):
            told.append(turn)
            show_turn(*turn)

        list(measure([SIZE], contenders, ["forward"], 2, tell))
    assert len(told) == total == 2 * (1 + 1 + 2)
    assert told[0] == (SIZE, "compare", "gru_jax (before)")
    assert told[2] == (SIZE, "forward", "gru_jax (before)")
    assert re.search(r"100%\S* 2,5,3,4  forward  gru_jax", capture.get())
    assert list(choose(["onnx", "linen"])) == [OURS, "linen", "onnx"]


def test_stopping_keeps_whole_rounds_of_every_contender():
    told = []

    def tell(_, stage, __):
        told.append(stage)
        if told.count("train") == 2 + 2 + 1:  # the second round's second turn
            raise Stopped

    contenders = {OURS: like_ours(BOTH)}
    *_, rows = measure([SIZE, Size(1, 1, 1, 1)], contenders, ["forward", "train"], 3, tell)
    counts = [{name: len(values) for name, values in each.values.items()} for each in rows]
    assert counts == [{"forward": 3, "train": 1}] * 2


def test_what_was_written_survives_a_size_that_crashes(tmp_path, monkeypatch):
    def crash(*_):
        yield [row(SIZE, OURS, "before", 1.0)]
        raise MemoryError("too much")

    monkeypatch.setattr("gru_jax.app.bench.measure.measure", crash)
    target = tmp_path / "x.json"
    assert main(["bench", "--json", str(target)]) == 1
    assert json.loads(target.read_text())["results"][0]["values"] == {"train": [1.0]}


@pytest.mark.slow("runs the whole command")
def test_ctrl_c_prints_and_writes_what_there_is(tmp_path):
    args = "bench --sizes 2,5,3,4 2,6,3,4 --peers onnx --rounds 40"
    command = [sys.executable, "-m", "gru_jax", *args.split(), "--json", "x.json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ), **pipes) as process:
        for line in process.stdout:
            if line == "2,5,3,4  train\n":
                process.send_signal(signal.SIGINT)
                break
        text, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "gru-jax: stopped early.\n"
    assert re.search(r"gru_jax \(before\) +\d\S* ±", text)
    results = json.loads((tmp_path / "x.json").read_text())["results"]
    assert [len(result["values"]["forward"]) for result in results] == [40] * 4
    assert all(len(result["values"].get("train", [])) < 40 for result in results)


def test_help_names_every_flag_and_only_packages_that_are_published(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--sizes", "--peers", "--measure", "--rounds", "--json FILE", "--figure FILE"):
        assert word in text
    commands = re.findall(r"pip install (-e \S+|\S+)", text)
    assert commands == ["-e '.[bench]'", "torch."]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--sizes", "16,100,32"],
            "bench: sizes must be batch,time,input,hidden, four whole numbers from 1, "
            "got '16,100,32'.",
        ),
        (["--sizes", "1,2,3,0"], "four whole numbers from 1, got '1,2,3,0'."),
        (["--sizes", "1,2,3,-4"], "four whole numbers from 1, got '1,2,3,-4'."),
        (["--sizes", "1,2,3,4.5"], "four whole numbers from 1, got '1,2,3,4.5'."),
        (["--sizes"], "bench: sizes must be one or more, got none."),
        (["--measure"], "bench: measure must be one or more, got none."),
        (["--rounds", "0"], "bench: rounds must be 1 or more, got 0."),
        (["--peers", "numpy"], "bench: --peers must be one of xla,"),
        (["--measure", "beauty"], "bench: --measure must be one of forward,"),
        (["--figure", "x.jpg"], "bench: figure must end in .png or .svg, got x.jpg."),
        (["--json", "."], ". must be a file, but is a folder."),
        (["--json", "file/x.json"], "file"),
    ],
)
def test_wrong_flags_are_one_line_before_anything_is_measured(
    tmp_path, monkeypatch, capsys, args, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["bench", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gru-jax: ")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_figure_without_matplotlib_is_refused_first(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    assert main(["bench", "--figure", "x.png"]) == 2
    assert "bench: figure needs matplotlib: pip install matplotlib." in capsys.readouterr().err
