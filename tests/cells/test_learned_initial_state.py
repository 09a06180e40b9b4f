import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj


@pytest.fixture
def example(rng):
    cell = gj.learned_initial_state(gj.gru(5))
    params = cell.init(jax.random.key(0), 3)
    h0 = jnp.asarray(rng.normal(size=5), jnp.float32)
    return cell, params._replace(h0=h0), jnp.asarray(rng.normal(size=(4, 6, 3)), jnp.float32)


def test_it_begins_as_the_cells_own():
    cell = gj.gru(5)
    params = gj.learned_initial_state(cell).init(jax.random.key(0), 3)
    chex.assert_trees_all_equal(params.cell, cell.init(jax.random.key(0), 3))
    np.testing.assert_array_equal(params.h0, np.zeros(5))


@pytest.mark.parametrize("batch", [(), (4,), (2, 2)])
def test_the_state_before_the_first_step_is_the_parameter(example, batch):
    cell, params, xs = example
    xs = xs.reshape(*batch, -1, 3)
    h0 = jnp.broadcast_to(params.h0, (*batch, 5))
    chex.assert_trees_all_equal(
        gj.unroll(cell, params, xs), gj.unroll(gj.gru(5), params.cell, xs, h0)
    )


def test_an_h0_that_is_given_comes_first(example):
    cell, params, xs = example
    h0 = jnp.ones((4, 5))
    chex.assert_trees_all_equal(
        gj.unroll(cell, params, xs, h0), gj.unroll(gj.gru(5), params.cell, xs, h0)
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_reach_it_from_the_start_and_through_resets(example, reverse):
    """They are the sum of what reaches h0 and h_reset, over the sequences."""
    cell, params, xs = example
    resets = jnp.zeros((4, 6), bool).at[0, 2].set(True).at[2, 4].set(True)
    options = {"resets": resets, "reverse": reverse}

    def learned(params):
        return (gj.unroll(cell, params, xs, **options)[0] ** 2).sum()

    def given(h0, h_reset):
        inner = gj.unroll(gj.gru(5), params.cell, xs, h0, h_reset=h_reset, **options)
        return (inner[0] ** 2).sum()

    h0 = jnp.broadcast_to(params.h0, (4, 5))
    of_h0, of_reset = jax.grad(given, argnums=(0, 1))(h0, h0)
    assert jnp.abs(of_reset[jnp.array([0, 2])]).min() > 0
    assert not of_reset[jnp.array([1, 3])].any()
    total = (of_h0 + of_reset).sum(0)
    np.testing.assert_allclose(jax.grad(learned)(params).h0, total, rtol=1e-5)


def test_the_cells_own_derivative_stays_in_use(example):
    cell, params, xs = example
    inner = gj.gru(5)
    assert cell.fast.derivative == inner.fast.derivative
    assert cell.fast.gates == inner.fast.gates
    text = str(jax.make_jaxpr(jax.grad(lambda p: gj.unroll(cell, p, xs)[0].sum()))(params))
    plain = jax.grad(lambda p: gj.unroll(inner, p, xs)[0].sum())
    count = str(jax.make_jaxpr(plain)(params.cell)).count("dot_general[")
    assert text.count("dot_general[") == count


def test_it_goes_wherever_a_cell_goes(example):
    """Each layer and direction starts from its own."""
    _, _, xs = example
    cell = gj.learned_initial_state(gj.gru(5))
    net = gj.stack(gj.bidirectional(cell, merge="sum"), gj.residual(gj.recurrent(cell)))
    params = net.init(jax.random.key(1), 3)
    grads = jax.grad(lambda p: (net.apply(p, xs)[0] ** 2).sum())(params)
    starts = [grads[0].forward.h0, grads[0].backward.h0, grads[1].h0]
    assert all(jnp.abs(start).min() > 0 for start in starts)
    moved = params[1]._replace(h0=jnp.ones(5))
    state = net.initial_state((params[0], moved), (4, 3))
    np.testing.assert_array_equal(state[1], np.ones((4, 5)))


def test_the_first_state_is_no_buffer_of_the_parameters():
    """A training loop may donate it."""
    cell = gj.learned_initial_state(gj.gru(4))
    params = cell.init(jax.random.key(0), 3)
    h = cell.initial_state(params, (3,))
    assert h.unsafe_buffer_pointer() != params.h0.unsafe_buffer_pointer()


@pytest.mark.parametrize("separable", [False, True])
def test_images_of_any_size_begin_with_one_value_for_each_channel(rng, separable):
    inner = gj.conv_gru(3, separable=separable)
    cell = gj.learned_initial_state(inner)
    params = cell.init(jax.random.key(0), 2)
    assert params.h0.shape == (1, 1, 3)
    params = params._replace(h0=jnp.asarray(rng.normal(size=(1, 1, 3)), jnp.float32))
    for space in ((4, 5), (2, 1)):
        xs = jnp.asarray(rng.normal(size=(2, 3, *space, 2)), jnp.float32)
        h0 = jnp.broadcast_to(params.h0, (2, *space, 3))
        resets = jnp.array([[False, True, False], [False, False, False]])

        def learned(params, xs=xs, resets=resets):
            return (gj.unroll(cell, params, xs, resets=resets)[0] ** 2).sum()

        def given(h, xs=xs, resets=resets):
            hs, _ = gj.unroll(inner, params.cell, xs, h, resets=resets, h_reset=h)
            return (hs**2).sum()

        np.testing.assert_allclose(learned(params), given(h0), rtol=1e-5)
        total = jax.grad(given)(h0).sum((0, 1, 2))
        np.testing.assert_allclose(jax.grad(learned)(params).h0[0, 0], total, rtol=1e-4)


def test_a_state_that_grows_with_the_input_is_refused():
    inner = gj.Cell(
        init=lambda _, size: jnp.zeros(size),
        initial_state=lambda _, x_shape: jnp.zeros((*x_shape[:-2], 2 * x_shape[-2])),
        step=lambda *arguments: arguments[-1],
        input=lambda _: gj.Input((None, 3)),
    )
    cell = gj.learned_initial_state(inner)
    params = cell.init(jax.random.key(0), 3)
    with refused(
        "learned_initial_state: cell must have a state whose axes have the sizes of its input's "
        "axes, got (2, 8), and (2,) where the input has sizes of 1."
    ):
        gj.unroll(cell, params, jnp.zeros((2, 5, 4, 3)))
