"""Flax's own modules beside ours with the same weights, there and back."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from flax_cases import RNN, cell, without_b_h
from interop_cases import AFTER, BATCH, HIDDEN, INPUT, TIME, draw, draw_params, same_bits, tolerance

import gru_jax as gj
from gru_jax import interop

LENGTHS = np.array([5, 1, 3])


def make_nets(dtype):
    odd = {"activation": "softsign", "gate_activation": "hard_sigmoid"}
    return {
        "forward": gj.recurrent(cell(dtype)),
        "backward": gj.recurrent(cell(dtype, **odd), reverse=True),
        "both": gj.bidirectional(cell(dtype), cell(dtype, **odd)),
        "sum": gj.bidirectional(cell(dtype), merge="sum"),
        "stack": gj.stack(gj.recurrent(cell(dtype)), gj.bidirectional(cell(dtype))),
    }


def check_same(rng, dtype, net, params, theirs, weights, convert):
    """Compares outputs, and gradients of weights and inputs, under lengths."""
    xs = draw(rng, (BATCH, TIME, INPUT), dtype)
    size = jax.eval_shape(net.apply, params, xs)[0].shape[-1]
    weigh = draw(rng, (BATCH, TIME, size), dtype)
    # Theirs do not put zeros in padded steps: they are not compared.
    valid = jnp.asarray(np.arange(TIME) < LENGTHS[:, None], dtype)[..., None]

    def ours(params, xs):
        return net.apply(params, xs, lengths=LENGTHS)[0]

    def run(apply, weights):
        def loss(weights, xs):
            ys = valid * apply(weights, xs)
            return (weigh * ys).sum(), ys

        differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, ys), (grads, xs_grad) = differentiate(weights, xs)
        return ys, xs_grad, grads

    with jax.numpy_rank_promotion("allow"):
        (*mine, grads), (*peers, expected) = run(ours, params), run(theirs, weights)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance(dtype)),
        (*mine, convert(grads)),
        (*peers, expected),
    )


CASES = [("float32", "both"), *(("float64", name) for name in make_nets("float32"))]


@pytest.mark.parametrize(("dtype", "name"), CASES, indirect=["dtype"])
def test_linen_computes_what_ours_does(rng, dtype, name):
    net = make_nets(dtype)[name]
    params = draw_params(rng, net, dtype)
    module, variables = interop.to_linen(net, params)
    lengths = {} if name == "stack" else {"seq_lengths": LENGTHS}
    if name == "stack":  # a Sequential hands on no lengths

        def theirs(variables, xs):
            for number, layer in enumerate(module.layers):
                own = {"params": variables["params"][f"layers_{number}"]}
                xs = layer.apply(own, xs, seq_lengths=LENGTHS)
            return xs

        jax.eval_shape(module.apply, variables, jnp.zeros((BATCH, TIME, INPUT), dtype))
    else:

        def theirs(variables, xs):
            return module.apply(variables, xs, **lengths)

    def convert(grads):
        return interop.to_linen(net, grads)[1]

    check_same(rng, dtype, net, params, theirs, variables, convert)
    again, same = interop.from_linen(module, variables)
    assert again.architecture == net.architecture
    same_bits(same, params)
    same_bits(interop.to_linen(again, same)[1], variables)


@pytest.mark.parametrize(("dtype", "name"), CASES, indirect=["dtype"])
def test_nnx_computes_what_ours_does(rng, dtype, name):
    net = make_nets(dtype)[name]
    params = jax.tree.map(lambda a: draw(rng, a.shape, dtype), net.init(jax.random.key(0), INPUT))
    params = without_b_h(params)
    graph, state, rest = nnx.split(interop.to_nnx(net, params), nnx.Param, ...)
    layers = len(interop.to_nnx(net, params).layers) if name == "stack" else 0

    def theirs(tree, xs):
        state_now = jax.tree.map(lambda a: a, state)
        nnx.replace_by_pure_dict(state_now, tree)
        module = nnx.merge(graph, state_now, rest, copy=True)
        for number in range(layers):
            xs = module.layers[number](xs, seq_lengths=LENGTHS)
        return xs if layers else module(xs, seq_lengths=LENGTHS)

    def convert(grads):
        return nnx.to_pure_dict(nnx.state(interop.to_nnx(net, without_b_h(grads)), nnx.Param))

    weights = nnx.to_pure_dict(state)
    check_same(rng, dtype, net, params, theirs, weights, convert)
    again, same = interop.from_nnx(interop.to_nnx(net, params))
    assert again.architecture == net.architecture
    same_bits(same, params)


def test_a_cell_is_a_cell(rng):
    x, h = draw(rng, (BATCH, INPUT), "float32"), draw(rng, (BATCH, HIDDEN), "float32")
    params = without_b_h(draw_params(rng, AFTER, "float32"))
    expected = AFTER.step(params, x, h)
    module, variables = interop.to_linen(AFTER, params)
    other = interop.to_nnx(AFTER, params)
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(module.apply(variables, h, x)[0], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(other(h, x)[0], expected, rtol=1e-5, atol=1e-5)
    for again, same in (interop.from_linen(module, variables), interop.from_nnx(other)):
        assert again.architecture == AFTER.architecture
        same_bits(same, params)


def test_nnx_has_dropout_between_layers_and_no_b_h(rng):
    net = gj.stack(gj.recurrent(AFTER), gj.dropout(0.25), gj.recurrent(AFTER), gj.dropout(0.5))
    params = draw_params(rng, net, "float32")
    with pytest.raises(ValueError, match="to_nnx: b_h must be zero, got other numbers: Flax nnx's"):
        interop.to_nnx(net, params)
    params = without_b_h(params)
    module = interop.to_nnx(net, params)
    again, same = interop.from_nnx(module)
    assert again.architecture == net.architecture
    same_bits(same, params)
    xs = draw(rng, (BATCH, TIME, INPUT), "float32")
    module.eval()
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(module(xs), net.apply(params, xs)[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"to_linen: net must be without dropout, got a rate of 0\.25"
    ):
        interop.to_linen(net, params)
    net = gj.stack(gj.recurrent(AFTER), gj.recurrent(AFTER), gj.dropout(0.5))
    module = interop.to_nnx(net, (params[0], params[2], params[3]))
    same_bits(interop.from_nnx(nnx.state(module))[1], (params[0], params[2]))


def test_operator_add_is_a_sum_too(rng):
    net = make_nets("float32")["sum"]
    params = draw_params(rng, net, "float32")
    module = nn.Bidirectional(RNN.copy(), RNN.copy(), merge_fn=operator.add)
    again, same = interop.from_linen(module, interop.to_linen(net, params)[1])
    assert again.architecture == net.architecture
    same_bits(same, params)


def test_ten_layers_and_more_stay_in_their_order(rng):
    """Of which names sort layers_10 before layers_2."""
    net = gj.stack(*[gj.recurrent(AFTER)] * 11)
    params = draw_params(rng, net, "float32")
    _, variables = interop.to_linen(net, params)
    backwards = dict(reversed(variables["params"].items()))
    for tree in (backwards, dict(sorted(backwards.items()))):
        same_bits(interop.from_linen(None, tree)[1], params)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_cross_to_nnx_and_back(rng, dtype):
    net = gj.recurrent(gj.gru(HIDDEN, reset="after", dtype=dtype))
    params = draw_params(rng, net, dtype)._replace(b_h=jnp.zeros(HIDDEN, dtype))
    module = interop.to_nnx(net, params)
    assert module(jnp.ones((2, TIME, INPUT), dtype)).shape == (2, TIME, HIDDEN)
    same_bits(interop.from_nnx(module)[1], params)


@pytest.mark.parametrize("theirs", [True, False])
def test_other_starts_of_nnx_are_refused(theirs):
    init = nnx.initializers.ones if theirs else nnx.initializers.zeros
    with pytest.warns(UserWarning, match="carry_init"):
        module = nnx.GRUCell(INPUT, HIDDEN, carry_init=init, rngs=nnx.Rngs(0))
    if theirs:
        with pytest.raises(ValueError, match=r"^from_nnx: carry_init must be zeros, got <function"):
            interop.from_nnx(module)
    else:
        assert interop.from_nnx(module)[0].architecture == AFTER.architecture
