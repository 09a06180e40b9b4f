"""Padding, resets, direction and cuts, whatever is kept for the derivative."""

from itertools import pairwise

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from problems import (
    AUTODIFF,
    BATCH,
    CASES,
    HIDDEN,
    INPUT,
    OPTIONS,
    RULE,
    TIME,
    draw_problem,
    make_cell,
    make_gradients,
    run,
)

import gru_jax as gj

RESETS = ("before", "after")
FLAGS = arrays(bool, (BATCH, TIME))
FORM, REVERSE, SEED = st.sampled_from(RESETS), st.booleans(), st.integers(0, 99)

both_forms = pytest.mark.parametrize("reset", RESETS)
both_directions = pytest.mark.parametrize("reverse", [False, True])
every_way = pytest.mark.parametrize(("reset", "way"), CASES)


def loss_weights(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(BATCH, TIME, HIDDEN)), rng.normal(size=(BATCH, HIDDEN))


@given(
    FORM,
    REVERSE,
    st.sampled_from(sorted(OPTIONS)),
    st.none() | arrays(np.int32, BATCH, elements=st.integers(0, TIME)),
    st.none() | FLAGS,
    FLAGS,
    st.booleans(),
    SEED,
)
def test_any_mix_is_the_numpy_loop(reset, reverse, way, lengths, mask, resets, own_start, seed):
    with jax.enable_x64(True):
        params, xs, h0, h_reset, _, _ = draw_problem(seed, reset)
        h_reset = None if own_start else h_reset
        hs, h_last = gj.unroll(
            make_cell(reset),
            params,
            xs,
            h0,
            lengths=lengths,
            mask=mask,
            resets=resets,
            h_reset=h_reset,
            reverse=reverse,
            **OPTIONS[way],
        )
    valid = np.ones((BATCH, TIME), bool) if mask is None else mask
    valid = valid if lengths is None else valid & (np.arange(TIME) < lengths[:, None])
    h_reset = np.zeros_like(h0) if own_start else h_reset
    want, want_last = reference.unroll(
        params, xs, h0, valid, resets=resets, h_reset=h_reset, reverse=reverse
    )
    np.testing.assert_allclose(hs, want, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(h_last, want_last, rtol=1e-12, atol=1e-13)


@given(FORM, REVERSE, st.sampled_from(sorted(RULE)), FLAGS, FLAGS, SEED)
def test_the_rules_gradient_of_any_mix_is_autodiffs(reset, reverse, way, valid, resets, seed):
    with jax.enable_x64(True):
        problem = draw_problem(seed, reset)._replace(valid=valid, resets=resets)
        got, want = (
            make_gradients(reset, reverse, w)(problem, *loss_weights(seed))
            for w in (way, "autodiff")
        )
        chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-12)


@both_directions
@pytest.mark.parametrize("way", [way for way in AUTODIFF if way != "autodiff"])
@pytest.mark.usefixtures("x64")
def test_what_autodiff_keeps_changes_no_gradient(reverse, way):
    problem = draw_problem(1, "before")
    got, want = (
        make_gradients("before", reverse, w)(problem, *loss_weights(1)) for w in (way, "autodiff")
    )
    chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-12)


@both_directions
@every_way
@pytest.mark.usefixtures("x64")
def test_garbage_in_padding_changes_no_bit(reset, reverse, way):
    """With resets in the padding, too, which are none."""
    problem = draw_problem(2, reset)
    gradients = make_gradients(reset, reverse, way)
    padded = ~problem.valid[..., None]
    clean = problem._replace(xs=np.where(padded, 0.0, problem.xs))
    want = gradients(clean, *loss_weights(2))
    for garbage in (np.nan, np.inf, -np.inf, 1e308):
        dirty = clean._replace(
            xs=np.where(padded, garbage, problem.xs), resets=problem.resets | ~problem.valid
        )
        got = gradients(dirty, *loss_weights(2))
        chex.assert_trees_all_equal(got, want)
    (_, dxs, _, _), (hs, _) = want
    assert not dxs[~problem.valid].any()
    assert dxs[problem.valid].all()
    assert not hs[~problem.valid].any()


@both_directions
@every_way
@pytest.mark.usefixtures("x64")
def test_nothing_passes_a_reset(reset, reverse, way):
    """What is on its other side changes no bit, and its gradient is zero, not small."""
    t = 3
    problem = draw_problem(3, reset)
    problem = problem._replace(
        valid=problem.valid | (np.arange(TIME) == t), resets=problem.resets | (np.arange(TIME) == t)
    )
    seen = np.arange(TIME) < t if reverse else np.arange(TIME) >= t
    w, w_last = loss_weights(3)
    w = w * seen[:, None]
    gradients = make_gradients(reset, reverse, way)
    (_, dxs, dh0, dh_reset), (hs, h_last) = gradients(problem, w, w_last)
    assert not dxs[:, ~seen].any()
    assert not dh0.any()
    assert np.abs(dh_reset).min() > 0
    assert dxs[:, seen][problem.valid[:, seen]].all()
    moved = problem._replace(xs=np.where(seen[:, None], problem.xs, -problem.xs), h0=problem.h0 + 1)
    (_, dxs_moved, _, _), (hs_moved, h_last_moved) = gradients(moved, w, w_last)
    np.testing.assert_array_equal(hs_moved[:, seen], hs[:, seen])
    np.testing.assert_array_equal(h_last_moved, h_last)
    np.testing.assert_array_equal(dxs_moved, dxs)
    assert (hs_moved != hs).any()


