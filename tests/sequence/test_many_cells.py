"""Cells and layers are values: equal ones are equal, whatever else was built, and wherever."""

import copy
import itertools
import multiprocessing
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import initialise

import gru_jax as gj

INPUT, KEY = 3, jax.random.key(0)
XS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, INPUT)), jnp.float32)

CELLS = {
    "gru(8)": lambda: gj.gru(8),
    "gru(8, reset='after')": lambda: gj.gru(8, reset="after"),
    "gru(8, activation='relu', clip=0.5)": lambda: gj.gru(8, activation="relu", clip=0.5),
    "layer_norm_gru(8)": lambda: gj.layer_norm_gru(8),
    "learned_initial_state(gru(8))": lambda: gj.learned_initial_state(gj.gru(8)),
}
LAYERS = {
    "recurrent(gru(8))": lambda: gj.recurrent(gj.gru(8)),
    "recurrent(gru(8), reverse=True, zoneout=0.1)": lambda: gj.recurrent(
        gj.gru(8), reverse=True, zoneout=0.1
    ),
    "bidirectional(gru(8), merge='sum')": lambda: gj.bidirectional(gj.gru(8), merge="sum"),
    "residual(recurrent(gru(3)))": lambda: gj.residual(gj.recurrent(gj.gru(INPUT))),
    "dense(9)": lambda: gj.dense(9),
    "dropout(0.1)": lambda: gj.dropout(0.1),
    "dropout(0.1, per_sequence=True)": lambda: gj.dropout(0.1, per_sequence=True),
    "gaussian_noise(0.1)": lambda: gj.gaussian_noise(0.1),
    "pool('mean')": lambda: gj.pool("mean"),
    "stack(bidirectional(gru(64)), pool('mean'), dense(9))": lambda: gj.stack(
        gj.bidirectional(gj.gru(64)), gj.pool("mean"), gj.dense(9)
    ),
}
BOTH = CELLS | LAYERS
EXPORTED = gj.Trace, gj.GRUParams, gj.LayerNormGRUParams, gj.LearnedInitialStateParams
"""Classes that have a name in exported programs."""
CHRONO = gj.init_chrono(20)
OTHERS = {
    "another size": lambda: gj.gru(9),
    "another form": lambda: gj.gru(8, reset="after"),
    "another activation": lambda: gj.gru(8, activation="relu"),
    "another clip": lambda: gj.gru(8, clip=0.5),
    "another dtype": lambda: gj.gru(8, dtype=jnp.bfloat16),
    "other weights": lambda: gj.gru(8, kernel_init=gj.init_uniform),
    "other biases": lambda: gj.gru(8, bias_init=jax.nn.initializers.ones),
    "other update biases": lambda: gj.gru(8, update_bias_init=CHRONO),
    "another cell": lambda: gj.layer_norm_gru(8),
    "a cell around it": lambda: gj.learned_initial_state(gj.gru(8)),
}


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def compute(value):
    """Returns what a cell or a layer makes of the inputs, with its own parameters."""
    params = value.init(KEY, INPUT)
    if isinstance(value, gj.Cell):
        return np.asarray(gj.unroll(value, params, XS)[0])
    return np.asarray(value.apply(params, XS)[0])


def test_the_kernel_knows_a_gru_after_two_hundred_others():
    options = itertools.product(["relu", "softsign"], np.linspace(0.1, 5, 101))
    cells = [gj.gru(8, activation=name, clip=float(clip)) for name, clip in options]
    assert len(cells) > 200
    params = gj.gru(8).init(KEY, INPUT)
    for cell in (gj.gru(8), gj.gru(8, reset="after")):
        params = cell.init(KEY, INPUT)
        hs, _ = gj.unroll(cell, params, XS, backend="cpu")  # raises where it is not known
        np.testing.assert_allclose(hs, gj.unroll(cell, params, XS, backend="xla")[0], atol=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_equal_ones_are_equal_and_hash_alike(name):
    first, second = BOTH[name](), BOTH[name]()
    assert first == second
    assert hash(first) == hash(second)
    assert not first != second


@pytest.mark.parametrize("other", OTHERS)
def test_another_option_is_another_cell(other):
    assert OTHERS[other]() != gj.gru(8)
    assert OTHERS[other]() == OTHERS[other]()


def test_an_equal_cell_is_the_same_static_argument():
    traced = []

    def program(cell, params, xs):
        traced.append(cell)
        return gj.unroll(cell, params, xs)[0]

    program = jax.jit(program, static_argnums=0)
    params = gj.gru(8).init(KEY, INPUT)
    for _ in range(3):
        program(gj.gru(8), params, XS)
    assert len(traced) == 1
    program(gj.gru(8, reset="before", clip=1.0), params, XS)
    assert len(traced) == 2


def test_apply_of_an_equal_net_is_compiled_once():
    traced = []

    def activation(a):
        traced.append(a)
        return jnp.tanh(a)

    def make():
        return gj.stack(gj.recurrent(gj.gru(8, activation=activation)), gj.dense(9))

    params = make().init(KEY, INPUT)
    jax.jit(make().apply)(params, XS)
    count = len(traced)
    assert count
    jax.jit(make().apply)(params, XS)
    assert len(traced) == count
    assert make().apply == make().apply


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "carry", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_copies_compute_the_same(name, carry):
    value = BOTH[name]()
    again = carry(value)
    assert again == value
    np.testing.assert_array_equal(compute(again), compute(value))


@pytest.mark.slow("starts a process")
def test_another_process_computes_the_same():
    values = [make() for make in BOTH.values()]
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        initial = processes.map(initialise, [(value, INPUT) for value in values])
    for value, params in zip(values, initial, strict=True):
        expected = jax.tree.leaves(value.init(KEY, INPUT))
        for a, b in zip(jax.tree.leaves(params), expected, strict=True):
            # An earlier test may have compiled the drawing of orthogonal weights with more
            # optimisations, and QR then rounds in another way: up to 1.5e-6 was seen.
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_it_prints_as_the_call_that_builds_it(name):
    value = BOTH[name]()
    assert repr(value) == name
    assert eval(repr(value), vars(gj)) == value


RELOAD = """
import importlib
import sys

import gru_jax

importlib.reload(importlib.import_module(sys.argv[1]))
"""


@pytest.mark.parametrize("module", sorted({kind.__module__ for kind in EXPORTED}))
def test_a_module_can_be_loaded_again(module):
    done = subprocess.run([sys.executable, "-c", RELOAD, module], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
