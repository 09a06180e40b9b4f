"""LSTMs of Flax, Haiku and Equinox beside ours with the same weights, there and back."""

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from flax_cases import without_b_h
from interop_cases import BATCH, HIDDEN, INPUT, TIME, draw, draw_params, same_bits
from lstm_cases import CLOSE, LENGTHS, check_same, gru, lstm, make_nets

import gru_jax as gj
from gru_jax import interop

KERAS = "ignore:__array__ implementation:DeprecationWarning"

pytestmark = pytest.mark.usefixtures("x64", "rank_promotion")


@pytest.mark.parametrize("name", make_nets())
def test_linen_computes_what_ours_does(rng, name):
    net = make_nets()[name]
    params = draw_params(rng, net, "float64")
    module, variables = interop.to_linen(net, params)

    def convert(grads):
        return interop.to_linen(net, grads)[1]

    check_same(rng, net, params, module.apply, variables, convert)
    again, same = interop.from_linen(module, variables)
    assert again.architecture == net.architecture
    same_bits(same, params)
    same_bits(interop.to_linen(again, same)[1], variables)


@pytest.mark.parametrize("name", make_nets())
def test_nnx_computes_what_ours_does(rng, name):
    net = make_nets()[name]

    params = without_b_h(draw_params(rng, net, "float64"))
    graph, state, rest = nnx.split(interop.to_nnx(net, params), nnx.Param, ...)

    def theirs(tree, xs):
        state_now = jax.tree.map(lambda a: a, state)
        nnx.replace_by_pure_dict(state_now, tree)
        return nnx.merge(graph, state_now, rest, copy=True)(xs)

    def convert(grads):
        return nnx.to_pure_dict(nnx.state(interop.to_nnx(net, without_b_h(grads)), nnx.Param))

    check_same(rng, net, params, theirs, nnx.to_pure_dict(state), convert)
    again, same = interop.from_nnx(interop.to_nnx(net, params))
    assert again.architecture == net.architecture
    same_bits(same, params)


def check_lengths(net, params, xs, ys, carry):
    """Compares outputs, and the state after the last step of each sequence."""
    assert net.architecture == gj.recurrent(lstm()).architecture
    mine, last = net.apply(params, xs, lengths=LENGTHS)
    valid = np.arange(TIME) < LENGTHS[:, None]
    np.testing.assert_allclose(mine[valid], ys[valid], **CLOSE)
    np.testing.assert_allclose(jnp.stack(last), jnp.stack(carry[::-1]), **CLOSE)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.OptimizedLSTMCell])
def test_a_cell_of_linen_is_read_as_linen_makes_it(rng, cell):
    xs = draw(rng, (BATCH, TIME, INPUT), "float64")
    module = nn.RNN(cell(HIDDEN, param_dtype="float64"), return_carry=True)
    variables = module.init(jax.random.key(0), xs)
    variables = jax.tree.map(lambda a: draw(rng, a.shape, a.dtype), variables)
    carry, ys = module.apply(variables, xs, seq_lengths=LENGTHS)
    net, params = interop.from_linen(module, variables)
    check_lengths(net, params, xs, ys, carry)
    same_bits(interop.from_linen(None, variables)[1], params)


@pytest.mark.parametrize("cell", [nnx.LSTMCell, nnx.OptimizedLSTMCell])
def test_a_cell_of_nnx_is_read_as_nnx_makes_it(rng, cell):
    xs, rngs = draw(rng, (BATCH, TIME, INPUT), "float64"), nnx.Rngs(0)
    inner = cell(INPUT, HIDDEN, param_dtype="float64", rngs=rngs)
    module = nnx.RNN(inner, return_carry=True, rngs=rngs)
    state = jax.tree.map(lambda a: draw(rng, a.shape, a.dtype), nnx.state(module, nnx.Param))
    nnx.update(module, state)
    carry, ys = module(xs, seq_lengths=LENGTHS)
    net, params = interop.from_nnx(module)
    check_lengths(net, params, xs, ys, carry)
    same_bits(interop.from_nnx(state)[1], params)


def test_a_file_of_flax_may_have_both_kinds(rng, tmp_path):
    net = gj.stack(gj.bidirectional(lstm(), gru()), gj.recurrent(lstm(3)))
    params = draw_params(rng, net, "float64")
    interop.write(tmp_path / "a.msgpack", net, params)
    again, same = interop.read(tmp_path / "a.msgpack")
    assert again.architecture == net.architecture
    same_bits(same, params)


