"""Any tree of arrays is a GRU of Flax's or ours, or one sentence."""

import numpy as np
import pytest
from flax import linen as nn
from flax_cases import OWN, PLAIN, RNN

from gru_jax import interop
from gru_jax.interop.flax.cell_arrays import OWN as OWN_NAMES


def test_weights_that_are_no_gru_of_ours_are_one_sentence():
    tree = {"forward": dict(OWN)}
    for name, odd in (("W_z", (6, 4)), ("b_r", (3,)), ("b_c", ()), ("W_c", (4,)), ("W_c", (4, 4))):
        wrong = {"forward": tree["forward"] | {name: np.ones(odd, "f")}}
        with pytest.raises(ValueError, match=r"^from_linen: \w_\w must be \("):
            interop.from_linen(None, wrong)
    del tree["forward"]["b_z"]
    with pytest.raises(
        ValueError, match=r"^from_linen: there must be a GRU or an LSTM, got forward"
    ):
        interop.from_linen(None, tree)


KEYS = [
    *PLAIN,
    *sorted(OWN_NAMES),
    "dense_i",
    "dense_h",
    "kernel",
    "bias",
    "cell",
    "forward",
    "backward",
]
KEYS += ["forward_rnn", "backward_rnn", "layers", "layers_0", "layers_1", "params", "value", "rngs"]
KEYS += [0, "1", None, "a/b", "_cell"]
WHOLE = [set(PLAIN), OWN_NAMES, {"dense_i", "dense_h"}, {"kernel", "bias"}, {"forward", "backward"}]
WHOLE += [{"forward_rnn", "backward_rnn"}, {"layers_0", "layers_1"}, {"cell"}]
LEAVES = [None, "x", 3, 1.5, [1.0], [[1.0], 2], b"", True, np.array("x"), np.array(None), {}]
LEAVES += [
    np.ones(shape, "f") for shape in ((), 4, 12, (3, 4), (4, 4), (3, 12), (4, 12), (1, 1, 1))
]
LEAVES += [np.ones((7, 4), dtype) for dtype in ("f", "f2", int, bool)]


def draw_tree(rng, depth=0):
    if depth > 4 or rng.random() < 0.15 * depth:
        return PLAIN if rng.random() < 0.3 else LEAVES[rng.integers(len(LEAVES))]
    whole = rng.random() < 0.6
    keys = WHOLE[rng.integers(len(WHOLE))] if whole else rng.choice(np.array(KEYS, object), 2)
    return {key: draw_tree(rng, depth + 1) for key in sorted(keys, key=str)}


def test_any_tree_is_a_gru_or_one_sentence(rng):
    modules = (None, RNN, nn.GRUCell(4), nn.Bidirectional(RNN, RNN), nn.Sequential([RNN, RNN]))
    messages, nets = [], 0
    for number in range(1500):
        tree, module = draw_tree(rng), modules[number % 5]
        for read in (
            interop.from_nnx,
            lambda tree, module=module: interop.from_linen(module, tree),
        ):
            try:
                read(tree)
                nets += 1
            except ValueError as error:
                messages.append(str(error))
    assert not [message for message in messages if "\n" in message]
    assert all(message.startswith(("from_linen: ", "from_nnx: ")) for message in messages)
    assert len(set(messages)) > 50
    assert nets > 50
