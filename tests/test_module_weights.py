"""The weights of both Flax modules: to a net and back, and those that are refused."""

import re

import chex
import jax
import jax.numpy as jnp
import module_cases
import numpy as np
import pytest
from flax import nnx
from module_cases import BATCH, HIDDEN, INPUT, KEY, LENGTHS, draw, draw_data
from refusals import refused

import gru_jax as gj
from gru_jax.layers.recurrent import Directions

make = module_cases.make  # The fixture: each of these tests is run for both.


@pytest.mark.parametrize(
    ("count", "both", "reset"), [(1, False, "before"), (1, True, "after"), (3, True, "before")]
)
def test_weights_go_to_the_net_and_back(rng, make, count, both, reset):
    """With dropout, too, whose () may be missing where they come from."""
    params, (xs, _) = draw(rng, count, both, reset), draw_data(rng)
    options = {"num_layers": count, "bidirectional": both, "reset": reset, "deterministic": True}
    options["dropout"] = 0.2 * (count > 1)
    gru, apply = make(params, **options)
    net, own = gru.net(), read_params(gru, params)
    chex.assert_trees_all_equal(jax.tree.leaves(own), jax.tree.leaves(params))
    chex.assert_trees_all_equal_shapes_and_dtypes(own, jax.eval_shape(lambda: net.init(KEY, INPUT)))
    chex.assert_trees_all_equal(read_params(make(own, **options)[0], own), own)
    result = apply(xs, lengths=LENGTHS)
    chex.assert_trees_all_equal(net.apply(own, xs, lengths=LENGTHS), result)
    traces = gj.trace(net, own, xs, lengths=LENGTHS)
    traces = jax.tree.leaves(traces, is_leaf=lambda leaf: isinstance(leaf, gj.Trace))
    assert len(traces) == count * (1 + both)
    np.testing.assert_allclose(traces[-1].h, result[0][..., -HIDDEN:], atol=1e-6)


def read_params(gru, params):
    if isinstance(gru, nnx.Module):
        return gru.params()
    return gru.params_from(gru.variables_from(gru.net(), params))


