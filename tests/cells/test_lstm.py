from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import (
    LENGTHS,
    check_dtype,
    check_parameters,
    check_step,
    check_unroll,
    draw,
    join,
)
from refusals import refused

import gru_jax as gj
from gru_jax.cells.params import split_rows
from gru_jax.testing import check_cell

INPUT, HIDDEN = 3, 5
PARAMS = gj.lstm(64).init(jax.random.key(0), 12)
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))


@pytest.fixture
def problem(rng):
    """A cell in float64 with random parameters, inputs and state."""
    with jax.enable_x64(True):
        cell = gj.lstm(HIDDEN, dtype=jnp.float64)
        yield cell, *draw(rng, cell)


def test_it_is_its_equations(rng, problem):
    cell, *rest = problem
    check_step(rng, cell, reference.lstm_gates)
    check_parameters(rng, cell, reference.lstm_gates)
    check_unroll(rng, cell, reference.lstm_gates, *rest)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_trace_has_its_four_gates(problem, reverse):
    cell, params, xs, h0 = problem
    trace = gj.trace(cell, params, xs, h0, lengths=LENGTHS, reverse=reverse)
    valid = np.arange(xs.shape[1]) < LENGTHS[:, None]
    loop = reference.trace(
        params, np.asarray(xs), join(h0), valid, gates=reference.lstm_gates, reverse=reverse
    )
    *want, _ = reference.lstm_values(params, np.asarray(xs), loop["h_before"])
    assert trace.gates._fields == ("i", "f", "g", "o")
    for got, values in zip(trace.gates, want, strict=True):
        values = np.where(valid[..., None], values, 0)
        np.testing.assert_allclose(got, values, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(join(trace.h), loop["h"], rtol=1e-10, atol=1e-13)
    assert (trace.r, trace.z, trace.c, trace.q) == (None,) * 4


def test_layers_pass_on_h(rng):
    cell = gj.lstm(HIDDEN)
    params, xs, h0 = draw(rng, cell)
    ys, last = gj.recurrent(cell).apply(params, xs, h0)
    hs, want = gj.unroll(cell, params, xs, h0)
    np.testing.assert_array_equal(ys, hs.h)
    jax.tree.map(np.testing.assert_array_equal, last, want)
    assert isinstance(last, gj.LSTMState)


@pytest.mark.slow("compiles many derivatives")
def test_it_passes_the_battery():
    check_cell(gj.lstm(HIDDEN), INPUT)


HALF = pytest.param(jnp.float16, marks=pytest.mark.slow("compiles in half precision"))


@pytest.mark.parametrize("dtype", [HALF, jnp.bfloat16, jnp.float64])
@pytest.mark.usefixtures("x64")
def test_results_have_the_dtype_of_the_parameters(rng, dtype):
    check_dtype(rng, partial(gj.lstm, HIDDEN), dtype)


def test_it_begins_with_an_open_forget_gate():
    params = gj.lstm(8).init(jax.random.key(0), INPUT)
    gru = gj.gru(8).init(jax.random.key(0), INPUT)
    assert 3 * gj.count_parameters(params) == 4 * gj.count_parameters(gru)
    weights, biases = params[::2], params._asdict()
    for W in weights:
        np.testing.assert_allclose(W[INPUT:].T @ W[INPUT:], np.eye(8), atol=1e-5)
    assert len({W.tobytes() for W in map(np.asarray, weights)}) == 4
    for name in ("b_i", "b_f", "b_g", "b_o"):
        np.testing.assert_array_equal(biases[name], float(name == "b_f"))
    ones = {"bias_init": jax.nn.initializers.ones, "dtype": jnp.bfloat16}
    shut = gj.lstm(8, forget_bias=-3, **ones).init(jax.random.key(0), INPUT)
    assert (shut.b_f == -2).all()
    assert (shut.b_o == 1).all()
    assert shut.b_f.dtype == jnp.bfloat16


def test_the_forget_bias_is_no_part_of_a_step(rng):
    cell = gj.lstm(HIDDEN)
    params, xs, h0 = draw(rng, cell)
    want = cell.step(params, xs[:, 0], h0)
    got = gj.lstm(HIDDEN, forget_bias=7).step(params, xs[:, 0], h0)
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.fixture
def weigh(rng):
    """The weights of hs, h and c in a loss."""
    return [rng.normal(size=shape) for shape in ((4, 7, HIDDEN), (4, HIDDEN), (4, HIDDEN))]


def differentiate(weigh, function, *args):
    """Returns the values of hs, h and c, and the gradients of their weighted sum."""

    def loss(*args):
        values = function(*args)
        return sum(map(jnp.vdot, weigh, values)), tuple(values)

    (_, values), grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2), True))(*args)
    return values, grads


def assert_same(weigh, problem, want):
    cell, *args = problem

    def ours(params, xs, h0):
        hs, last = gj.unroll(cell, params, xs, h0)
        return hs.h, *last

    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(want))
    close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
    jax.tree.map(close, differentiate(weigh, ours, *args), want)


def by_gate(params):
    """Returns the weights of x, the weights of h, and the biases, each of i, f, g and o."""
    return *zip(*map(split_rows, params[::2]), strict=True), params[1::2]


