"""GRUs inside larger models and trees of Flax's, found by their names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from flax_cases import PLAIN, nnx_cell, without_b_h
from interop_cases import AFTER, BATCH, HIDDEN, INPUT, TIME, draw, draw_params, same_bits

import gru_jax as gj
from gru_jax import interop


class Model(nn.Module):
    """GRUs as users write them, in a compact module and by attributes."""

    def setup(self):
        self.encoder = nn.RNN(nn.GRUCell(HIDDEN))
        self.pair = nn.Bidirectional(nn.RNN(nn.GRUCell(HIDDEN)), nn.RNN(nn.GRUCell(HIDDEN)))
        self.inner = Compact()

    def __call__(self, xs):
        return self.inner(self.pair(self.encoder(xs)))


class Compact(nn.Module):
    @nn.compact
    def __call__(self, xs):
        return nn.Dense(2)(nn.RNN(nn.GRUCell(HIDDEN))(xs))


@pytest.fixture(scope="module")
def model():
    model, xs = Model(), jax.random.normal(jax.random.key(1), (BATCH, TIME, INPUT))
    with jax.numpy_rank_promotion("allow"):
        variables = model.init(jax.random.key(0), xs)
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda a: draw(rng, a.shape, a.dtype), variables), xs


def test_a_gru_is_found_in_a_users_model_by_its_name(model):
    module, variables, xs = model
    encoder, params = interop.from_linen(None, variables, name="encoder")
    pair, pair_params = interop.from_linen(None, variables, name="pair")
    inner, inner_params = interop.from_linen(None, variables, name="inner/GRUCell_0")
    ys, _ = encoder.apply(params, xs)
    ys, _ = pair.apply(pair_params, ys)
    ys, _ = gj.recurrent(inner).apply(inner_params, ys)
    dense = variables["params"]["inner"]["Dense_0"]
    ys = ys @ dense["kernel"] + jnp.broadcast_to(dense["bias"], (BATCH, TIME, 2))
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(ys, module.apply(variables, xs), rtol=1e-5, atol=1e-5)
    rnn = nn.RNN(nn.GRUCell(HIDDEN), reverse=True, keep_order=True)
    back, same = interop.from_linen(rnn, variables, name="inner/GRUCell_0")
    assert dict(back.architecture.options)["reverse"]
    same_bits(same, inner_params)
    only = {"params": {"encoder": variables["params"]["encoder"], "head": {"w": jnp.ones(2)}}}
    same_bits(interop.from_linen(None, only)[1], params)
    same_bits(interop.from_linen(None, variables, name="GRUCell_0")[1], inner_params)
    known = "'encoder' or 'inner/GRUCell_0' or 'pair'"
    with pytest.raises(ValueError, match=f"^from_linen: name must be {known}, got None"):
        interop.from_linen(None, variables)


def test_partitioned_variables_are_taken_out_of_their_boxes(rng):
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    module = nn.RNN(nn.GRUCell(HIDDEN, kernel_init=init))
    with jax.numpy_rank_promotion("allow"):
        variables = module.init(jax.random.key(0), draw(rng, (1, 2, INPUT), "float32"))
    same_bits(
        interop.from_linen(module, variables)[1],
        interop.from_linen(module, nn.meta.unbox(variables))[1],
    )


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_layers_around_something_unknown_are_taken_one_by_one(rng, library):
    net = gj.stack(*[gj.recurrent(gj.gru(INPUT, reset="after"))] * 2)
    params = without_b_h(draw_params(rng, net, "float32"))
    if library == "nnx":
        first, last = interop.to_nnx(net, params).layers
        state = nnx.state(nnx.Sequential(first, nnx.Dropout(0.1, rngs=nnx.Rngs(0)), last))
        read, names = interop.from_nnx, ("layers/0", "layers/2")
    else:
        tree = interop.to_linen(net, params)[1]["params"]
        state = {"layers_0": tree["layers_0"], "layers_2": tree["layers_1"]}
        read, names = lambda *a, **k: interop.from_linen(None, *a, **k), ("layers_0", "layers_2")
    with pytest.raises(ValueError, match=f"name must be '{names[0]}' or '{names[1]}', got None"):
        read(state)
    for name, one in zip(names, params, strict=True):
        same_bits(read(state, name=name)[1], one)


NAMES = ("gru_cell", "encoder_cell", "rnn_forward", "backward", "a/b", "cell", "layers_0", "7", 7)


@pytest.mark.parametrize("name", NAMES)
def test_a_gru_may_have_any_name(rng, name):
    params = draw_params(rng, AFTER, "float32")
    _, variables = interop.to_linen(AFTER, params)
    tree = {name: variables["params"], "head": {"kernel": jnp.ones(2)}}
    for said in (None, str(name)):
        same_bits(interop.from_linen(None, tree, name=said)[1], params)
    several = {name: {"cell": variables["params"]}, "head": variables["params"]}
    same_bits(interop.from_linen(None, several, name=str(name))[1], params)
    known = f"'{name}' or 'head'"
    with pytest.raises(ValueError, match=f"^from_linen: name must be {known}, got None"):
        interop.from_linen(None, several)


def test_names_that_read_alike_are_refused():
    with pytest.raises(ValueError, match="name must be 'a/b' or 'a/b', got 'a/b'"):
        interop.from_linen(None, {"a/b": PLAIN, "a": {"b": PLAIN}}, name="a/b")


class NNXModel(nnx.Module):
    def __init__(self):
        self.enc = nnx.Dict(rnn=nnx.RNN(nnx_cell(), reverse=True, keep_order=True))
        small = nnx.RNN(nnx.GRUCell(INPUT, 2, rngs=nnx.Rngs(0)))
        self.blocks = nnx.List([nnx.Linear(4, INPUT, rngs=nnx.Rngs(0)), small])
        self.chain = nnx.Sequential(nnx.Linear(4, INPUT, rngs=nnx.Rngs(0)), nnx.RNN(nnx_cell()))


def test_a_gru_is_found_in_a_users_model_of_nnx_by_its_name():
    model = NNXModel()
    net, params = interop.from_nnx(model, name="enc/rnn")
    assert dict(net.architecture.options)["reverse"]
    same_bits(params, interop.from_nnx(model.enc["rnn"])[1])
    inner, same = interop.from_nnx(model, name="chain/layers/1")
    assert inner.architecture == gj.recurrent(AFTER).architecture
    same_bits(same, interop.from_nnx(model.chain.layers[1])[1])
    for source in (model, nnx.state(model)):
        block, same = interop.from_nnx(source, name="blocks/1")
        assert block.architecture == gj.recurrent(gj.gru(2, reset="after")).architecture
        same_bits(same, interop.from_nnx(model.blocks[1])[1])
        known = "'blocks/1' or 'chain/layers/1' or 'enc/rnn'"
        with pytest.raises(ValueError, match=f"^from_nnx: name must be {known}, got None"):
            interop.from_nnx(source)
    del model.chain, model.blocks
    assert interop.from_nnx(model)[0].architecture == net.architecture
