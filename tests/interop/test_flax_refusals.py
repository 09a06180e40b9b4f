"""Flax's modules and variables that no net of ours computes: one sentence each."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from flax_cases import OWN, PLAIN, RNN, nnx_cell
from interop_cases import HIDDEN, INPUT

from gru_jax import interop
from gru_jax.linen import GRU
from gru_jax.nnx import GRU as NNXGRU

ONES = jnp.ones((1, 2, INPUT))


def linen_case(module):
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with jax.numpy_rank_promotion("allow"):
        variables = module.init(rngs, ONES)
    return lambda: interop.from_linen(module, variables)


def tree_case(**tree):
    return lambda: interop.from_linen(None, tree)


class MyCell(nn.GRUCell):
    pass


class MyRNN(nn.RNN):
    pass


class MyBidirectional(nn.Bidirectional):
    pass


class MyNNXCell(nnx.GRUCell):
    pass


class MyNNXRNN(nnx.RNN):
    pass


RNGS = nnx.Rngs(0)

DENSE = {"kernel": np.ones((4, 12), "f"), "bias": np.ones(12, "f")}
REFUSED = {
    "another cell": (
        linen_case(nn.RNN(nn.SimpleCell(HIDDEN))),
        "module must be an RNN of a GRU or an LSTM cell, got one with h, i.",
    ),
    "a minimal cell": (
        linen_case(nn.RNN(nn.MGUCell(HIDDEN))),
        "module must be an RNN of a GRU or an LSTM cell, got one with hf, hn, if, in.",
    ),
    "another order": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN), reverse=True)),
        "keep_order must be True with reverse=True, got False: such an RNN gives its outputs "
        "last step first, and gru_jax's are in the order of the inputs.",
    ),
    "another merge": (
        linen_case(nn.Bidirectional(RNN.copy(), RNN.copy(), merge_fn=operator.mul)),
        "merge_fn must be the default or jnp.add, got <built-in function mul>",
    ),
    "a gate": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN, gate_fn=nn.relu))),
        "gate_fn must be hard_sigmoid, sigmoid of jax.nn, got",
    ),
    "a function": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN, activation_fn=jnp.sin))),
        "activation_fn must be elu, ",
    ),
    "more layers": (
        linen_case(nn.Sequential([RNN.copy(), nn.relu, RNN.copy()])),
        "a Sequential must hold only GRUs and LSTMs, each followed by at most one dropout without "
        "broadcast_dims, got relu.",
    ),
    "a dense layer": (
        linen_case(nn.Sequential([RNN.copy(), nn.Dense(3)])),
        "module must be Flax's own GRUCell or LSTMCell or OptimizedLSTMCell or RNN or "
        "Bidirectional or Sequential, got a Dense: give the part that is one or, if it computes "
        "the same, its variables alone.",
    ),
    "dropout first": (
        linen_case(nn.Sequential([nn.Dropout(0.5, deterministic=True), RNN.copy()])),
        "each followed by at most one dropout without broadcast_dims, got Dropout.",
    ),
    "both reversed": (
        linen_case(
            nn.Bidirectional(nn.RNN(nn.GRUCell(HIDDEN), reverse=True, keep_order=True), RNN.copy())
        ),
        "forward_rnn must have reverse=False, got True.",
    ),
    "more behind a chain": (
        tree_case(layers_0={"cell": PLAIN}, layers_1={"cell": PLAIN}, head={"w": np.ones(2)}),
        "name must be 'layers_0' or 'layers_1', got None.",
    ),
    "more than a chain has": (
        lambda: interop.from_linen(
            nn.Sequential([RNN]), {"layers_0": {"cell": PLAIN}, "head": {"w": np.ones(2)}}
        ),
        "variables must be those of a GRU or an LSTM cell, RNN, Bidirectional or Sequential of "
        "them, got head, layers_0;",
    ),
    "no dicts": (
        tree_case(dense_i=np.ones(3), dense_h=np.ones(3)),
        "there must be a GRU or an LSTM, got dense_i, dense_h.",
    ),
    "b_h in nnx": (
        tree_case(dense_i=DENSE, dense_h=DENSE),
        "must have dense_i/kernel, dense_h/kernel and one bias, dense_i/bias in a GRU or "
        "dense_h/bias in an LSTM, got dense_h/bias, dense_h/kernel, dense_i/bias, dense_i/kernel.",
    ),
    "no GRU": (
        tree_case(Dense_0={"kernel": np.ones(3)}),
        "there must be a GRU or an LSTM, got Dense_0.",
    ),
    "nothing": (tree_case(), "there must be a GRU or an LSTM, got nothing."),
    "no bias": (
        tree_case(**PLAIN | {"hn": {"kernel": np.ones((4, 4), "f")}}),
        "must have hn/bias, got none",
    ),
    "another shape": (
        tree_case(**PLAIN | {"hz": {"kernel": np.ones((4, 5), "f")}}),
        "hz/kernel must be (4, 4), got (4, 5)",
    ),
    "unknown between": (
        tree_case(layers_0={"cell": PLAIN}, layers_2={"cell": PLAIN}),
        "name must be 'layers_0' or 'layers_2', got None.",
    ),
    "nnx's other cell": (
        lambda: interop.from_nnx(nnx.SimpleCell(3, 4, rngs=nnx.Rngs(0))),
        "got a SimpleCell",
    ),
    "nnx's own reverse": (
        lambda: interop.from_nnx(nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), reverse=True)),
        "keep_order must be True",
    ),
    "no tree": (
        lambda: interop.from_linen(None, None),
        "there must be arrays by name in dicts, got a NoneType.",
    ),
    "another start": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN, carry_init=nn.initializers.ones))),
        "carry_init must be zeros, got <function ones",
    ),
    "a cell that inherits": (linen_case(nn.RNN(MyCell(HIDDEN))), "cell must be Flax's own GRUCell"),
    "an RNN that inherits": (linen_case(MyRNN(nn.GRUCell(HIDDEN))), "got a MyRNN: give the part"),
    "nnx's cell that inherits": (lambda: interop.from_nnx(MyNNXCell(3, 4, rngs=RNGS)), "MyNNXCell"),
    "nnx's RNN that inherits": (lambda: interop.from_nnx(MyNNXRNN(nnx_cell())), "got a MyNNXRNN: "),
    "one that inherits in a pair": (
        lambda: interop.from_nnx(nnx.Bidirectional(nnx.RNN(nnx_cell()), MyNNXRNN(nnx_cell()))),
        "backward_rnn must be Flax's own RNN, got a MyNNXRNN",
    ),
    "a pair that inherits in a chain": (
        linen_case(nn.Sequential([RNN.copy(), MyBidirectional(RNN.copy(), RNN.copy())])),
        "got a MyBidirectional: give the part",
    ),
    "our own module": (
        lambda: interop.from_linen(GRU(HIDDEN), GRU(HIDDEN).init(jax.random.key(0), ONES)),
        "Sequential, got gru_jax's GRU: its net() and its params_from(variables) are what this",
    ),
    "our own module of nnx": (
        lambda: interop.from_nnx(NNXGRU(INPUT, HIDDEN, rngs=RNGS)),
        "got gru_jax's GRU: its net() and its params() are what this returns.",
    ),
    "two dropouts": (
        linen_case(
            nn.Sequential(
                [
                    RNN.copy(),
                    nn.Dropout(0.5, deterministic=True),
                    nn.Dropout(0.1, deterministic=True),
                ]
            )
        ),
        "each followed by at most one dropout without broadcast_dims, got Dropout.",
    ),
    "a dropout for all steps at once": (
        lambda: interop.from_nnx(
            nnx.Sequential(nnx.RNN(nnx_cell()), nnx.Dropout(0.5, broadcast_dims=(1,), rngs=RNGS))
        ),
        "each followed by at most one dropout without broadcast_dims, got Dropout.",
    ),
    "two RNNs of no pair": (
        tree_case(forward={"cell": PLAIN}, backward={"cell": PLAIN}),
        "name must be 'forward' or 'backward', got None.",
    ),
    "half a pair": (
        tree_case(forward_rnn={"cell": PLAIN}, backward_rnn="x"),
        "backward_rnn must be an RNN of a GRU or an LSTM cell, got one with a str.",
    ),
    "half a pair of ours": (
        tree_case(forward=OWN, backward={"W_r": 1}),
        "backward must be a GRU, got W_r.",
    ),
    "a string": (tree_case(**OWN | {"W_z": "x"}), "W_z must be an array, got a str."),
    "a scalar": (
        tree_case(**{k: {leaf: np.float32(1) for leaf in PLAIN[k]} for k in PLAIN}),
        "hn/bias must be (1,), got ()",
    ),
    "several dtypes": (
        tree_case(**OWN | {"W_z": np.ones((7, 4), np.float16)}),
        "weights must have one dtype, got float16 and float32.",
    ),
    "a part of a module": (
        lambda: interop.from_linen(RNN, {"cell": PLAIN}, name="layers_0"),
        "name must be None, got 'layers_0': name says where all arrays of the module are; for a "
        "part of them give None for the module.",
    ),
    "another module's": (
        lambda: interop.from_linen(RNN, {"forward_rnn": {"cell": PLAIN}, "backward_rnn": {}}),
        "variables must be those of the RNN, got forward_rnn.",
    ),
    "no Flax": (lambda: interop.from_nnx({}), "there must be a GRU or an LSTM, got nothing."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_gru_of_ours_is_one_sentence(name):
    read, message = REFUSED[name]
    with pytest.raises(ValueError, match=r"^from_(linen|nnx): ") as error:
        read()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