WRONG = {
    "GRU: num_layers must be a whole number from 1, got 0.": {"num_layers": 0},
    "GRU: dropout must be 0 with num_layers=1, since it stands between layers, got 0.1.": {
        "dropout": 0.1
    },
    "dropout: rate must be 0 <= rate < 1, got 1.": {"num_layers": 2, "dropout": 1},
    'gru: reset must be "before" or "after", got \'never\'.': {"reset": "never"},
    "recurrent: zoneout must be 0 <= zoneout < 1, got 2.": {"zoneout": 2},
    "GRU: dtype must be a floating type, got int32.": {"dtype": jnp.int32},
    "GRU: param_dtype must be a floating type, got complex64.": {"param_dtype": jnp.complex64},
    "GRU: params must be bfloat16, as param_dtype says, got float32.": {
        "param_dtype": jnp.bfloat16
    },
    "GRU: params must have the layers, directions and biases that the options say, "
    "got them without layers_1/forward/W_c.": {"num_layers": 2},
    "GRU: params must have the layers, directions and biases that the options say, "
    "got them without layers_0/backward/W_c.": {"bidirectional": True},
    "GRU: params must have the layers, directions and biases that the options say, "
    "got them without layers_0/forward/b_h.": {"reset": "after"},
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", WRONG)
def test_wrong_options_and_weights_are_one_clear_message(rng, make, message):
    with refused(message):
        make(draw(rng, 1, False), **WRONG[message])


def test_both_directions_cannot_stream(rng, make):
    gru, apply = make(draw(rng, 1, True), bidirectional=True)
    with pytest.raises(ValueError, match="bidirectional: step must see the whole sequence first"):
        apply(jnp.ones((BATCH, INPUT)), gru.initial_state((BATCH, INPUT)), method="step")


CELL = gj.gru(HIDDEN)
OTHERS = {
    "layers_0 recurrent, as this module was built, got bidirectional": (
        gj.bidirectional(CELL),
        {},
    ),
    "layers_0.reverse False, as this module was built, got True": (
        gj.recurrent(CELL, reverse=True),
        {},
    ),
    "layers_0.merge concat, as this module was built, got sum": (
        gj.bidirectional(CELL, merge="sum"),
        {"bidirectional": True},
    ),
    "layers_0.backward.activation tanh, as this module was built, got relu": (
        gj.bidirectional(CELL, gj.gru(HIDDEN, activation="relu")),
        {"bidirectional": True},
    ),
    "layers_1.forward.clip None, as this module was built, got 0.5": (
        gj.stack(*map(gj.recurrent, (CELL, gj.gru(HIDDEN, clip=0.5)))),
        {"num_layers": 2},
    ),
    "layers_1 nothing, as this module was built, got recurrent": (
        gj.stack(*map(gj.recurrent, (CELL, CELL))),
        {},
    ),
    "layers_0.forward gru, as this module was built, got learned_initial_state": (
        gj.learned_initial_state(CELL),
        {},
    ),
    "layers_0 recurrent, as this module was built, got nothing": (
        gj.gru(HIDDEN, activation=jnp.sin),
        {},
    ),
}


@pytest.mark.parametrize("message", OTHERS)
def test_parameters_of_a_net_that_computes_something_else_are_refused(make, message):
    net, options = OTHERS[message]
    told = f"GRU: net must have {message}: build the module as the net is."
    with refused(told):
        make(net.init(KEY, INPUT), net, **options)


def test_noise_memory_and_dropout_may_be_other_than_where_parameters_come_from(rng, make):
    params, (xs, _) = draw(rng, 2, False), draw_data(rng)
    cell = gj.recurrent(CELL, recurrent_dropout=0.1, memory="states")
    net = gj.stack(cell, gj.dropout(0.3), cell)
    _, apply = make((params[0], (), params[1]), net, num_layers=2, zoneout=0.1, deterministic=True)
    _, plain = make(params, num_layers=2, zoneout=0.1, deterministic=True)
    np.testing.assert_array_equal(apply(xs)[0], plain(xs)[0])
    own = make(draw(rng, 1, False), activation=jnp.sin)[0].net()
    make(draw(rng, 1, False), own, activation=jnp.sin)


def test_states_are_passed_by_name_for_a_sequential_would_pass_them_on(rng, make):
    """Flax's `Sequential` hands all that a layer returns to the next one."""
    _, apply = make(draw(rng, 1, False))
    xs, h0 = draw_data(rng)
    with pytest.raises(TypeError, match="positional argument"):
        apply(xs, h0)


def test_a_pair_of_states_has_names(rng, make):
    _, apply = make(draw(rng, 1, True), bidirectional=True)
    xs, h0 = draw_data(rng, 1, True)
    needed = r"^bidirectional: state must be Directions\(forward=.*\), got \("
    with pytest.raises(ValueError, match=needed):
        apply(xs, h0=tuple(h0))


@pytest.mark.untyped
def test_weights_of_other_kinds_are_refused(rng, make):
    params = draw(rng, 1, False)
    needed = "GRU: params must be GRUParams, Directions of them, or a tuple of these, got a "
    for wrong, came in (
        ({"layers_0": params}, "str"),
        ((params, gj.dense(3).init(KEY, HIDDEN)), "DenseParams"),
        (Directions(params, None), "NoneType"),
    ):
        with pytest.raises(ValueError, match=f"{needed}{came}"):
            make(wrong)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("count", "both", "reset", "name"),
    [
        (2, False, "before", "layers_1/forward/W_c"),
        (1, True, "before", "layers_0/backward/W_c"),
        (1, False, "after", "layers_0/forward/b_h"),
    ],
)
def test_weights_that_are_more_than_the_options_say_are_refused(
    rng, make, count, both, reset, name
):
    with pytest.raises(ValueError, match=f"the options say, got them with {name}"):
        make(draw(rng, count, both, reset))


def test_weights_of_other_shapes_are_refused(rng, make):
    params = draw(rng, 2, False)
    with pytest.raises(ValueError, match=re.escape("params.W_r must be [joint, 5]")):
        make(jax.tree.map(lambda leaf: leaf[..., :3], params), num_layers=2)
    with pytest.raises(ValueError, match=re.escape("recurrent: xs must be [*batch, time, 4]")):
        make((params[0], params[0]), num_layers=2)
