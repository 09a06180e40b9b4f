"""The benchmark: its arithmetic, its fairness, and that nothing wrong is ranked."""

import functools
import importlib.util
import json
import re
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from rich.console import Console
from test_cli import in_terminal

import gru_jax as gj
from gru_jax.app.bench import agreement, figure, peak, report, summary
from gru_jax.app.bench.measure import MEASURES, Entry, Outcome, count_turns, measure
from gru_jax.app.bench.peers import BOTH, OURS, PEERS, Peer, PeerName
from gru_jax.app.bench.problem import Size, draw_problem, parse_size
from gru_jax.app.bench.steady import Steady
from gru_jax.app.bench.timing import Turn
from gru_jax.app.cli import main

SIZE = Size(2, 5, 3, 4)
FORMS = [(name, reset) for name, peer in PEERS.items() for reset in peer.resets]
# That of oneDNN is built in test_onednn.py.
FORMS = [(name, reset) for name, reset in FORMS if name != "onednn"]
# PyTorch's wheels take gigabytes, so it is in no extra: its cases exist only where it is installed.
if importlib.util.find_spec("torch") is None:
    FORMS = [(name, reset) for name, reset in FORMS if name != "torch"]


@pytest.fixture(autouse=True)
def loose():
    """Other libraries add vectors to matrices."""
    with jax.numpy_rank_promotion("allow"):
        yield


def go_on(*_):
    return True


# Who agrees.


@functools.cache
def ours(reset):
    """Returns ours, compiled once for all tests, and what it computes."""
    problem = draw_problem(SIZE)
    contender = PEERS[OURS].build(problem, reset)
    return contender, agreement.compute(contender, problem)


@pytest.mark.parametrize(("name", "reset"), FORMS)
def test_every_library_computes_what_numpy_loops_do_and_ours_differentiates(name, reset):
    check_form(name, reset)


def check_form(name, reset):
    problem = draw_problem(SIZE)
    contender = PEERS[name].build(problem, reset)
    theirs = agreement.compute(contender, problem)
    params = problem.params_of(reset)
    valid = np.ones((SIZE.batch, SIZE.time), bool)
    hs, _ = reference.unroll(params, problem.xs, np.zeros((SIZE.batch, SIZE.hidden)), valid)
    np.testing.assert_allclose(theirs.hs, hs, atol=2e-6)
    _, step = reference.unroll(params, problem.xs[:, :1], problem.h, valid[:, :1])
    np.testing.assert_allclose(theirs.step, step, atol=2e-6)
    found = agreement.differences(theirs, ours(reset)[1])
    assert all(value < 1e-5 for value in found.values())
    assert ("gradients" in found) == (name != "onnx")
    if theirs.gradients:
        leaves = [leaf for leaf in (*theirs.gradients[0], theirs.gradients[1]) if leaf is not None]
        assert len(leaves) == (8 if reset == "after" and name != "nnx" else 7)
        assert all(np.abs(leaf).max() > 1e-2 for leaf in leaves)
    if PEERS[name].in_jax:
        assert contender.temp_bytes() > 0


def test_the_gradients_of_ours_are_those_of_the_loss():
    problem = draw_problem(SIZE)
    contender, _ = ours("after")

    def loss_fn(params, xs):
        return (problem.weigh * gj.unroll(gj.gru(SIZE.hidden, reset="after"), params, xs)[0]).sum()

    params = jax.tree.map(jnp.asarray, problem.params)
    value, grads = jax.value_and_grad(loss_fn, argnums=(0, 1))(params, jnp.asarray(problem.xs))
    for train in (contender.train, contender.first_train):
        result = train()
        assert float(result[0]) == pytest.approx(float(value), rel=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            contender.gradients(result),
            grads,
        )


