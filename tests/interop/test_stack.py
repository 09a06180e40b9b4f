"""A net as data and its parameters as arrays, on the way to any framework."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import AFTER, LAYER, NETS, draw_params, same_bits

import gru_jax as gj
from gru_jax import interop
from gru_jax.architecture import as_dict, build, from_dict


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_built_again_from_what_it_says_of_itself(name):
    net = NETS[name]
    assert hash(net.architecture) is not None
    assert from_dict(as_dict(net.architecture)) == net.architecture
    again = build(net.architecture)
    assert type(again) is type(net)
    assert again.architecture == net.architecture
    key = jax.random.key(0)
    params = net.init(key, 3)
    same_bits(again.init(key, 3), params)
    if name == "a net":
        return  # its head is in half precision, which its body does not make
    layer, other = (n if isinstance(n, gj.Layer) else gj.recurrent(n) for n in (net, again))
    xs = jax.random.normal(key, (2, 5, 3), jax.tree.leaves(params)[0].dtype)
    same_bits(other.apply(params, xs, key=key), layer.apply(params, xs, key=key))


def test_numpys_numbers_are_options_as_pythons_are():
    entry = as_dict(gj.dropout(np.float32(0.25)).architecture)
    assert json.dumps(entry) == json.dumps(as_dict(gj.dropout(0.25).architecture))


def test_a_function_among_the_options_cannot_be_said():
    cell = gj.gru(4, activation=jnp.sin)
    for net in (cell, gj.recurrent(cell), gj.stack(gj.bidirectional(gj.gru(4), cell))):
        assert net.architecture is None
        with pytest.raises(
            ValueError, match="to_torch_state: net must be built by gru_jax with activat"
        ):
            interop.to_torch_state(net, ())


def test_a_stack_in_a_stack_is_one(rng):
    net = gj.stack(gj.stack(LAYER, LAYER), LAYER)
    inside, last = draw_params(rng, net, "float32")
    same_bits(
        interop.to_torch_state(net, (inside, last)),
        interop.to_torch_state(gj.stack(LAYER, LAYER, LAYER), (*inside, last)),
    )


@pytest.mark.parametrize(
    ("to", "cell"), [(interop.to_torch_state, AFTER), (interop.to_haiku, gj.gru(4))]
)
def test_weights_cross_under_jit(rng, to, cell):
    params = draw_params(rng, cell, "float32")
    same_bits(jax.jit(lambda params: to(cell, params))(params), to(cell, params))


@pytest.mark.parametrize("name", ["b_h", "b_r"])
def test_biases_are_left_out_only_where_they_are_zero(name):
    params = AFTER.init(jax.random.key(0), 3)
    assert set(interop.to_torch_state(AFTER, params, bias=False)) == {"weight_ih", "weight_hh"}
    params = params._replace(**{name: getattr(params, name).at[1].set(0.1)})
    with pytest.raises(
        ValueError, match="to_torch_state: bias must be True where biases are not zero"
    ):
        interop.to_torch_state(AFTER, params, bias=False)


@pytest.mark.parametrize(
    ("net", "params", "message"),
    [
        (3, (), "net must be a Cell or a Layer, e.g. gru(64), got a int"),
        (gj.gru(4), (), "params must be GRUParams, got a tuple"),
        (gj.bidirectional(AFTER), (), "params must be Directions, got a tuple"),
        (
            AFTER,
            gj.gru(5, reset="after").init(jax.random.key(0), 3),
            "W_r must be (8, 4), got",
        ),
        (AFTER, gj.gru(4).init(jax.random.key(0), 3), 'params.b_h must be an array with reset="af'),
        (gj.gru(4), AFTER.init(jax.random.key(0), 3), 'params.b_h must be None with reset="befo'),
        (gj.stack(gj.recurrent(AFTER)), (), "params must be a tuple of 1, one entry a layer"),
        (gj.stack(LAYER), [AFTER.init(jax.random.key(0), 3)], "params must be a tuple of 1, one"),
        (gj.learned_initial_state(AFTER), (), "must be LearnedInitialStateParams, got a tuple"),
    ],
)
def test_parameters_of_another_net_are_refused(net, params, message):
    with pytest.raises(ValueError, match=r"^to_torch_state: ") as error:
        interop.to_torch_state(net, params)
    assert message in str(error.value)


TO = (
    interop.to_torch_state,
    interop.to_keras,
    interop.to_linen,
    interop.to_nnx,
    interop.to_equinox,
    interop.to_onnx,
)


@pytest.mark.parametrize("to", TO)
@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (np.float64, "params.W_r must be float32 while JAX holds 32 bits, got float64"),
        (np.int32, "params.W_r must be floating-point numbers, got int32."),
    ],
)
def test_numbers_that_would_be_rounded_on_the_way_are_refused(to, dtype, message):
    params = jax.tree.map(lambda a: np.ones(a.shape, dtype), AFTER.init(jax.random.key(0), 3))
    with pytest.raises(ValueError, match=rf"^to_\w+: {message}"):
        to(AFTER, params)


@pytest.mark.parametrize("to", [to for to in TO if to is not interop.to_equinox])
def test_a_net_of_several_dtypes_is_refused(to):
    net = gj.stack(*[gj.recurrent(AFTER)] * 2)
    first, second = net.init(jax.random.key(0), 3)
    second = jax.tree.map(lambda a: a.astype(jnp.float16), second)
    with pytest.raises(ValueError, match=r"weights must have one dtype, got float16 and float32"):
        to(net, (first, second))


def test_a_state_of_another_dtype_is_refused():
    net = gj.learned_initial_state(AFTER)
    params = net.init(jax.random.key(0), 3)
    params = params._replace(h0=params.h0.astype(jnp.float16))
    with pytest.raises(ValueError, match="weights must have one dtype, got float16 and float32"):
        interop.to_onnx(net, params)