@pytest.mark.filterwarnings(KERAS)
def test_a_cell_is_a_cell(rng):
    cell = lstm()
    params = draw_params(rng, cell, "float64")
    x = draw(rng, (BATCH, INPUT), "float64")
    state = gj.LSTMState(*draw(rng, (2, BATCH, HIDDEN), "float64"))
    expected = cell.step(params, x, state)
    module, variables = interop.to_linen(cell, params)
    other, third = interop.to_nnx(cell, params), interop.to_keras(cell, params)
    fourth = interop.to_equinox(cell, params)
    pairs = (
        (interop.from_linen(module, variables), module.apply(variables, state[::-1], x)[0][::-1]),
        (interop.from_nnx(other), other(state[::-1], x)[0][::-1]),
        (interop.from_equinox(fourth), jax.vmap(fourth)(x, tuple(state))),
        (interop.from_keras(third), with_exact_tanh_of_cell(third)(x, list(state))[1]),
    )
    for (again, same), values in pairs:
        assert again.architecture == cell.architecture
        same_bits(same, params)
        np.testing.assert_allclose(jnp.stack(expected), jnp.stack(values), **CLOSE)


def with_exact_tanh_of_cell(cell):
    cell.activation = jnp.tanh
    return cell


@pytest.mark.parametrize("bias", [False, True])
def test_equinoxs_cell_is_read_also_from_a_file(rng, tmp_path, bias):
    theirs = eqx.nn.LSTMCell(INPUT, HIDDEN, bias, dtype="float64", key=jax.random.key(0))
    theirs = jax.tree.map(lambda a: draw(rng, a.shape, a.dtype), theirs)
    cell, params = interop.from_equinox(theirs)
    x = draw(rng, (BATCH, INPUT), "float64")
    state = gj.LSTMState(*draw(rng, (2, BATCH, HIDDEN), "float64"))
    expected = jax.vmap(theirs)(x, tuple(state))
    actual = cell.step(params, x, state)
    np.testing.assert_allclose(jnp.stack(actual), jnp.stack(expected), **CLOSE)
    eqx.tree_serialise_leaves(tmp_path / "a.eqx", theirs)
    same_bits(interop.read(tmp_path / "a.eqx")[1], params)
    interop.write(tmp_path / "b.eqx", cell, params)
    same_bits(interop.read(tmp_path / "b.eqx")[1], params)


def test_a_file_of_equinox_that_is_cut_is_no_gru(tmp_path):
    """It has three arrays then, as an LSTM has."""
    cell = eqx.nn.GRUCell(INPUT, HIDDEN, key=jax.random.key(0))
    eqx.tree_serialise_leaves(tmp_path / "a.eqx", (cell.weight_ih, cell.weight_hh, cell.bias))
    with pytest.raises(ValueError, match="bias_n of a GRUCell must be an array, got none"):
        interop.read(tmp_path / "a.eqx")


@pytest.mark.parametrize("count", [1, 2])
def test_haikus_lstms_compute_what_ours_do(rng, tmp_path, count):
    """Haiku adds 1 to the pre-activation of f."""

    def deep(xs):
        core = hk.DeepRNN([hk.LSTM(HIDDEN) for _ in range(count)])
        return hk.dynamic_unroll(core, xs, core.initial_state(BATCH))[0]

    theirs = hk.without_apply_rng(hk.transform(deep))
    net = gj.stack(*[gj.recurrent(lstm())] * count) if count > 1 else gj.recurrent(lstm())
    params = draw_params(rng, net, "float64")
    weights = interop.to_haiku(net, params)
    shapes = jax.eval_shape(theirs.init, jax.random.key(0), jnp.ones((TIME, BATCH, INPUT)))
    assert jax.tree.map(np.shape, weights) == jax.tree.map(np.shape, shapes)
    ones = interop.to_haiku(net, jax.tree.map(jnp.zeros_like, params))

    def convert(grads):
        return jax.tree.map(jnp.subtract, interop.to_haiku(net, grads), ones)

    def run(weights, xs):
        return theirs.apply(weights, xs.swapaxes(0, 1)).swapaxes(0, 1)

    check_same(rng, net, params, run, weights, convert)
    again, same = interop.from_haiku(weights)
    assert again.architecture == net.architecture
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-15, atol=1e-15), same, params
    )
    larger = {f"model/{key}": value for key, value in weights.items()}
    larger["model/linear"] = {"w": np.ones((3, 4)), "b": np.ones(4)}
    same_bits(
        interop.from_haiku(larger, name=f"lstm{'_1' * (count > 1)}")[1],
        same[-1] if count > 1 else same,
    )
    interop.write(tmp_path / "a.npz", net, params, format="haiku")
    same_bits(interop.read(tmp_path / "a.npz")[1], same)


@pytest.mark.parametrize("convert", [interop.to_keras, interop.to_linen, interop.to_nnx])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.filterwarnings(KERAS)
def test_every_dtype_goes_there_and_back(rng, dtype, convert):
    net = gj.recurrent(lstm(dtype=dtype))
    params = draw_params(rng, net, dtype)
    back = getattr(interop, convert.__name__.replace("to_", "from_"))
    module = convert(net, params)
    again, same = back(*(module if isinstance(module, tuple) else (module,)))
    assert again.architecture == net.architecture
    same_bits(same, params)