def test_gradients_that_are_zero_agree_and_small_ones_are_compared_by_their_size():
    _, mine = ours("before")
    grads, xs_grad = mine.gradients
    zero = mine._replace(gradients=(grads._replace(W_r=0 * grads.W_r), xs_grad))
    assert agreement.differences(zero, zero)["gradients"] == 0
    assert agreement.differences(zero, mine)["gradients"] == 1
    small = mine._replace(gradients=(grads._replace(b_r=grads.b_r / 50), xs_grad))
    assert agreement.differences(mine, small)["gradients"] == pytest.approx(49)
    none = mine._replace(gradients=(grads._replace(b_r=grads.b_r * np.nan), xs_grad))
    for pair in ((none, mine), (mine, none)):
        assert agreement.disagreement(agreement.differences(*pair))


def like_ours(forms=("after",), **changes):
    """Returns a library that is ours, but for some functions: `(ours) -> function`."""

    def build(_, reset):
        contender, _ = ours(reset)
        return contender._replace(**{name: change(contender) for name, change in changes.items()})

    return Peer({"jax": "jax"}, forms, build)


def stuck(contender):
    def gradients(result):
        grads, xs_grad = contender.gradients(result)
        return grads._replace(b_h=0 * grads.b_h), xs_grad

    return gradients


def fail(*_):
    raise RuntimeError("no such kernel\nand many lines more")


def tired(contender):
    calls = iter([contender.forward])
    return lambda: next(calls, fail)()


OTHERS = {
    "good": like_ours(),
    "off": like_ours(hs=lambda c: lambda hs: c.hs(hs) + 1e-3),
    "nan": like_ours(hs=lambda c: lambda hs: c.hs(hs) * np.nan),
    "stuck": like_ours(gradients=stuck),
    "step": like_ours(step=lambda c: lambda: 0 * c.step()),
    "absent": Peer({"jax": "jax", "no_such_module": "no-such"}, ("before",), fail),
    "broken": Peer({"jax": "jax"}, ("before",), fail),
    "tired": like_ours(forward=tired),
}


@pytest.fixture(scope="module")
def outcomes():
    """What becomes of libraries that are wrong in every way."""
    with jax.numpy_rank_promotion("allow"):
        known = {OURS: like_ours(BOTH)} | OTHERS
        (found,) = measure([SIZE], list(OTHERS), ["forward"], 3, go_on, known)
    return {outcome.entry.library: outcome for outcome in found if outcome.entry.library != OURS}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("good", None),
        ("off", r"disagrees with ours: states by 0\.001"),
        ("nan", "disagrees with ours: states by nan"),
        ("stuck", "disagrees with ours: gradients by 1"),
        ("step", r"disagrees with ours: step by 0\.\d"),
        ("absent", "not installed: pip install no-such"),
        ("broken", "failed: RuntimeError: no such kernel"),
        ("tired", "failed: RuntimeError: no such kernel"),
    ],
)
def test_who_disagrees_fails_or_is_missing_is_named_and_not_ranked(outcomes, name, reason):
    outcome = outcomes[name]
    assert outcome.values.keys() == ({"forward"} if reason is None else set())
    if reason is None:
        assert outcome.reason is None
        assert len(outcome.values["forward"]) == 3
    else:
        assert re.fullmatch(reason, outcome.reason)


def test_turns_are_taken_again_on_a_cpu_but_for_first_steps(monkeypatch):
    taken = []

    def take(_, turn):
        taken.append(turn())
        return Turn(turn(), slow=True)

    monkeypatch.setattr(Steady, "take", take)
    stages = ["first-step", "forward", "train", "latency"]
    ((found,),) = measure([SIZE], [], stages, 2, go_on, {OURS: like_ours()})
    assert len(taken) == 2 * (3 + 2)  # and the product's, with forward and train
    assert found.slow == 2 * 3
    assert {name: len(values) for name, values in found.values.items()} == dict.fromkeys(stages, 2)
    assert not set(taken) & set(found.values["forward"])


