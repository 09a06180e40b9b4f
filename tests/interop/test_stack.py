"""What crosses to other frameworks and what does not; Haiku and Equinox beside ours."""

import json

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop_cases import (
    AFTER,
    BATCH,
    HIDDEN,
    INPUT,
    LAYER,
    NETS,
    TIME,
    draw,
    draw_params,
    same_bits,
    tolerance,
)

import gru_jax as gj
from gru_jax import interop
from gru_jax.architecture import as_dict, build, from_dict


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


@pytest.mark.parametrize("bias", [True, False])
def test_equinoxs_cell_computes_what_ours_does(rng, dtype, bias):
    cell = eqx.nn.GRUCell(INPUT, HIDDEN, bias, dtype=dtype, key=jax.random.key(0))
    cell = jax.tree.map(lambda a: draw(rng, a.shape, dtype), cell)
    x, h = draw(rng, (BATCH, INPUT), dtype), draw(rng, (BATCH, HIDDEN), dtype)
    weigh = draw(rng, (BATCH, HIDDEN), dtype)
    net, params = interop.from_equinox(cell)
    theirs = jax.vmap(lambda cell, x, h: cell(x, h), in_axes=(None, 0, 0))
    np.testing.assert_allclose(net.step(params, x, h), theirs(cell, x, h), **tolerance(dtype))
    mine, peers = (
        jax.jit(jax.grad(lambda *a, f=f: (weigh * f(*a)).sum(), argnums=(0, 1, 2)))(first, x, h)
        for f, first in ((net.step, params), (theirs, cell))
    )
    back = interop.to_equinox(net, mine[0])
    names = ("weight_ih", "weight_hh", "bias", "bias_n")[: 4 if bias else 2]
    for name in names:
        ours, peer = getattr(back, name), getattr(peers[0], name)
        assert np.abs(peer).max() > 1e-3
        np.testing.assert_allclose(ours, peer, **tolerance(dtype))
    for ours, peer in zip(mine[1:], peers[1:], strict=True):
        np.testing.assert_allclose(ours, peer, **tolerance(dtype))
    again = interop.to_equinox(gj.recurrent(net), params)
    for name in names:
        assert getattr(again, name).tobytes() == getattr(cell, name).tobytes()
    same_bits(interop.from_equinox(again)[1], params)


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


