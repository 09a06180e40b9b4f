"""Haiku's GRU beside ours, and its parameters, found in those of a model or refused."""

import haiku as hk
import jax
import numpy as np
import pytest
from interop_cases import BATCH, HIDDEN, INPUT, TIME, draw, draw_params, same_bits, tolerance

import gru_jax as gj
from gru_jax import interop


def test_haikus_gru_computes_what_ours_does(rng, dtype):
    """Also in a DeepRNN; values, and gradients of weights, inputs and states."""
    xs, h0 = draw(rng, (TIME, BATCH, INPUT), dtype), draw(rng, (2, BATCH, HIDDEN), dtype)
    weigh = draw(rng, (TIME, BATCH, HIDDEN), dtype)

    def deep(xs, h0):
        core = hk.DeepRNN([hk.GRU(HIDDEN), hk.GRU(HIDDEN)])
        return hk.dynamic_unroll(core, xs, tuple(h0))

    theirs = hk.without_apply_rng(hk.transform(deep))
    net = gj.stack(*[gj.recurrent(gj.gru(HIDDEN, dtype=dtype))] * 2)
    params = draw_params(rng, net, dtype)
    weights = interop.to_haiku(net, params)

    def ours(params, xs, h0):
        ys, h_last = net.apply(params, xs.swapaxes(0, 1), tuple(h0))
        return ys.swapaxes(0, 1), h_last

    def run(apply, *args):
        def loss(*args):
            ys, h_last = apply(*args)
            return (weigh * ys).sum(), (ys, h_last)

        differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
        (_, results), (grads, *others) = differentiate(*args)
        return grads, others, results

    with jax.numpy_rank_promotion("allow"):
        (grads, *mine), (expected, *peers) = (
            run(ours, params, xs, h0),
            run(theirs.apply, weights, xs, h0),
        )
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance(dtype)),
        (interop.to_haiku(net, grads), mine),
        (expected, peers),
    )
    again, same = interop.from_haiku(weights)
    assert again.architecture == net.architecture
    same_bits(same, params)
    same_bits(interop.to_haiku(again, same), weights)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "there must be a GRU or an LSTM, got nothing."),
        (3, "params must be dicts of arrays by module, got a int."),
        ({"linear": {"w": 1}}, "there must be a GRU or an LSTM, got linear."),
        (
            {"own": dict.fromkeys(("w_i", "w_h", "b", "w_c"), 1)},
            "there must be a GRU or an LSTM, got own.",
        ),
        (
            {
                "gru": {
                    k: np.ones(s, "f") for k, s in (("w_i", (3, 12)), ("w_h", (4, 9)), ("b", 12))
                }
            },
            "gru/w_h must be (4, 12), got (4, 9).",
        ),
    ],
)
def test_haikus_parameters_that_do_not_fit_are_one_sentence(params, message):
    with pytest.raises(ValueError, match=r"^from_haiku: ") as error:
        interop.from_haiku(params)
    assert message in str(error.value)


def test_haikus_layers_are_in_their_order_however_the_dict_is_sorted(rng):
    """As JAX sorts it: gru, gru_1, gru_10, gru_2."""
    net = gj.stack(*[gj.recurrent(gj.gru(INPUT))] * 12)
    params = draw_params(rng, net, "float32")
    weights = jax.tree.map(lambda a: a, interop.to_haiku(net, params))
    assert list(weights)[2] == "gru_10"
    same_bits(interop.from_haiku(weights)[1], params)


@pytest.mark.parametrize(
    "names", [("one", "two"), ("gru", "gru_2"), ("gru_1", "gru_2"), ("x/gru", "y/gru_1")]
)
def test_haikus_grus_whose_names_say_no_order_are_taken_one_by_one(rng, names):
    net = gj.stack(*[gj.recurrent(gj.gru(INPUT))] * 2)
    params = draw_params(rng, net, "float32")
    found = dict(zip(names, interop.to_haiku(net, params).values(), strict=True))
    with pytest.raises(ValueError, match=r"^from_haiku: name must be .* got None"):
        interop.from_haiku(found)
    same_bits(interop.from_haiku(found, name=names[1])[1], params[1])
    behind = {"a/gru": found[names[0]], "a/linear": {"w": np.ones(3)}, "a/gru_1": found[names[1]]}
    with pytest.raises(ValueError, match=r"^from_haiku: name must be .* got 'a'"):
        interop.from_haiku(behind, name="a")


def test_haikus_grus_are_found_among_other_modules(rng):
    net = gj.stack(*[gj.recurrent(gj.gru(4))] * 2)
    params = draw_params(rng, net, "float32")
    grus = {f"encoder/{name}": arrays for name, arrays in interop.to_haiku(net, params).items()}
    larger = {
        "embed": {"w": np.ones(3)},
        **grus,
        "none": None,
        "linear": {"w": np.ones(3), "b": np.ones(3)},
    }
    same_bits(interop.from_haiku(larger, name="encoder")[1], params)
    for name, one in (("encoder/gru", params[0]), ("gru_1", params[1])):
        same_bits(interop.from_haiku(larger, name=name)[1], one)
    del larger["encoder/gru"]
    same_bits(interop.from_haiku(larger)[1], params[1])
    with pytest.raises(ValueError, match=r"^from_haiku: name must be 'encoder/gru_1', got 'x'"):
        interop.from_haiku(larger, name="x")