def test_reasons_stand_in_the_table_and_json_has_no_nan(outcomes):
    some = list(outcomes.values())
    with (console := Console(width=100)).capture() as capture:
        report.tables(console, some, ["forward"])
    text = capture.get()
    assert re.search(r"off \(after\) +1e-03 .* disagrees with ours: states by 0\.001", text)
    assert re.search(r"nan \(after\) +nan .* disagrees", text)
    assert re.search(r"absent \(before\) +- +- +- +not installed: pip install no-such", text)
    assert re.search(r"^good \(after\) +\d\S* ±", text, re.MULTILINE)
    assert not re.search(r"^off \(after\) +\d\S* ±", text, re.MULTILINE)
    content = json.loads(summary.dumps(summary.as_json(some, [SIZE], ["forward"], 3)))
    assert content["results"][2]["differences"]["states"] is None


def test_turns_beside_other_work_are_told():
    slow = [outcome(SIZE, OURS, "after", 1.0, 1.1, 1.2)._replace(slow=2)]
    slow.append(outcome(SIZE, "linen", "after", 2.0, 2.1, 2.2))
    with (console := Console(width=100)).capture() as capture:
        report.tables(console, slow, ["train"])
    assert "2 of 6 turns ended on a machine slower than at its best." in capture.get()
    results = summary.as_json(slow, [SIZE], ["train"], 3)["results"]
    assert [result["slow_turns"] for result in results] == [2, 0]
    with (console := Console(width=100)).capture() as capture:
        report.tables(console, slow[1:], ["train"])
    assert "slower than at its best" not in capture.get()


def test_without_ours_there_is_nothing_to_compare_with():
    known = {OURS: PEERS[OURS]._replace(build=fail), "good": OTHERS["good"]}
    (outcomes,) = measure([SIZE], ["good"], ["forward"], 1, go_on, known)
    *mine, good = outcomes
    assert {outcome.reason for outcome in mine} == {"failed: RuntimeError: no such kernel"}
    assert good.reason == "nothing to compare it with, since ours failed"
    assert good.values == {}


