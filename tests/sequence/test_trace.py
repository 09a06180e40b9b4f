"""The gate trace against NumPy loops, under every boundary; what it costs; the traces of layers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import LENGTHS, draw
from hypothesis import given
from hypothesis import strategies as st
from problems import BATCH, INPUT, TIME, draw_problem, make_cell

import gru_jax as gj

RESETS = ("before", "after")


def check(trace, want, valid):
    for name in ("r", "z", "c", "h", "h_before"):
        np.testing.assert_allclose(getattr(trace, name), want[name], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(trace.valid, valid)


@pytest.mark.untyped
@pytest.mark.usefixtures("x64")
@given(
    seed=st.integers(0, 2**32 - 1),
    reset=st.sampled_from(RESETS),
    reverse=st.booleans(),
    lengths=st.lists(st.integers(0, TIME), min_size=BATCH, max_size=BATCH),
    time_axis=st.sampled_from([0, -2]),
)
def test_the_trace_is_that_of_the_equations_whatever_the_boundaries(
    seed, reset, reverse, lengths, time_axis
):
    params, xs, h0, h_reset, mask, resets = draw_problem(seed, reset)
    valid = mask & (np.arange(TIME) < np.array(lengths)[:, None])
    garbage = np.where(valid[..., None], xs, np.nan)
    turn = (lambda a: np.moveaxis(a, 1, 0)) if time_axis == 0 else lambda a: a
    trace = gj.trace(
        make_cell(reset),
        params,
        turn(garbage),
        h0,
        lengths=np.array(lengths),
        mask=turn(mask),
        resets=turn(resets),
        h_reset=h_reset,
        reverse=reverse,
        time_axis=time_axis,
    )
    want = reference.trace(
        params, xs, h0, valid, reverse=reverse, resets=resets & valid, h_reset=h_reset
    )
    check(jax.tree.map(turn, trace), want, valid)
    np.testing.assert_array_equal(turn(trace.x), np.where(valid[..., None], xs, 0))
    if reset == "before":
        assert trace.q is None
    else:
        U_c = np.asarray(params.W_c)[INPUT:]
        q = want["h_before"] @ U_c + np.asarray(params.b_h)
        want_q = np.where(valid[..., None], q, 0)
        np.testing.assert_allclose(turn(trace.q), want_q, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reset", RESETS)
def test_under_zoneout_in_evaluation_the_state_is_what_unroll_says_and_the_gates_see_it(reset):
    params, xs, h0, _, mask, _ = draw_problem(3, reset)
    trace = gj.trace(make_cell(reset), params, xs, h0, mask=mask, zoneout=0.3)
    check(trace, reference.trace(params, xs, h0, mask, hold=0.3), mask)


def test_the_states_are_those_of_unroll_for_every_cell_and_with_noise(make_cell, rng):
    cell = make_cell()
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32)
    options = {"lengths": jnp.array([4, 6]), "key": jax.random.key(1)}
    options |= {"zoneout": 0.2, "recurrent_dropout": 0.3, "reverse": True}
    if cell.architecture.builder != "min_gru":  # No weights act on its state.
        options["drop_connect"] = 0.1
    hs, _ = gj.unroll(cell, params, xs, **options)
    trace = gj.trace(cell, params, xs, **options)
    np.testing.assert_allclose(trace.h, hs, rtol=0, atol=1e-6)
    assert not np.allclose(trace.h, gj.trace(cell, params, xs, reverse=True).h)
    assert trace.z.shape == trace.c.shape == hs.shape
    assert trace.r is None or trace.r.shape == hs.shape


@pytest.mark.usefixtures("x64")
def test_under_recurrent_dropout_the_gates_see_less_than_is_carried_on():
    params, xs, h0, *_ = draw_problem(4, "before")
    key = jax.random.key(0)
    trace = gj.trace(make_cell("before"), params, xs, h0, recurrent_dropout=0.5, key=key)
    want = (1 - trace.z) * trace.h_before + trace.z * trace.c
    np.testing.assert_allclose(trace.h, want, rtol=0, atol=1e-12)
    r, *_ = reference.gates(params, xs, np.asarray(trace.h_before))
    same = np.isclose(r, trace.r, rtol=0, atol=1e-12).all((1, 2))
    assert not same.any()


@pytest.mark.usefixtures("x64")
def test_layer_norm_has_its_own_gates(rng):
    cell = gj.layer_norm_gru(5, dtype=jnp.float64)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape)), cell.init(jax.random.key(0), 3)
    )
    xs, h0, valid = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 5)), np.ones((2, 6), bool)
    want = reference.trace(params, xs, h0, valid, gates=reference.layer_norm_gates)
    check(gj.trace(cell, params, xs, h0), want, valid)


@pytest.mark.usefixtures("optimized")
def test_what_is_not_asked_for_is_not_computed():
    """Of the states alone XLA makes the loop of unroll, and nothing more."""
    cell = gj.gru(32)
    params, xs = cell.init(jax.random.key(0), 8), jnp.ones((4, 20, 8))

    def flops(function):
        analysis = jax.jit(function).lower(params, xs).compile().cost_analysis()
        return analysis["flops"]

    unrolled = flops(lambda p, xs: gj.unroll(cell, p, xs)[0])
    assert flops(lambda p, xs: gj.trace(cell, p, xs).h) == unrolled
    assert flops(lambda p, xs: gj.trace(cell, p, xs).r) > unrolled


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reset", RESETS)
def test_one_may_train_on_the_gates(reset):
    params, xs, h0, _, mask, resets = draw_problem(5, reset)

    def loss(params, h0, derivative="rule"):
        options = {"mask": mask, "resets": resets, "derivative": derivative}
        trace = gj.trace(make_cell(reset), params, xs, h0, **options)
        return (trace.z**2).mean() + jnp.sin(trace.r).mean() + (trace.c * trace.h).sum()

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, h0)
    rng = np.random.default_rng(0)
    for _ in range(2):  # Central differences along a random direction.
        way = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), (params, h0))
        ends = [
            loss(*jax.tree.map(lambda a, d, e=e: a + e * d, (params, jnp.asarray(h0)), way))
            for e in (1e-5, -1e-5)
        ]
        slope = jax.tree.reduce(jnp.add, jax.tree.map(lambda g, d: (g * d).sum(), gradients, way))
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(slope), rel=1e-6)


def test_layers_give_the_tapes_of_their_cells_in_their_own_structure(rng):
    first, second = gj.gru(4), gj.gru(8, reset="after")
    net = gj.stack(
        gj.bidirectional(first),
        gj.dropout(0.5),
        gj.residual(gj.recurrent(second, zoneout=0.1)),
        gj.pool("mean"),
        gj.dense(3),
    )
    params = net.init(jax.random.key(0), 3)
    xs, lengths = jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32), jnp.array([4, 6])
    both, dropped, inner, *rest = jax.jit(lambda p: gj.trace(net, p, xs, lengths=lengths))(params)
    assert (dropped, rest) == ((), [(), ()])
    for trace, reverse in ((both.forward, False), (both.backward, True)):
        own = params[0].backward if reverse else params[0].forward
        want = reference.trace(
            own, np.asarray(xs), np.zeros((2, 4)), np.asarray(both.forward.valid), reverse=reverse
        )
        np.testing.assert_allclose(trace.z, want["z"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(trace.h, want["h"], rtol=0, atol=1e-6)
    read = np.concatenate([both.forward.h, both.backward.h], -1)
    np.testing.assert_array_equal(inner.x, read)
    want = reference.trace(params[2], read, np.zeros((2, 8)), np.asarray(inner.valid), hold=0.1)
    np.testing.assert_allclose(inner.c, want["c"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(inner.h, want["h"], rtol=0, atol=1e-6)
    assert gj.trace(gj.dense(3), gj.dense(3).init(jax.random.key(0), 3), xs) == ()


@pytest.mark.parametrize("training", [False, True])
def test_layers_pass_on_state_boundaries_and_key(rng, training):
    """What comes out is what apply says, and each trace is that of unroll on what it read."""
    noise = {"zoneout": 0.2, "recurrent_dropout": 0.3}
    inner = gj.residual(gj.recurrent(gj.gru(8), **noise))
    net = gj.stack(gj.bidirectional(gj.gru(4), **noise), gj.dropout(0.4), inner)
    params = net.init(jax.random.key(0), 3)
    xs = jnp.asarray(rng.normal(size=(2, 7, 3)), jnp.float32)
    state = jax.tree.map(
        lambda h: jnp.asarray(rng.normal(size=h.shape), jnp.float32),
        net.initial_state(params, (2, 3)),
    )
    steps = {"lengths": jnp.array([5, 7]), "mask": jnp.asarray(rng.random((2, 7)) < 0.8)}
    steps["resets"] = jnp.asarray(rng.random((2, 7)) < 0.3)
    key = jax.random.key(1) if training else None
    want, _ = net.apply(params, xs, state, **steps, key=key)
    traces = gj.trace(net, params, xs, state, **steps, key=key)
    np.testing.assert_allclose(traces[2].h + traces[2].x, want, rtol=0, atol=1e-6)
    valid = np.asarray(steps["mask"]) & (np.arange(7) < np.array([[5], [7]]))
    for trace in (traces[0].forward, traces[0].backward, traces[2]):
        np.testing.assert_array_equal(trace.valid, valid)
    if not training:
        for trace, own, h0, reverse in (
            (traces[0].forward, params[0].forward, state[0].forward, False),
            (traces[0].backward, params[0].backward, state[0].backward, True),
            (traces[2], params[2], state[2], False),
        ):
            numbers = np.asarray(trace.x), np.asarray(h0), valid
            resets = np.asarray(steps["resets"]) & valid
            at = {"reverse": reverse, "resets": resets, "h_reset": np.zeros(h0.shape)}
            found = reference.trace(own, *numbers, hold=0.2, **at)
            for name in ("r", "z", "c", "h"):
                got = getattr(trace, name)
                np.testing.assert_allclose(got, found[name], rtol=0, atol=1e-5)


def test_of_a_sequence_without_steps_there_is_a_trace_without_steps():
    cell = gj.gru(4, reset="after")
    params = cell.init(jax.random.key(0), 3)
    for xs, shape in ((jnp.zeros((2, 0, 3)), (2, 0)), (jnp.zeros((0, 3)), (0,))):
        trace = gj.trace(cell, params, xs, mask=jnp.ones(shape, bool))
        assert trace.r.shape == trace.h_before.shape == trace.q.shape == (*shape, 4)
        assert (trace.x.shape, trace.valid.shape) == ((*shape, 3), shape)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("time_axis", [0, -2])
def test_the_gates_are_the_cells_own_and_zero_in_padding(rng, time_axis):
    cell = gj.mgu(5, dtype=jnp.float64)
    params, xs, h0 = draw(rng, cell)
    valid = np.arange(7) < LENGTHS[:, None]
    want = reference.trace(params, np.asarray(xs), h0, valid, gates=reference.mgu_gates)
    turn = (lambda a: np.moveaxis(a, 1, 0)) if time_axis == 0 else lambda a: a
    trace = gj.trace(cell, params, turn(xs), h0, lengths=LENGTHS, time_axis=time_axis)
    assert trace.gates._fields == ("f", "c")
    for gate, name in zip((*trace.gates, trace.r, trace.z, trace.c), "zcrzc", strict=True):
        np.testing.assert_allclose(turn(gate), want[name], rtol=0, atol=1e-12)
    assert trace.q is None


def test_a_cell_of_a_step_alone_has_no_gates():
    cell = gj.gru(3)._replace(fast=None)
    trace = gj.trace(cell, cell.init(jax.random.key(0), 2), jnp.ones((5, 2)))
    assert (trace.gates, trace.r, trace.z, trace.c, trace.q) == (None,) * 5
    assert gj.saturation(trace) == (None, None, None)


def test_vmap_keeps_the_gates(rng):
    cell = gj.mgu(5)
    params, xs, _ = draw(rng, cell)
    each = jax.vmap(lambda xs: gj.trace(cell, params, xs))(xs)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), each, gj.trace(cell, params, xs))
    assert each.z.shape == (4, 7, 5)


def test_a_gate_that_a_cell_does_not_have_is_none():
    """A leaky integrator, written as a cell by a user."""
    from typing import NamedTuple

    class Only(NamedTuple):
        z: jax.Array

    gru = gj.gru(3)

    def gates(_, drive, __):
        return Only(jax.nn.sigmoid(drive.z))

    def mix(gates, h):
        return (1 - gates.z) * h + gates.z

    def step(params, x, h):
        return mix(gates(None, gru.fast.project(params, x), h), h)

    fast = gru.fast._replace(step=step, gates=gates, mix=mix, derivative=None, gru=None)
    cell = gru._replace(step=step, fast=fast)
    trace = gj.trace(cell, cell.init(jax.random.key(0), 2), jnp.ones((5, 2)))
    assert (trace.r, trace.c, trace.q) == (None, None, None)
    assert trace.z.shape == (5, 3)
    assert gj.saturation(trace).r is None