@both_forms
@both_directions
@pytest.mark.parametrize("cut", [0, 2, 5, 8])
@pytest.mark.usefixtures("x64")
def test_cutting_and_carrying_the_state_changes_nothing(reset, reverse, cut):
    """In reverse the later piece goes first, and a cut right before a reset is one to look at.

    The earlier piece cannot see the reset, which is in the other: it starts from `h_reset` then.
    """
    for seed in range(4):
        problem = draw_problem(seed, reset)
        _, _, h0, h_reset, valid, resets = problem
        hs, h_last = run(problem, reset, reverse=reverse)

        def piece(steps, h, problem=problem):
            xs, valid, resets = (a[:, steps] for a in (problem.xs, problem.valid, problem.resets))
            part = problem._replace(xs=xs, h0=h, valid=valid, resets=resets)
            return run(part, reset, reverse=reverse)

        before, after = slice(None, cut), slice(cut, None)
        if reverse:
            second, h = piece(after, h0)
            for row in range(BATCH):
                later = np.flatnonzero(valid[row, after])
                if len(later) and resets[row, after][later[0]]:
                    h = h.at[row].set(h_reset[row])
            first, h = piece(before, h)
            # A row that has no step left keeps what it was given; in one pass, its last state.
            h = jnp.where(valid[:, before].any(1)[:, None], h, h_last)
        else:
            first, h = piece(before, h0)
            second, h = piece(after, h)
        np.testing.assert_allclose(jnp.concatenate([first, second], 1), hs, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(h, h_last, rtol=1e-12, atol=1e-14)


@both_directions
@pytest.mark.usefixtures("x64")
def test_a_batch_is_its_rows_without_their_padding(reverse):
    problem = draw_problem(4, "after")
    hs, h_last = run(problem, "after", reverse=reverse)
    for row in range(BATCH):
        params, *arrays_ = problem
        xs, h0, h_reset, valid, resets = (a[row] for a in arrays_)
        alone, alone_last = gj.unroll(
            make_cell("after"),
            params,
            xs[valid],
            h0,
            resets=resets[valid],
            h_reset=h_reset,
            reverse=reverse,
        )
        np.testing.assert_allclose(hs[row, valid], alone, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(h_last[row], alone_last, rtol=1e-12, atol=1e-14)


@both_forms
@both_directions
@pytest.mark.usefixtures("x64")
def test_left_padding_is_no_padding(reset, reverse):
    problem = draw_problem(5, reset)
    fill = {"xs": 7.0, "valid": False, "resets": True}
    padded = {
        name: np.concatenate([np.full_like(a[:, :3], fill[name]), a], 1)
        for name, a in problem._asdict().items()
        if name in fill
    }
    hs, h_last = run(problem._replace(**padded), reset, reverse=reverse)
    want, want_last = run(problem, reset, reverse=reverse)
    np.testing.assert_allclose(hs[:, 3:], want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(h_last, want_last, rtol=1e-12, atol=1e-14)


@both_directions
@pytest.mark.usefixtures("x64")
def test_h_reset_is_the_initial_state_unless_given(reverse):
    params, xs, h0, _, _, resets = draw_problem(6, "before")
    cell = make_cell("before")
    start = jnp.arange(1.0, HIDDEN + 1)
    learned = gj.learned_initial_state(cell)
    for got, h_reset in (
        (gj.unroll(cell, params, xs, h0, resets=resets, reverse=reverse), 0 * start),
        (
            gj.unroll(
                learned,
                gj.LearnedInitialStateParams(params, start),
                xs,
                h0,
                resets=resets,
                reverse=reverse,
            ),
            start,
        ),
    ):
        h_reset = np.broadcast_to(h_reset, (BATCH, HIDDEN))
        want = reference.unroll(
            params,
            xs,
            h0,
            np.ones((BATCH, TIME), bool),
            resets=resets,
            h_reset=h_reset,
            reverse=reverse,
        )
        chex.assert_trees_all_close(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_both_directions_see_the_same_segments(rng):
    """A layer over segments is the layer over each of them alone."""
    cells = [gj.learned_initial_state(make_cell(reset)) for reset in RESETS]
    net = gj.stack(gj.bidirectional(*cells), gj.bidirectional(cells[0], merge="sum"))
    params = jax.tree.map(
        lambda a: jnp.asarray(rng.normal(0, 0.5, a.shape)), net.init(jax.random.key(0), INPUT)
    )
    xs, resets = rng.normal(size=(TIME, INPUT)), np.isin(np.arange(TIME), [0, 3, 4])
    ys, _ = net.apply(params, xs, resets=resets)
    for start, end in pairwise([0, 3, 4, TIME]):
        alone, _ = net.apply(params, xs[start:end])
        np.testing.assert_allclose(ys[start:end], alone, rtol=1e-12, atol=1e-13)