def test_keras_is_left_out_where_it_is_to_run_on_something_else(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    known = {OURS: like_ours(BOTH), "keras": PEERS["keras"]}
    (outcomes,) = measure([SIZE], ["keras"], [], 1, go_on, known)
    for outcome in outcomes[2:]:
        assert outcome.entry.library == "keras"
        assert outcome.reason == "KERAS_BACKEND is 'tensorflow': unset it, or make it jax"


@pytest.mark.parametrize("named", [True, False])
def test_without_its_driver_onednn_is_left_out(tmp_path, monkeypatch, named):
    monkeypatch.setattr("gru_jax.app.bench.onednn.BUILT", tmp_path / "none.so")
    monkeypatch.setenv("GRU_JAX_ONEDNN", str(tmp_path / "no.so") if named else "")
    known = {OURS: like_ours(BOTH), "onednn": PEERS["onednn"]}
    (outcomes,) = measure([SIZE], ["onednn"], [], 1, go_on, known)
    reason = "not built: apt install libdnnl-dev; make -C tests/app/onednn"
    reason = f"GRU_JAX_ONEDNN names no file: {tmp_path / 'no.so'}" if named else reason
    assert [outcome.reason for outcome in outcomes[2:]] == [reason] * 2
    assert "onednn" not in summary.versions()


# What it all comes to.


def outcome(size, library, reset, *train):
    return Outcome(Entry(size, library, reset), None, {}, {"train": list(train)})


def test_ours_stands_against_the_fastest_jax_peer_of_each_size():
    small, large = Size(1, 1, 1, 1), Size(9, 9, 9, 9)
    some = [
        outcome(small, OURS, "before", 1.0, 10.0, 1.0),
        outcome(small, OURS, "after", 4.0, 4.0, 4.0),
        outcome(small, "linen", "after", 2.0, 20.0, 2.0),
        outcome(small, "nnx", "after", 3.0, 3.0, 3.0),
        outcome(small, "torch", "after", 0.1, 0.1, 0.1),
        outcome(small, "xla", "after", 0.1, 0.1, 0.1),  # which is ours, too
        outcome(large, OURS, "before", 2.0, 2.0, 2.0),
        outcome(large, OURS, "after", 1.0, 1.0, 1.0),
        outcome(large, "linen", "after", 5.0, 5.0, 5.0),
        outcome(large, "nnx", "after", 1.0, 1.0, 1.0),
    ]
    before = summary.standing(some, "train", "before")
    assert before.ratios == {small: 2, large: 0.5}
    assert before.fastest == {
        small: Entry(small, "linen", "after"),
        large: Entry(large, "nnx", "after"),
    }
    assert before.mean == pytest.approx(1)
    assert before.worst == large
    assert summary.standing(some, "train", "after").ratios == {small: 0.5, large: 1}
    assert summary.standing(some, "forward", "after") is None
    assert report.sentence(some, "train", "before") == (
        "Training step: gru_jax (before) is 1.00 times as fast as the fastest JAX peer at each "
        "size (geometric mean), at worst 0.50 times: 9,9,9,9, nnx (after)."
    )


def test_ours_stands_against_each_library_outside_jax():
    small, large = Size(1, 1, 1, 1), Size(9, 9, 9, 9)
    some = [
        outcome(small, OURS, "before", 1.0),
        outcome(small, OURS, "after", 2.0),
        outcome(small, "torch", "after", 4.0),
        outcome(large, OURS, "before", 2.0),
        outcome(large, OURS, "after", 1.0),
        outcome(large, "linen", "after", 0.1),
        outcome(large, "torch", "after", 2.0),
        outcome(large, "onednn", "before", 0.5),
        outcome(large, "onednn", "after", 1.0),
    ]
    assert report.short_sentence(some, "train", "torch") == (
        "Training step: 2.00 (before; worst 1.00) and 2.00 (after; worst 2.00) times as fast as "
        "torch."
    )
    # By its faster form.
    assert report.short_sentence(some, "train", "onednn") == (
        "Training step: 0.25 (before; worst 0.25) and 0.50 (after; worst 0.50) times as fast as "
        "onednn."
    )
    assert report.short_sentence(some, "train", "onnx") is None
    assert report.short_sentence(some, "forward", "torch") is None
    with (console := Console(width=100)).capture() as capture:
        report.tables(console, some, ["train"])
    assert capture.get().splitlines()[-2:] == [
        report.short_sentence(some, "train", library) for library in ("torch", "onednn")
    ]
    content = summary.as_json(some, [small, large], ["train"], 1)
    assert content["against"]["torch"]["train"]["after"]["ratios"] == {str(small): 2, str(large): 2}
    assert content["against"]["onnx"]["train"] == {}


def test_operations_are_those_of_the_products():
    size = Size(batch=5, time=7, input=3, hidden=4)
    x, h, W, U = (np.ones(shape) for shape in [(5, 3), (5, 4), (3, 12), (4, 12)])
    step = sum(2 * a.shape[0] * b.size for a, b in [(x, W), (h, U)])
    assert peak.operations(size, train=False) == 7 * step
    assert peak.operations(size, train=True) == 3 * 7 * step


def test_shares_are_of_the_fastest_product_of_all_rounds():
    large = Size(9, 9, 9, 9)
    some = [
        outcome(SIZE, OURS, "after", 1.0, 3.0, 2.0)._replace(products=(2.0, 1.0)),
        outcome(large, OURS, "after", 1.0)._replace(products=(0.5, 4.0)),
        outcome(large, "linen", "after", 4.0)._replace(products=(0.5, 4.0)),
    ]
    most = 2 * peak.SIDE**3 / 0.5
    assert summary.rate(some) == most
    assert summary.shares(some, "train") == {
        Entry(SIZE, OURS, "after"): pytest.approx(peak.operations(SIZE, train=True) / 2 / most),
        Entry(large, OURS, "after"): pytest.approx(peak.operations(large, train=True) / most),
        Entry(large, "linen", "after"): pytest.approx(
            peak.operations(large, train=True) / 4 / most
        ),
    }
    assert summary.shares(some, "latency") == {}
    found = summary.as_json(some, [SIZE, large], ["train"], 3)["peak"]
    assert found["operations_per_second"] == most
    assert found["shares"]["train"].keys() == {"gru_jax (after)", "linen (after)"}
    with (console := Console(width=100)).capture() as capture:
        report.tables(console, some, ["train"])
    assert "reach of 4 Gflop/s" in capture.get()
    assert re.search(r"^Training step \(after\) +0.0 +0.0 *$", capture.get(), re.MULTILINE)


def test_without_a_product_nothing_is_said_of_shares():
    some = [outcome(SIZE, OURS, "after", 1.0)]
    assert summary.rate(some) is None
    assert summary.shares(some, "train") == {}
    with (console := Console(width=100)).capture() as capture:
        report.tables(console, some, ["train"])
    assert "peak" not in capture.get()
    assert summary.as_json(some, [SIZE], ["train"], 1)["peak"] == {
        "operations_per_second": None,
        "shares": {},
    }


def test_the_picture_shows_multiples_of_the_best_jax_peer():
    some = [
        outcome(SIZE, OURS, "before", 1.0),
        outcome(SIZE, "linen", "after", 2.0),
        outcome(SIZE, "torch", "after", 1.5),
    ]
    ax = figure.relative(some, "train")
    # The best JAX peer is 1, whatever PyTorch does.
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines if "(" in line.get_label()}
    assert drawn == {"gru_jax (before)": [0.5], "linen (after)": [1], "torch (after)": [0.75]}
    assert ax.get_ylabel() == "time / least of the\nother JAX libraries"


