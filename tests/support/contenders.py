"""Contenders of the benchmark, against NumPy loops and gru_jax's gradients, and their results."""

import functools
import importlib.util
from operator import itemgetter

import jax
import numpy as np
import reference
from rich.console import Console

from gru_jax.app.bench import agreement, report
from gru_jax.app.bench.contenders import CONTENDERS, Contender, make_gru_jax
from gru_jax.app.bench.image_contenders import IMAGE_CONTENDERS
from gru_jax.app.bench.measure import Result
from gru_jax.app.bench.problem import ImageSize, Size, draw_problem

SIZE, IMAGES = Size(2, 5, 3, 4), ImageSize(2, 3, 5, 4, 2, 3)
EPISODES = Size(3, 30, 3, 4, resets=True)
MEMBERS = SIZE._replace(members=3)
FORMS = [(name, reset) for name, each in CONTENDERS.items() for reset in each.resets]
IMAGE_FORMS = [name for name, each in IMAGE_CONTENDERS.items() if each.resets != (None,)]
# PyTorch's wheels take gigabytes: its case exists only where it is installed.
if importlib.util.find_spec("torch") is None:
    FORMS = [(name, reset) for name, reset in FORMS if name != "torch"]
    IMAGE_FORMS.remove("torch")


@functools.cache
def ours(reset, size=SIZE):
    """Returns the problem and gru_jax's calls, compiled once for all tests."""
    problem = draw_problem(size, reset)
    return problem, make_gru_jax(problem, "auto")


def unroll_reference(problem, params, xs):
    """Returns the states in NumPy, in float64; of an ensemble, member after member."""
    if problem.size.members:
        alone = problem._replace(size=problem.size._replace(members=None))
        arrays = params, xs, problem.weigh, problem.resets
        members = [jax.tree.map(itemgetter(i), arrays) for i in range(problem.size.members)]
        each = [(alone._replace(weigh=w, resets=r), p, x) for p, x, w, r in members]
        return np.stack([unroll_reference(*member) for member in each])
    gates = reference.conv_gates if isinstance(problem.size, ImageSize) else reference.gates
    valid = np.ones(xs.shape[:2], bool)
    h0 = np.zeros_like(problem.weigh[:, 0])
    options = {"resets": problem.resets, "h_reset": h0, "gates": gates}
    return reference.unroll(params, xs, h0, valid, **options)[0]


def check_numbers(make, reset, size=SIZE, *, gradients=True):
    """Asserts that `make(problem)` computes the reference's states and gru_jax's gradients."""
    problem, own = ours(reset, size)
    calls = make(problem)
    hs = unroll_reference(problem, problem.params, problem.xs)
    np.testing.assert_allclose(calls.hs(calls.forward()), hs, atol=2e-6)
    differences = agreement.compare(calls, own, problem.params)
    assert set(differences) == {"states", "gradients"} if gradients else {"states"}
    assert all(value < 1e-5 for value in differences.values())
    if gradients:
        leaves, xs_grad = calls.gradients(calls.train())
        assert xs_grad.shape == problem.xs.shape
        assert all(np.abs(leaf).max() > 1e-2 for leaf in [*map(np.asarray, leaves), xs_grad])


def like_ours(resets=("after",), **changes):
    """Returns a contender that is ours but for some fields of its calls: `(calls) -> field`."""

    def make(problem):
        _, calls = ours("before" if problem.params.b_h is None else "after", problem.size)
        return calls._replace(**{name: change(calls) for name, change in changes.items()})

    return Contender(resets, make, {})


def row(size, name, reset, *train):
    return Result(size, name, reset, None, {}, {"train": list(train)})


def printed(rows, measures=("train",), width=100, rounds=0):
    with (console := Console(width=width)).capture() as capture:
        report.print_results(console, rows, measures, rounds)
    return capture.get()