REFUSED = {
    "reset before": (
        interop.to_torch_state,
        gj.gru(4),
        'reset must be "after", got "before": in PyTorch\'s GRU r multiplies the product '
        "of h with its weights, so no weights of it give this candidate; use Keras, Haiku "
        "or ONNX.",
    ),
    "reset after": (
        interop.to_haiku,
        AFTER,
        'reset must be "before", got "after": in Haiku\'s GRU r multiplies h before its '
        "product with the weights, so no weights of it give this candidate; use Keras, PyTorch, "
        "Flax linen, Flax nnx, Equinox or ONNX.",
    ),
    "activation": (
        interop.to_equinox,
        gj.gru(4, reset="after", activation="relu"),
        "activation must be 'tanh', got 'relu': Equinox's GRUCell has no other; use Keras, "
        "Flax linen, Flax nnx or ONNX.",
    ),
    "gate activation": (
        interop.to_torch_state,
        gj.gru(4, reset="after", gate_activation="hard_sigmoid"),
        "gate_activation must be 'sigmoid', got 'hard_sigmoid': PyTorch's GRU has no "
        "other; use Keras, Flax linen, Flax nnx or ONNX.",
    ),
    "clip": (
        interop.to_torch_state,
        gj.gru(4, reset="after", clip=1.0),
        "clip must be None, got 1.0: PyTorch's GRU does not bound its states, nor does "
        "any other framework's; interop.save keeps such a net.",
    ),
    "learned state": (
        interop.to_torch_state,
        gj.learned_initial_state(AFTER),
        "net must begin at zeros, got a learned initial state: PyTorch's GRU has none; "
        "convert the cell inside with params.cell, and begin it at params.h0.",
    ),
    "layer norm": (
        interop.to_torch_state,
        gj.recurrent(gj.layer_norm_gru(4)),
        "net must be of GRUs in recurrent, bidirectional and stack, got layer_norm_gru: "
        "convert the recurrent layers by themselves, each with its part of the parameters, or keep "
        "the whole with interop.save.",
    ),
    "a head": (
        interop.to_torch_state,
        gj.stack(gj.recurrent(AFTER), gj.pool(), gj.dense(2)),
        "net must be of GRUs in recurrent, bidirectional and stack, got pool: "
        "convert the recurrent layers by themselves, each with its part of the parameters, or keep "
        "the whole with interop.save.",
    ),
    "zoneout": (
        interop.to_torch_state,
        gj.recurrent(AFTER, zoneout=0.1),
        "net must be without zoneout, got 0.1: no other framework has it as it is here; "
        "the parameters are the same in a net built without it.",
    ),
    "reverse": (
        interop.to_torch_state,
        gj.recurrent(AFTER, reverse=True),
        "net must run forward, got reverse=True: PyTorch's GRU cannot run backward alone "
        "with outputs in the order of the inputs; use Flax linen, Flax nnx or ONNX.",
    ),
    "sum": (
        interop.to_torch_state,
        gj.bidirectional(AFTER, merge="sum"),
        'merge must be "concat", got "sum": PyTorch\'s GRU puts the outputs of its two '
        "directions side by side; use Keras, Flax linen or Flax nnx.",
    ),
    "two directions": (
        interop.to_equinox,
        gj.bidirectional(AFTER),
        "net must run in one direction, got two: Equinox's GRUCell is one cell; "
        "convert params.forward and params.backward one by one, each with its cell.",
    ),
    "two layers": (
        interop.to_equinox,
        gj.stack(gj.recurrent(AFTER), gj.recurrent(AFTER)),
        "net must be one layer, got 2: Equinox's GRUCell is a single one; convert them one by one.",
    ),
    "dropout": (
        interop.to_haiku,
        gj.stack(gj.recurrent(gj.gru(4)), gj.dropout(0.2), gj.recurrent(gj.gru(4))),
        "net must be without dropout, got a rate of 0.2: Haiku's GRU has no place for "
        "it; the parameters are the same in a stack without it, but for its ().",
    ),
    "dropout first": (
        interop.to_torch_state,
        gj.stack(gj.dropout(0.2), gj.recurrent(AFTER)),
        "net must have dropout behind a recurrent layer alone, one, and not "
        "per_sequence, which no other framework has: leave it out of the stack.",
    ),
    "dropout last": (
        interop.to_torch_state,
        gj.stack(gj.recurrent(AFTER), gj.dropout(0.2)),
        "net must end without dropout, got a rate of 0.2: PyTorch's GRU has it between "
        "layers alone; put an nn.Dropout behind the module.",
    ),
    "two sizes": (
        interop.to_torch_state,
        gj.stack(gj.recurrent(AFTER), gj.recurrent(gj.gru(5, reset="after"))),
        "net must have one count of directions and hidden size in all layers, got "
        "[(1, 4), (1, 5)]: PyTorch's GRU has one for all; convert them one by one.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_framework_cannot_say_is_refused_with_the_reason_and_what_would_work(name):
    convert, net, message = REFUSED[name]
    with pytest.raises(ValueError, match=r"^to_\w+: ") as error:
        convert(net, net.init(jax.random.key(0), 3))
    assert str(error.value) == f"{convert.__name__}: {message}"


TORCH, HARD = interop.to_torch_state, "hard_sigmoid"


@pytest.mark.parametrize(
    ("convert", "net", "start"),
    [
        (
            TORCH,
            gj.gru(4, reset="after", activation="relu"),
            "activation must be 'tanh', got 'relu'",
        ),
        (TORCH, gj.recurrent(AFTER, drop_connect=0.1), "net must be without drop_connect"),
        (TORCH, gj.recurrent(AFTER, recurrent_dropout=0.1), "net must be without recurrent_dropo"),
        (
            TORCH,
            gj.stack(LAYER, gj.dropout(0.1), LAYER, gj.dropout(0.2), LAYER),
            "net must have one dropout in all layers, got [0.1, 0.2]",
        ),
        (
            TORCH,
            gj.bidirectional(AFTER, gj.gru(5, reset="after")),
            "net must have one count of directions and hidden size in all layers, got [(2, 4), (2",
        ),
        (interop.to_haiku, gj.gru(4, activation="relu"), "activation must be 'tanh', got 'relu'"),
        (interop.to_haiku, gj.gru(4, gate_activation=HARD), "gate_activation must be 'sigmoid'"),
        (interop.to_haiku, gj.bidirectional(gj.gru(4)), "net must run in one direction, got two"),
        (interop.to_haiku, gj.recurrent(gj.gru(4), reverse=True), "net must run forward, got rev"),
        (interop.to_haiku, gj.learned_initial_state(gj.gru(4)), "net must begin at zeros"),
        (interop.to_equinox, gj.gru(4), 'reset must be "after", got "before"'),
        (
            interop.to_equinox,
            gj.gru(4, reset="after", gate_activation=HARD),
            "gate_activation must be 'sigmoid'",
        ),
        (interop.to_equinox, gj.recurrent(AFTER, reverse=True), "net must run forward, got rever"),
        (interop.to_equinox, gj.stack(LAYER, gj.dropout(0.1)), "net must be without dropout"),
        (interop.to_equinox, gj.learned_initial_state(AFTER), "net must begin at zeros"),
        (interop.to_linen, gj.learned_initial_state(AFTER), "net must begin at zeros"),
        (interop.to_nnx, gj.learned_initial_state(AFTER), "net must begin at zeros"),
        (
            interop.to_nnx,
            gj.stack(LAYER, gj.dropout(0.2), gj.dropout(0.3)),
            "net must have dropout behind a recurrent layer alone, one",
        ),
        (
            interop.to_nnx,
            gj.stack(LAYER, gj.dropout(0.2, per_sequence=True)),
            "net must have dropout behind a recurrent layer alone, one, and not per_sequence",
        ),
    ],
)
def test_each_framework_has_its_own_limits(convert, net, start):
    with pytest.raises(ValueError, match=r"^to_\w+: ") as error:
        convert(net, net.init(jax.random.key(0), 3))
    assert str(error.value).startswith(f"{convert.__name__}: {start}")


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


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "there must be a GRU, got nothing."),
        (3, "params must be dicts of arrays by module, got a int."),
        ({"linear": {"w": 1}}, "there must be a GRU, got linear."),
        ({"own": dict.fromkeys(("w_i", "w_h", "b", "w_c"), 1)}, "there must be a GRU, got own."),
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


def test_equinoxs_cell_is_no_subclass_which_may_compute_something_else():
    class Own(eqx.nn.GRUCell):
        pass

    needed = "from_equinox: source must be an eqx.nn.GRUCell, got a Own"
    with pytest.raises(ValueError, match=needed):
        interop.from_equinox(Own(INPUT, HIDDEN, key=jax.random.key(0)))


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