def test_every_library_has_a_mark_of_its_own_and_a_flag():
    assert get_args(PeerName) == tuple(name for name in PEERS if name != OURS)
    assert len(set(figure.MARKERS)) == len(set(figure.COLOURS)) == len(PEERS)


@pytest.mark.parametrize(("width", "tables"), [(100, 2), (80, 3), (50, 6)])
def test_tables_are_parted_to_fit_the_width(width, tables):
    sizes = [Size(64, 100, 512, 512)._replace(batch=batch) for batch in range(101, 113)]
    some = [
        Outcome(Entry(size, name, reset), None, {}, {"train": [scale, 1.2 * scale]})
        for size, scale in zip(sizes, np.geomspace(9.9e-5, 99, 12), strict=True)
        for name, reset in FORMS
    ]
    with (console := Console(width=width)).capture() as capture:
        report.tables(console, some, ["train"])
    text = capture.get()
    assert "…" not in text
    assert text.count("batch,time,") == tables


# The command.


def test_sizes_are_read_as_they_are_shown():
    assert parse_size("16,100,32,32") == Size(16, 100, 32, 32)
    assert str(Size(16, 100, 32, 32)) == "16,100,32,32"


def test_the_whole_command(tmp_path, capsys):
    target, picture = tmp_path / "new" / "bench.json", tmp_path / "bench.svg"
    args = "bench --sizes 2,5,3,4 3,4,2,2 --peers onnx haiku --rounds 2 --measure".split()
    some = [name for name in MEASURES if name != "first-step"]  # which compiles, again and again
    assert main([*args, *some, "--json", str(target), "--figure", str(picture)]) == 0
    text = capsys.readouterr().out
    assert picture.read_text().lstrip().startswith("<?xml")
    assert {path.name for path in tmp_path.rglob("*")} == {"new", "bench.json", "bench.svg"}
    content = json.loads(target.read_text())
    assert content["sizes"] == ["2,5,3,4", "3,4,2,2"]
    assert content["versions"]["jax"] == jax.__version__
    assert content["machine"]["backend"] == "cpu"
    results = content["results"]
    whose = [(r["size"], r["library"], r["reset"]) for r in results]
    forms = [("gru_jax", "before"), ("gru_jax", "after"), ("haiku", "before")]
    forms += [("onnx", "before"), ("onnx", "after")]
    assert whose == [(size, *form) for size in content["sizes"] for form in forms]
    for result in results:
        assert result["reason"] is None
        measures = {"forward", "latency"} if result["library"] == "onnx" else set(some)
        assert result["values"].keys() == result["summary"].keys() == measures
        for name, values in result["values"].items():
            assert len(values) == (1 if name == "memory" else 2)
            assert result["summary"][name]["median"] == pytest.approx(np.median(values))
            ours = next(r for r in results if r["size"] == result["size"])["values"][name]
            ratio = np.median(np.divide(values, ours))
            assert result["summary"][name]["times_ours"]["before"] == pytest.approx(ratio)
    haiku, mine = (
        [r["values"]["train"] for r in results if (r["library"], r["reset"]) == whose]
        for whose in (("haiku", "before"), ("gru_jax", "before"))
    )
    ratios = [np.median(np.divide(a, b)) for a, b in zip(haiku, mine, strict=True)]
    stands = content["against_fastest_jax_peer"]["train"]["before"]
    assert list(stands["ratios"].values()) == pytest.approx(ratios)
    assert stands["geometric_mean"] == pytest.approx(np.sqrt(np.prod(ratios)))
    assert f"gru_jax (before) is {stands['geometric_mean']:.2f} times" in " ".join(text.split())
    share = content["peak"]["shares"]["train"]["gru_jax (before)"]["2,5,3,4"]
    assert 0 < share < 0.1  # It is tiny.
    assert f"{content['peak']['operations_per_second'] / 1e9:.0f} Gflop/s" in text
    assert re.search(r"^Training step \(before\) +\d", text, re.MULTILINE)
    assert re.search(r"^2,5,3,4  latency$", text, re.MULTILINE)
    assert str(target) in text


