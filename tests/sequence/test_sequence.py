from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from problems import draw_gru

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN = 4, 7, 3, 5


@pytest.fixture(params=["before", "after"])
def example(request, rng):
    params, _, h0 = draw_gru(rng, request.param, batch=(BATCH,))
    xs = jnp.asarray(rng.normal(size=(BATCH, TIME, INPUT)), jnp.float32)
    return gj.gru(HIDDEN, reset=request.param), params, xs, h0


@pytest.mark.parametrize("derivative", ["rule", "autodiff"])
def test_zoneout_in_evaluation_keeps_its_share_of_the_old_state(example, derivative):
    cell, params, xs, h0 = example
    hs, h_last = gj.unroll(cell, params, xs, h0, zoneout=0.3, derivative=derivative)
    valid = np.ones((BATCH, TIME), bool)
    want, want_last = reference.unroll(params, np.asarray(xs), np.asarray(h0), valid, hold=0.3)
    np.testing.assert_allclose(hs, want, atol=2e-6)
    np.testing.assert_allclose(h_last, want_last, atol=2e-6)


@pytest.mark.parametrize("derivative", ["rule", "autodiff"])
def test_backwards_padding_before_a_segment_leaves_its_last_state(example, derivative):
    cell, params, xs, h0 = example
    mask = jnp.tile(jnp.arange(TIME) >= 2, (BATCH, 1))
    resets = jnp.tile(jnp.arange(TIME) == 2, (BATCH, 1))
    options = {"mask": mask, "resets": resets, "reverse": True, "derivative": derivative}
    hs, h_last = gj.unroll(cell, params, xs, h0, **options)
    np.testing.assert_array_equal(h_last, hs[:, 2])


def test_no_valid_step_gives_h0_back(example):
    cell, params, xs, h0 = example
    hs, h_last = gj.unroll(cell, params, xs, h0, lengths=jnp.zeros(BATCH, int))
    np.testing.assert_array_equal(h_last, h0)
    np.testing.assert_array_equal(hs, np.zeros((BATCH, TIME, HIDDEN)))


def test_no_step_at_all_gives_h0_back(example):
    cell, params, xs, h0 = example
    hs, h_last = gj.unroll(cell, params, xs[:, :0], h0)
    np.testing.assert_array_equal(h_last, h0)
    assert hs.shape == (BATCH, 0, HIDDEN)


def test_a_length_beyond_the_end_is_the_end(example):
    cell, params, xs, h0 = example
    chex.assert_trees_all_equal(
        gj.unroll(cell, params, xs, h0, lengths=jnp.full(BATCH, 99)),
        gj.unroll(cell, params, xs, h0, lengths=jnp.full(BATCH, TIME)),
    )


@pytest.mark.untyped
@pytest.mark.parametrize("reverse", [False, True])
def test_time_major_in_time_major_out(example, reverse):
    cell, params, xs, h0 = example
    options = {"lengths": jnp.array([7, 2, 0, 4]), "reverse": reverse}
    mask = jax.random.bernoulli(jax.random.key(0), 0.7, (BATCH, TIME))
    hs, h_last = gj.unroll(cell, params, xs.swapaxes(0, 1), h0, mask=mask.T, time_axis=0, **options)
    want, want_last = gj.unroll(cell, params, xs, h0, mask=mask, **options)
    np.testing.assert_allclose(hs.swapaxes(0, 1), want, atol=1e-6)
    np.testing.assert_allclose(h_last, want_last, atol=1e-6)


@pytest.mark.untyped
def test_time_between_two_batch_axes(example):
    cell, params, xs, _ = example
    xs = jnp.stack([xs, 2 * xs])
    lengths = jnp.array([[7, 2, 0, 4], [1, 2, 3, 4]])
    hs, h_last = gj.unroll(cell, params, xs.swapaxes(1, 2), lengths=lengths, time_axis=1)
    want, want_last = gj.unroll(cell, params, xs, lengths=lengths)
    np.testing.assert_allclose(hs.swapaxes(1, 2), want, atol=1e-6)
    np.testing.assert_allclose(h_last, want_last, atol=1e-6)


@pytest.mark.parametrize("turns", [2, 3, 100])
def test_unrolling_the_loop_changes_nothing(example, turns):
    cell, params, xs, h0 = example
    chex.assert_trees_all_close(
        gj.unroll(cell, params, xs, h0, unroll=turns), gj.unroll(cell, params, xs, h0), atol=1e-6
    )


def test_numpy_data_is_taken_as_it_is(example):
    cell, params, xs, h0 = example
    hs, _ = gj.unroll(cell, params, np.asarray(xs), np.asarray(h0), lengths=np.full(BATCH, 3))
    want, _ = gj.unroll(cell, params, xs, h0, lengths=jnp.full(BATCH, 3))
    np.testing.assert_array_equal(hs, want)


@pytest.mark.untyped
def test_lengths_may_be_a_list_under_jit_too(example):
    cell, params, xs, h0 = example
    want = gj.unroll(cell, params, xs, h0, lengths=jnp.array([7, 2, 0, 4]))
    for run in (gj.unroll, jax.jit(gj.unroll, static_argnums=0)):
        actual = run(cell, params, xs, h0, lengths=[7, 2, 0, 4])
        chex.assert_trees_all_close(actual, want, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64])
def test_the_longest_length_there_is_means_no_padding(dtype):
    """It must not turn negative on its way to 32 bits."""
    cell = gj.gru(2)
    params = cell.init(jax.random.key(0), 1)
    lengths = np.full(2, np.iinfo(dtype).max, dtype)
    hs, _ = gj.unroll(cell, params, np.ones((2, 3, 1), np.float32), lengths=lengths)
    assert hs.any(-1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint32, np.int64])
def test_lengths_may_be_of_any_integer_type(dtype):
    """Counting 300 steps in 8 bits would begin again at 256."""
    cell = gj.gru(2)
    params = cell.init(jax.random.key(0), 1)
    hs, _ = gj.unroll(cell, params, np.ones((2, 300, 1), np.float32), lengths=dtype([10, 20]))
    np.testing.assert_array_equal(hs.any(-1).sum(1), [10, 20])


def test_the_turns_of_the_loop_are_those_asked_for(example):
    cell, params, xs, h0 = example
    for turns in (1, 3):
        run = partial(gj.unroll, cell, unroll=turns, backend="xla")
        text = str(jax.make_jaxpr(run)(params, xs, h0))
        assert f"unroll={turns}" in text


def test_the_inputs_are_multiplied_once_outside_the_loop(example):
    """Inside the scan no product has an operand with the inputs' axis."""
    cell, params, xs, h0 = example
    jaxpr = jax.make_jaxpr(lambda xs: gj.unroll(cell, params, xs, h0, backend="xla"))(xs)
    (scan,) = [e for e in equations(jaxpr.jaxpr) if e.primitive.name == "scan"]

    def operands(jaxpr):
        products = [e for e in equations(jaxpr) if e.primitive.name == "dot_general"]
        return [v.aval.shape for e in products for v in e.invars]

    assert any(shape[-1] == INPUT for shape in operands(jaxpr.jaxpr))
    inside = operands(scan.params["jaxpr"].jaxpr)
    assert inside
    assert not any(INPUT in shape or INPUT + HIDDEN in shape for shape in inside)


def equations(jaxpr):
    """Yields all equations, those of inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")
        ):
            if hasattr(inner, "jaxpr"):
                yield from equations(inner.jaxpr)
