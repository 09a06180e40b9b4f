"""What a framework cannot say is refused, with the reason and what would work."""

import jax
import pytest
from interop_cases import AFTER, LAYER

import gru_jax as gj
from gru_jax import interop

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
        "net must be of GRUs and LSTMs in recurrent, bidirectional and stack, got layer_norm_gru: "
        "convert the recurrent layers by themselves, each with its part of the parameters, or keep "
        "the whole with interop.save.",
    ),
    "a head": (
        interop.to_torch_state,
        gj.stack(gj.recurrent(AFTER), gj.pool(), gj.dense(2)),
        "net must be of GRUs and LSTMs in recurrent, bidirectional and stack, got pool: "
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
        "net must end without dropout, got a rate of 0.2: PyTorch's GRU has "
        "dropout only between layers; add an nn.Dropout after the module.",
    ),
    "two sizes": (
        interop.to_torch_state,
        gj.stack(gj.recurrent(AFTER), gj.recurrent(gj.gru(5, reset="after"))),
        "net must have one count of directions and hidden size in all layers, got "
        "[(1, 4), (1, 5)]: a PyTorch module has the same for all; convert the layers one by one.",
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
