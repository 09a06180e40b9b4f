"""`ScannedRNN` of linen and nnx beside Flax's GRUCell in `nn.scan`: numbers and gradients."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scanned_cases
from flax import linen as nn
from flax import nnx
from scanned_cases import HIDDEN, INPUT, Theirs, by_hand, draw_data, draw_weights, same

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx

make = scanned_cases.make  # The fixture: each of these tests is run for both.

TIME, BATCH = 9, (3,)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=["no batch", "batch", "env and agent"])
@pytest.mark.parametrize("number", [None, -0.5, 2], ids=["booleans", "floats", "integers"])
def test_results_are_those_of_flax_cell(rng, make, batch, number):
    weights, (carry, ins, resets) = draw_weights(rng), draw_data(rng, TIME, batch)
    x = ins, resets if number is None else number * resets
    ours = make(weights)
    last, ys = jax.jit(ours.apply)(ours.variables, carry, x)
    same((last, ys), Theirs().apply(weights, carry, x), 2e-6)
    assert last.dtype == ys.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_gradients_are_those_of_flax_cell(rng, make, dtype):
    weights = draw_weights(rng, dtype)
    carry, ins, resets = draw_data(rng, TIME, BATCH, dtype)
    ours = make(weights, param_dtype=dtype)
    weigh = jnp.asarray(rng.normal(size=(TIME, *BATCH, HIDDEN)), dtype)

    def gradients(apply, variables):
        def loss(variables, carry, ins):
            last, ys = apply(variables, carry, (ins, resets))
            return (weigh * ys).sum() + jnp.sin(last).sum()

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(variables, carry, ins)

    value, (d_weights, d_carry, d_ins) = gradients(Theirs().apply, weights)
    expected = value, by_hand(d_weights), d_carry, d_ins
    value, (d_variables, d_carry, d_ins) = gradients(ours.apply, ours.variables)
    actual = value, ours.params(d_variables), d_carry, d_ins
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    same(actual, expected, 2e-5 if dtype == "float32" else 1e-12)
    same(ours.params(ours.variables), by_hand(weights), 0)


def test_acting_step_by_step_is_learning_at_once(rng, make):
    weights, (carry, ins, resets) = draw_weights(rng), draw_data(rng, 128, BATCH)
    ours = make(weights)

    def act(carry, x):
        ins, resets = x
        carry, ys = ours.apply(ours.variables, carry, (ins[None], resets[None]))
        return carry, ys[0]

    stepwise = jax.jit(lambda: jax.lax.scan(act, carry, (ins, resets)))()
    at_once = ours.apply(ours.variables, carry, (ins, resets))
    same(at_once, stepwise, 2e-6)
    same(at_once, Theirs().apply(weights, carry, (ins, resets)), 2e-6)


@pytest.mark.usefixtures("x64")
def test_the_other_form_and_the_clip_are_those_of_numpy_loops(rng):
    leaves = reference.random_params(rng, INPUT, HIDDEN, "before")
    params = gj.GRUParams(*(a if a is None else jnp.asarray(a) for a in leaves))
    carry, ins, resets = draw_data(rng, TIME, BATCH, jnp.float64)
    carry, xs = 0.2 * carry, np.swapaxes(ins, 0, 1)
    options = {"reset": "before", "clip": 0.3, "param_dtype": "float64"}
    expected, last = reference.unroll(
        params,
        xs,
        carry,
        np.ones(xs.shape[:2], bool),
        resets=resets.T,
        h_reset=np.zeros(carry.shape),
        clip=0.3,
    )
    assert np.abs(expected).max() == 0.3
    linen = gru_jax.linen.ScannedRNN(HIDDEN, **options)
    ours = gru_jax.nnx.ScannedRNN(INPUT, HIDDEN, rngs=nnx.Rngs(0), **options)
    ours.set_params(ours.net(), params)
    for actual in (
        linen.apply(linen.variables_from(linen.net(), params), carry, (ins, resets)),
        ours(carry, (ins, resets)),
    ):
        same(actual, (last, np.swapaxes(expected, 0, 1)), 1e-12)


@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_first_weights_are_distributed_as_those_of_flax_cell(name):
    """lecun_normal: variance 1 / inputs, cut off at two deviations of the normal before."""
    inputs, hidden = 200, 60
    carry, x = jnp.zeros((2, hidden)), (jnp.zeros((1, 2, inputs)), jnp.zeros((1, 2)))
    theirs = by_hand(Theirs(hidden).init(jax.random.key(0), carry, x))
    if name == "linen":
        rnn = gru_jax.linen.ScannedRNN(hidden)
        ours = rnn.params_from(rnn.init(jax.random.key(0), carry, x))
    else:
        ours = gru_jax.nnx.ScannedRNN(inputs, hidden, rngs=nnx.Rngs(0)).params()
    for params in (ours, theirs):
        for W in (params.W_r, params.W_z, params.W_c):
            np.testing.assert_allclose(np.std(W[:inputs]), inputs**-0.5, rtol=0.03)
            edge = 2 / 0.87962566 * inputs**-0.5
            np.testing.assert_allclose(np.abs(W[:inputs]).max(), edge, rtol=0.01)
            np.testing.assert_allclose(W[inputs:] @ W[inputs:].T, np.eye(hidden), atol=1e-5)
        assert not any(np.any(b) for b in (params.b_r, params.b_z, params.b_c, params.b_h))
    assert len({float(W[0, 0]) for W in (ours.W_r, ours.W_z, ours.W_c)}) == 3


@pytest.mark.parametrize("batch", [3, (3,), (2, 3)])
def test_the_first_carry_is_zeros_of_a_number_or_a_tuple_of_rows(batch):
    shape = (*batch, HIDDEN) if isinstance(batch, tuple) else (batch, HIDDEN)
    theirs = nn.GRUCell(HIDDEN).initialize_carry(jax.random.key(0), (*shape[:-1], INPUT))
    for module in (gru_jax.linen.ScannedRNN, gru_jax.nnx.ScannedRNN):
        carry = module.initialize_carry(batch, HIDDEN)
        np.testing.assert_array_equal(carry, theirs)
        assert carry.dtype == theirs.dtype
        assert module.initialize_carry(batch, HIDDEN, jnp.bfloat16).dtype == jnp.bfloat16


def test_half_precision_in_is_half_precision_out(rng, make):
    weights, (carry, ins, resets) = draw_weights(rng), draw_data(rng, TIME, BATCH)
    ours = make(weights, dtype=jnp.bfloat16)
    results = ours.apply(ours.variables, carry.astype(jnp.bfloat16), (ins, resets))
    assert {leaf.dtype for leaf in results} == {jnp.dtype(jnp.bfloat16)}
    results = [leaf.astype(jnp.float32) for leaf in results]
    same(results, Theirs().apply(weights, carry, (ins, resets)), 0.05)


def test_integers_are_read_as_flax_cell_reads_them(rng, make):
    weights, (carry, _, resets) = draw_weights(rng), draw_data(rng, TIME, BATCH)
    ours, ins = make(weights), jnp.asarray(rng.integers(-3, 3, (TIME, *BATCH, INPUT)))
    actual = ours.apply(ours.variables, carry, (ins, resets))
    same(actual, Theirs().apply(weights, carry, (ins.astype(float), resets)), 2e-6)


def test_options_of_the_backend_arrive(rng, make):
    weights, (carry, ins, resets) = draw_weights(rng), draw_data(rng, TIME, BATCH)

    def program(**options):
        ours = make(weights, **options)

        def loss(ins):
            return ours.apply(ours.variables, carry, (ins, resets))[1].sum()

        return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(jax.grad(loss))(ins)))

    ways = [{}, {"backend": "xla"}, {"memory": "states"}]
    ways += [{"memory": "chunked", "chunk_size": n} for n in (2, 3)]
    assert program() == program()
    assert len({program(**way) for way in ways}) == len(ways)


@pytest.mark.usefixtures("optimized")
def test_the_kernel_runs_it_and_nothing_is_transposed(rng, make):
    weights, (carry, ins, resets) = draw_weights(rng), draw_data(rng, TIME, BATCH)
    ours = make(weights)

    def loss(variables, carry, ins):
        return (ours.apply(variables, carry, (ins, resets))[1] ** 2).sum()

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    text = step.lower(ours.variables, carry, ins).compile().as_text()
    assert re.findall(r'custom_call_target="gru_jax_(\w+)"', text) == ["forward", "backward"]
    assert f"f32[{BATCH[0]},{TIME}" not in text
    assert " transpose(" not in text