@pytest.mark.usefixtures("rank_promotion")
def test_values_and_gradients_are_flax(weigh, problem):
    from flax import linen as nn

    rnn = nn.RNN(nn.OptimizedLSTMCell(HIDDEN), return_carry=True)

    def theirs(params, xs, h0):
        weights = {}
        for gate, W_x, W_h, b in zip("ifgo", *by_gate(params), strict=True):
            weights |= {f"i{gate}": {"kernel": W_x}, f"h{gate}": {"kernel": W_h, "bias": b}}
        carry, hs = rnn.apply({"params": {"cell": weights}}, xs, initial_carry=h0[::-1])
        return hs, *carry[::-1]

    assert_same(weigh, problem, differentiate(weigh, theirs, *problem[1:]))


@pytest.mark.usefixtures("rank_promotion")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_values_and_gradients_are_keras(weigh, problem):
    import keras

    options = {"return_sequences": True, "return_state": True, "dtype": "float64"}
    # Keras' own tanh rounds to float32.
    layer = keras.layers.LSTM(HIDDEN, activation=jnp.tanh, **options)
    layer.build((4, 7, INPUT))

    def theirs(params, xs, h0):
        weights = [jnp.concatenate(arrays, -1) for arrays in by_gate(params)]
        fixed = layer.non_trainable_variables
        return layer.stateless_call(weights, fixed, xs, initial_state=[*h0])[0]

    assert_same(weigh, problem, differentiate(weigh, theirs, *problem[1:]))


@pytest.mark.peers
def test_values_and_gradients_are_torch(weigh, problem):
    """PyTorch has two biases, which it adds."""
    import torch

    _, params, xs, h0 = problem
    module = torch.nn.LSTM(INPUT, HIDDEN, batch_first=True, dtype=torch.float64)
    W_x, W_h, b = (np.concatenate(arrays, -1).T for arrays in by_gate(params))
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), (W_x, W_h, 3 * b, -2 * b), strict=True):
            parameter.copy_(torch.tensor(value.copy()))
    xs, h, c = (torch.tensor(np.array(a), requires_grad=True) for a in (xs, *h0))
    hs, (h_n, c_n) = module(xs, (h[None], c[None]))
    values = hs, h_n[0], c_n[0]
    sum((value * torch.tensor(w)).sum() for value, w in zip(values, weigh, strict=True)).backward()
    d_params = []
    gates = (np.split(parameter.grad.numpy(), 4) for parameter in module.parameters())
    for d_x, d_h, d_b, _ in zip(*gates, strict=True):
        d_params += [np.concatenate([d_x, d_h], 1).T, d_b]
    grads = gj.LSTMParams(*d_params), xs.grad.numpy(), gj.LSTMState(h.grad.numpy(), c.grad.numpy())
    assert_same(weigh, problem, (tuple(value.detach().numpy() for value in values), grads))


CASES = {
    "lstm: hidden_size must be a whole number from 1, got 0.": lambda: gj.lstm(0),
    "lstm: dtype must be a floating type, got int32.": lambda: gj.lstm(3, dtype=jnp.int32),
    "lstm: forget_bias must be a finite number, got '1'.": lambda: gj.lstm(3, forget_bias="1"),
    "lstm: forget_bias must be a finite number, got inf.": lambda: gj.lstm(3, forget_bias=np.inf),
    "lstm: input_size must be a whole number from 1, got 0.": lambda: gj.lstm(3).init(
        jax.random.key(0), 0
    ),
    "lstm: params must be LSTMParams, got a GRUParams.": lambda: gj.unroll(
        gj.lstm(64), gj.gru(64).init(jax.random.key(0), 12), X
    ),
    "lstm: params.W_i must be [joint, 65] to match the cell, got (76, 64).": lambda: gj.unroll(
        gj.lstm(65), PARAMS, X
    ),
    "lstm: params.b_o must be (64,) float32 to match params.W_i (76, 64), got (63,) float32.": (
        lambda: gj.unroll(gj.lstm(64), PARAMS._replace(b_o=PARAMS.b_o[1:]), X)
    ),
    "lstm: x must be [*batch, 12] float32 to match params.W_i (76, 64), got (4, 11) float32.": (
        lambda: gj.lstm(64).step(PARAMS, X[:, 1:], gj.LSTMState(H, H))
    ),
    "lstm: h must have the batch axes of x (4, 12), got (3, 64).": lambda: gj.lstm(64).step(
        PARAMS, X, gj.LSTMState(H[1:], H)
    ),
    "lstm: c must be (4, 64) float32 to match h, got (3, 64) float32.": lambda: gj.lstm(64).step(
        PARAMS, X, gj.LSTMState(H, H[1:])
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()


@pytest.mark.untyped
def test_a_state_of_another_kind_and_missing_parameters_are_refused():
    cell = gj.lstm(4)
    params = cell.init(jax.random.key(0), 3)
    with refused("lstm: state must be an LSTMState, got a tuple."):
        cell.step(params, jnp.zeros((2, 3)), (jnp.zeros((2, 4)), jnp.zeros((2, 4))))
    with refused("lstm: params.b_f must be an array, got None."):
        gj.unroll(cell, params._replace(b_f=None), jnp.zeros((2, 5, 3)))