def test_every_turn_is_told_and_each_first_step_finds_nothing_compiled():
    told, traced = [], []
    probe = jax.jit(lambda x: traced.append(x) or x)
    known = {OURS: like_ours(BOTH, first_train=lambda _: lambda: probe(1.0))}
    names = ["forward", "first-step"]
    list(measure([SIZE], [], names, 2, lambda *turn: told.append(turn) or True, known))
    assert len(traced) == 2 * 2
    assert len(told) == count_turns(1, [], names, 2) == 2 * (1 + 3 + 2)
    assert told[0] == ("compare", Entry(SIZE, OURS, "before"))
    assert told[3] == ("first-step", Entry(SIZE, OURS, "after"))


def test_what_was_written_survives_a_size_that_crashes(tmp_path, monkeypatch):
    def crash(*_):
        yield [outcome(SIZE, OURS, "before", 1.0)]
        raise MemoryError("too much")

    monkeypatch.setattr("gru_jax.app.cli.measure", crash)
    target = tmp_path / "x.json"
    assert main(["bench", "--json", str(target)]) == 1
    assert json.loads(target.read_text())["results"][0]["values"] == {"train": [1.0]}


def test_ctrl_c_prints_and_writes_what_there_is(tmp_path):
    args = "bench --sizes 2,5,3,4 2,6,3,4 --peers onnx --measure forward latency --rounds 2000"
    args += " --json x.json"
    code, text = in_terminal(args.split(), tmp_path, until=rb"[1-9]%.*forward  onnx")
    assert code == 130
    assert "Traceback" not in text
    assert re.search(r"gru_jax \(before\) +\d\S* ±", text)
    assert "stopped early" in text
    results = json.loads((tmp_path / "x.json").read_text())["results"]
    counts = {len(result["values"]["forward"]) for result in results}
    assert len(results) == 4
    assert len(counts) == 1
    assert 1 <= counts.pop() < 2000


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    text = capsys.readouterr().out
    for word in ("--sizes", "--peers", "--measure", "--rounds", "--json FILE", "--figure FILE"):
        assert word in text
    assert "pip install torch" in " ".join(text.split())


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
    assert "bench: figure needs matplotlib: pip install 'gru_jax[plot]'." in capsys.readouterr().err
