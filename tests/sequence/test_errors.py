"""Wrong input is one ValueError that names the function, the argument, what it needs, what came."""

import jax
import jax.numpy as jnp
import pytest
from error_cases import CELL, PARAMS, XS
from refusals import refused

import gru_jax as gj

CASES = {
    "unroll: xs must be [*batch, time, 12] float32 to match params.W_r (76, 64), "
    "got (32, 100, 11) float32.": lambda: gj.unroll(CELL, PARAMS, XS[..., :11]),
    "unroll: xs must be [*batch, time, 12] float32 to match params.W_r (76, 64), "
    "got (12,) float32.": lambda: gj.unroll(CELL, PARAMS, XS[0, 0]),
    "unroll: xs must be [*batch, time, 12] float32 to match params.W_r (76, 64), "
    "got (32, 100, 12) bfloat16.": lambda: gj.unroll(CELL, PARAMS, XS.astype(jnp.bfloat16)),
    "unroll: h0 must be (32, 64) float32, got (64,) float32.": lambda: gj.unroll(
        CELL, PARAMS, XS, jnp.zeros(64)
    ),
    "unroll: h0 must be (32, 64) float32, got (32, 64) bfloat16.": lambda: gj.unroll(
        CELL, PARAMS, XS, jnp.zeros((32, 64), jnp.bfloat16)
    ),
    "unroll: xs must be an array, got a GRUParams; the call is unroll(cell, params, xs).": (
        lambda: gj.unroll(CELL, XS, PARAMS)
    ),
    "unroll: lengths must be 0 or more, got -1.": (
        lambda: gj.unroll(CELL, PARAMS, XS, lengths=jnp.arange(32) - 1)
    ),
    "unroll: resets must be (32, 100) bool to match the batch and time axes of xs, "
    "got (100, 32) bool. Its axes of batch and time have changed places.": (
        lambda: gj.unroll(CELL, PARAMS, XS, resets=jnp.ones((100, 32), bool))
    ),
    "unroll: lengths must be (32,) integers to match the batch axes of xs, got (32,) float32.": (
        lambda: gj.unroll(CELL, PARAMS, XS, lengths=jnp.ones(32))
    ),
    "unroll: lengths must be (32,) integers to match the batch axes of xs, got (100,) int32. "
    "Is xs time-major? `unroll` and Flax modules take it with time_axis=0.": (
        lambda: gj.unroll(CELL, PARAMS, XS, lengths=jnp.ones(100, int))
    ),
    "unroll: mask must be (32, 100) bool to match the batch and time axes of xs, "
    "got (100, 32) bool. Its axes of batch and time have changed places.": (
        lambda: gj.unroll(CELL, PARAMS, XS, mask=jnp.ones((100, 32), bool))
    ),
    "unroll: mask must be (32, 100) bool to match the batch and time axes of xs, "
    "got (32, 100) float32.": lambda: gj.unroll(CELL, PARAMS, XS, mask=jnp.ones((32, 100))),
    "unroll: time_axis must name one of the first 2 axes of xs (32, 100, 12), got -1.": (
        lambda: gj.unroll(CELL, PARAMS, XS, time_axis=-1)
    ),
    "unroll: time_axis must be a whole number, got 't'.": (
        lambda: gj.unroll(CELL, PARAMS, XS, time_axis="t")
    ),
    "unroll: reverse must be True or False, got 1.": lambda: gj.unroll(CELL, PARAMS, XS, reverse=1),
    "trace: reverse must be True or False, got 'no'.": lambda: gj.trace(
        CELL, PARAMS, XS, reverse="no"
    ),
    "unroll: unroll must be a whole number from 1, got 0.": lambda: gj.unroll(
        CELL, PARAMS, XS, unroll=0
    ),
    "unroll: chunk_size must be a whole number from 1, got 0.": lambda: gj.unroll(
        CELL, PARAMS, XS, memory="chunked", chunk_size=0
    ),
    'unroll: derivative must be "rule" or "autodiff", got \'fast\'.': lambda: gj.unroll(
        CELL, PARAMS, XS, derivative="fast"
    ),
    'unroll: memory must be "gates", "states" or "chunked", got \'none\'.': lambda: gj.unroll(
        CELL, PARAMS, XS, memory="none"
    ),
    "unroll: zoneout must be 0 <= zoneout < 1, got 1.": lambda: gj.unroll(
        CELL, PARAMS, XS, zoneout=1
    ),
    "unroll: zoneout must be 0 <= zoneout < 1, got 'x'.": lambda: gj.unroll(
        CELL, PARAMS, XS, zoneout="x"
    ),
    "unroll: recurrent_dropout must be 0 <= recurrent_dropout < 1, got -0.1.": lambda: gj.unroll(
        CELL, PARAMS, XS, recurrent_dropout=-0.1
    ),
    "unroll: drop_connect must be 0 <= drop_connect < 1, got 2.": lambda: gj.unroll(
        CELL, PARAMS, XS, drop_connect=2
    ),
    "unroll: resets must be (32, 100) bool to match the batch and time axes of xs, "
    "got (32,) bool.": lambda: gj.unroll(CELL, PARAMS, XS, resets=jnp.ones(32, bool)),
    "unroll: resets must be (32, 100) bool to match the batch and time axes of xs, "
    "got (32, 100) int32.": lambda: gj.unroll(
        CELL, PARAMS, XS, resets=jnp.ones((32, 100), jnp.int32)
    ),
    "unroll: h_reset must be (32, 64) float32, got (64,) float32.": lambda: gj.unroll(
        CELL, PARAMS, XS, resets=jnp.ones((32, 100), bool), h_reset=jnp.zeros(64)
    ),
    "trace: cell must be a Cell or a Layer, e.g. gru(64), got a GRUParams.": lambda: gj.trace(
        PARAMS, CELL, XS
    ),
    "trace: xs must be [*batch, time, 12] float32 to match params.W_r (76, 64), "
    "got (32, 100, 11) float32.": lambda: gj.trace(CELL, PARAMS, XS[..., :11]),
    "trace: options must be among lengths, mask, resets, h_reset, reverse, time_axis, key, "
    "zoneout, recurrent_dropout, drop_connect, derivative, memory, chunk_size, unroll, backend, "
    "got backwards.": (lambda: gj.trace(CELL, PARAMS, XS, backwards=True)),
    "trace: options must be given to the layers, got reverse.": lambda: gj.trace(
        gj.recurrent(CELL), PARAMS, XS, reverse=True
    ),
    "unroll: lengths must be (32,) integers to match the batch axes of xs, got (2,) int32.": (
        lambda: gj.unroll(CELL, PARAMS, XS, lengths=[3, 4])
    ),
    "unroll: cell must be a Cell, e.g. gru(64), got a Layer.": lambda: gj.unroll(
        gj.recurrent(CELL), PARAMS, XS
    ),
    "unroll: h_reset must come with resets, got resets None.": lambda: gj.unroll(
        CELL, PARAMS, XS, h_reset=jnp.zeros((32, 64))
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()


@pytest.mark.untyped
def test_wrong_input_is_told_under_jit_and_grad_too():
    with pytest.raises(ValueError, match="unroll: xs must be"):
        jax.jit(lambda xs: gj.unroll(CELL, PARAMS, xs))(XS[..., :11])
    with pytest.raises(ValueError, match="unroll: h0 must be"):
        jax.grad(lambda h: gj.unroll(CELL, PARAMS, XS, h)[0].sum())(jnp.zeros((31, 64)))


@pytest.mark.untyped
@pytest.mark.parametrize("call", [gj.unroll, gj.trace])
def test_what_is_no_array_is_named_as_the_call_names_it(call):
    with pytest.raises(TypeError, match="at path h0"):
        call(CELL, PARAMS, XS, "abc")
    with pytest.raises(TypeError, match="at path state"):
        gj.recurrent(CELL).apply(PARAMS, XS, "abc")
