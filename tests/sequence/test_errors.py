"""Wrong input is one ValueError that names the function, the argument, what it needs, what came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj
from gru_jax.ops.activations import ACTIVATIONS

NAMES = ", ".join(ACTIVATIONS)
CELL = gj.gru(64)
PARAMS = CELL.init(jax.random.key(0), 12)
XS = jnp.zeros((32, 100, 12))
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))
DENSE = gj.dense(9).init(jax.random.key(0), 12)
NORMED = gj.layer_norm_gru(64).init(jax.random.key(0), 12)
LEARNED = gj.learned_initial_state(CELL)
DATA = gj.Dataset([np.zeros((3, 2)), np.zeros((5, 2))], np.arange(2))

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
    "If xs is time-major, say time_axis=0.": (
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
    "recurrent: reverse must be True or False, got None.": lambda: gj.recurrent(CELL, reverse=None),
    'recurrent: backend must be "auto", "xla" or "cpu", got \'native\'.': lambda: gj.recurrent(
        CELL, backend="native"
    ),
    "recurrent: chunk_size must be a whole number from 1, got 2.5.": lambda: gj.recurrent(
        CELL, chunk_size=2.5
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
    "recurrent: zoneout must be 0 <= zoneout < 1, got 1.5.": lambda: gj.recurrent(
        CELL, zoneout=1.5
    ),
    "recurrent: options must be among zoneout, recurrent_dropout, drop_connect, derivative, "
    "memory, chunk_size, unroll, backend, got lengths.": lambda: gj.recurrent(CELL, lengths=3),
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
    "saturation: margin must be 0 < margin < 0.5, got 0.5.": lambda: gj.saturation(
        gj.trace(CELL, PARAMS, XS), margin=0.5
    ),
    "timescales: trace must have an update gate z, got None.": lambda: gj.timescales(
        gj.trace(CELL, PARAMS, XS)._replace(z=None)
    ),
    "timescales: trace must be a Trace, e.g. traces[0].forward of a net's traces, got a tuple.": (
        lambda: gj.timescales((gj.trace(CELL, PARAMS, XS), ()))
    ),
    "saturation: trace must be a Trace, e.g. traces[0].forward of a net's traces, got a tuple.": (
        lambda: gj.saturation((gj.trace(CELL, PARAMS, XS), ()))
    ),
    "gradient_norms: cell must be a Cell, e.g. gru(64), got a Layer. Of a cell inside a net give "
    "its own parameters, and the x of its trace as xs.": lambda: gj.gradient_norms(
        gj.recurrent(CELL), PARAMS, XS, lambda hs, _: hs.sum()
    ),
    "lyapunov_exponent: cell must be a Cell, e.g. gru(64), got a Layer. Of a cell inside a net "
    "give its own parameters, and the x of its trace as xs.": lambda: gj.lyapunov_exponent(
        jax.random.key(0), gj.recurrent(CELL), PARAMS, XS
    ),
    "unroll: lengths must be (32,) integers to match the batch axes of xs, got (2,) int32.": (
        lambda: gj.unroll(CELL, PARAMS, XS, lengths=[3, 4])
    ),
    "lyapunov_exponent: burn_in must be 0 or more, got -1.": lambda: gj.lyapunov_exponent(
        jax.random.key(0), CELL, PARAMS, XS, burn_in=-1
    ),
    'bidirectional: merge must be "concat" or "sum", got \'mul\'.': lambda: gj.bidirectional(
        CELL, merge="mul"
    ),
    'bidirectional: with merge="sum" both cells must have one hidden size, got 64 and 63.': (
        lambda: gj.bidirectional(CELL, gj.gru(63), merge="sum").init(jax.random.key(0), 12)
    ),
    "reset_gate: x must be [*batch, 12] float32 to match params.W_r (76, 64), "
    "got (4, 11) float32.": (lambda: gj.reset_gate(PARAMS, X[:, 1:], H)),
    "update_gate: h must be [*batch, 64] float32 to match params.W_r (76, 64), "
    "got (4, 63) float32.": (lambda: gj.update_gate(PARAMS, X, H[:, 1:])),
    "candidate: h must have the batch axes of x (4, 12), got (3, 64).": lambda: gj.candidate(
        PARAMS, X, H[1:], H[1:]
    ),
    "candidate: r must be (4, 64) float32 to match h, got (4, 64) bfloat16.": lambda: gj.candidate(
        PARAMS, X, H, H.astype(jnp.bfloat16)
    ),
    "hidden_state: z must be (4, 64) float32 to match h, got (5, 1, 64) float32.": (
        lambda: gj.hidden_state(H, jnp.zeros((5, 1, 64)), H)
    ),
    "gru: params.W_z must be (76, 64) float32 to match params.W_r (76, 64), "
    "got (75, 64) float32.": lambda: gj.unroll(CELL, PARAMS._replace(W_z=PARAMS.W_z[1:]), XS),
    "gru: params.b_c must be (64,) float32 to match params.W_r (76, 64), got (64,) bfloat16.": (
        lambda: gj.unroll(CELL, PARAMS._replace(b_c=PARAMS.b_c.astype(jnp.bfloat16)), XS)
    ),
    "gru: hidden_size must be a whole number from 1, got 0.": lambda: gj.gru(0),
    "gru: hidden_size must be a whole number from 1, got 8.0.": lambda: gj.gru(8.0),
    "gru: hidden_size must be a whole number from 1, got '8'.": lambda: gj.gru("8"),
    "gru: params.W_r must be [joint, 65] to match the cell, got (76, 64).": lambda: gj.unroll(
        gj.gru(65), PARAMS, XS
    ),
    'gru: params.b_h must be an array with reset="after", got None.': lambda: gj.unroll(
        gj.gru(64, reset="after"), PARAMS, XS
    ),
    'gru: params.b_h must be None with reset="before", got an array.': lambda: gj.unroll(
        CELL, PARAMS._replace(b_h=PARAMS.b_c), XS
    ),
    "unroll: cell must be a Cell, e.g. gru(64), got a Layer.": lambda: gj.unroll(
        gj.recurrent(CELL), PARAMS, XS
    ),
    "stack: layers must be Layers, e.g. recurrent(cell), got a Cell.": lambda: gj.stack(CELL),
    "stack: layers must be Layers, e.g. recurrent(cell), got a list.": lambda: gj.stack([]),
    'gru: reset must be "before" or "after", got \'late\'.': lambda: gj.gru(3, reset="late"),
    "gru: dtype must be a floating type, got int32.": lambda: gj.gru(3, dtype=jnp.int32),
    "gru: input_size must be a whole number from 1, got 0.": lambda: CELL.init(
        jax.random.key(0), 0
    ),
    "gru: clip must be None or above 0 and finite, got 0.": lambda: gj.gru(3, clip=0),
    "gru: clip must be None or above 0 and finite, got nan.": lambda: gj.gru(3, clip=np.nan),
    f"gru: activation must be a function or one of {NAMES}, got 'tan'.": lambda: gj.gru(
        3, activation="tan"
    ),
    f"gru: gate_activation must be a function or one of {NAMES}, got None.": lambda: gj.gru(
        3, gate_activation=None
    ),
    f"reset_gate: activation must be a function or one of {NAMES}, got 3.": lambda: gj.reset_gate(
        PARAMS, X, H, activation=3
    ),
    f"update_gate: activation must be a function or one of {NAMES}, got 3.": (
        lambda: gj.update_gate(PARAMS, X, H, activation=3)
    ),
    f"candidate: activation must be a function or one of {NAMES}, got 3.": lambda: gj.candidate(
        PARAMS, X, H, H, activation=3
    ),
    "hidden_state: c must be (32, 64) float32 to match h, got (32, 1) float32.": lambda: gj.unroll(
        gj.gru(64, activation=lambda a: a[..., :1]), PARAMS, XS
    ),
    "layer_norm_gru: epsilon must be above 0 and finite, got 0.": lambda: gj.layer_norm_gru(
        3, epsilon=0
    ),
    "layer_norm_gru: hidden_size must be a whole number from 1, got 0.": lambda: gj.layer_norm_gru(
        0
    ),
    'layer_norm_gru: reset must be "before" or "after", got \'late\'.': lambda: gj.layer_norm_gru(
        3, reset="late"
    ),
    "layer_norm_gru: dtype must be a floating type, got int32.": lambda: gj.layer_norm_gru(
        3, dtype=jnp.int32
    ),
    "layer_norm_gru: input_size must be a whole number from 1, got 0.": lambda: gj.layer_norm_gru(
        3
    ).init(jax.random.key(0), 0),
    "layer_norm_gru: params.g_zx must be (64,) float32 to match params.W_r (76, 64), "
    "got (63,) float32.": lambda: gj.unroll(
        gj.layer_norm_gru(64), NORMED._replace(g_zx=NORMED.g_zx[1:]), XS
    ),
    'layer_norm_gru: params.b_h must be an array with reset="after", got None.': lambda: gj.unroll(
        gj.layer_norm_gru(64, reset="after"), NORMED, XS
    ),
    "layer_norm_gru: x must be [*batch, 12] float32 to match params.W_r (76, 64), "
    "got (4, 11) float32.": lambda: gj.layer_norm_gru(64).step(NORMED, X[:, 1:], H),
    "learned_initial_state: cell must be a Cell, e.g. gru(64), got a Layer.": (
        lambda: gj.learned_initial_state(gj.dense(3))
    ),
    "learned_initial_state: params.h0 must be (64,) float32 to match the cell, "
    "got (63,) float32.": lambda: gj.unroll(
        LEARNED, gj.LearnedInitialStateParams(PARAMS, jnp.zeros(63)), XS
    ),
    "unroll: xs must be [*batch, time, 12] float32 to match params.cell.W_r (76, 64), "
    "got (32, 100, 11) float32.": lambda: gj.unroll(
        LEARNED, gj.LearnedInitialStateParams(PARAMS, jnp.zeros(64)), XS[..., 1:]
    ),
    "residual: layer must be a Layer, e.g. recurrent(cell), got a Cell.": lambda: gj.residual(CELL),
    "residual: layer must have outputs of its inputs' size 12, got 9.": lambda: gj.residual(
        gj.dense(9)
    ).init(jax.random.key(0), 12),
    "residual: layer must have outputs of its inputs' shape (32, 100, 12) float32, "
    "got (32, 100, 9) float32.": lambda: gj.residual(gj.dense(9)).apply(DENSE, XS),
    "residual: layer must have outputs of its inputs' shape (4, 12) float32, "
    "got (4, 9) float32.": lambda: gj.residual(gj.dense(9)).step(DENSE, X, ()),
    "residual: layer must have outputs of its inputs' shape (32, 100, 12) float32, "
    "got (32, 12) float32.": lambda: gj.residual(gj.pool()).apply((), XS),
    "init_chrono: min_time and max_time must be 1 < min_time <= max_time, got 2.0 and 1.5.": (
        lambda: gj.init_chrono(1.5)
    ),
    "stack: layers must be one or more, got none.": lambda: gj.stack(),
    "stack: params must be a tuple of 2, one entry a layer, got PyTreeDef((*,)).": (
        lambda: gj.stack(gj.dense(9), gj.dense(9)).apply((1,), XS)
    ),
    "stack: state must be ((),), got [].": lambda: gj.stack(gj.dense(9)).apply((DENSE,), XS, []),
    "dense: xs must be [*batch, time, 12] float32 to match params.W (12, 9), "
    "got (32, 100, 11) float32.": (lambda: gj.dense(9).apply(DENSE, XS[..., :11])),
    "dense: x must be [*batch, 12] float32 to match params.W (12, 9), got (4, 12) int32.": (
        lambda: gj.dense(9).step(DENSE, X.astype(int), ())
    ),
    "recurrent: x must be [*batch, 12] float32 to match params.W_r (76, 64), got () float32.": (
        lambda: gj.recurrent(CELL).step(PARAMS, X[0, 0], H)
    ),
    "dense: lengths must be (32,) integers to match the batch axes of xs, got (31,) int32.": (
        lambda: gj.dense(9).apply(DENSE, XS, lengths=jnp.ones(31, int))
    ),
    "dense: size must be a whole number from 1, got 0.": lambda: gj.dense(0),
    "dropout: rate must be 0 <= rate < 1, got 1.": lambda: gj.dropout(1),
    "gaussian_noise: stddev must be 0 or more and finite, got -1.": lambda: gj.gaussian_noise(-1),
    'pool: kind must be "max", "mean" or "last", got \'sum\'.': lambda: gj.pool("sum"),
    "bidirectional: step must see the whole sequence first, so it cannot stream; use apply.": (
        lambda: gj.bidirectional(CELL).step(gj.Directions(PARAMS, PARAMS), X, H)
    ),
    "recurrent(reverse=True): step must see the whole sequence first, so it cannot stream; "
    "use apply.": lambda: gj.recurrent(CELL, reverse=True).step(PARAMS, X, H),
    "masked_mean: mask must be (4, 12) to match values, got (4,).": lambda: gj.masked_mean(
        X, jnp.ones(4, bool)
    ),
    "accuracy: labels must be (4,) integers to match logits (4, 12), got (4, 1) int32.": (
        lambda: gj.accuracy(X, jnp.ones((4, 1), int))
    ),
    "cross_entropy: labels must be (4,) integers to match logits (4, 12), got (4,) float32.": (
        lambda: gj.cross_entropy(X, jnp.ones(4))
    ),
    "cross_entropy: label_smoothing must be 0 to 1, got 3.": lambda: gj.cross_entropy(
        X, jnp.ones(4, int), label_smoothing=3
    ),
    "squared_error: targets must be (4, 12) to match predictions, got (4,).": (
        lambda: gj.squared_error(X, jnp.ones(4))
    ),
    "make_optimizer: steps must be 1 or more and 0 <= warmup <= 1, got 0 and 0.1.": (
        lambda: gj.make_optimizer(1e-3, steps=0)
    ),
    "gru: params must be GRUParams, got a LayerNormGRUParams.": lambda: gj.unroll(
        CELL, gj.layer_norm_gru(64).init(jax.random.key(0), 12), XS
    ),
    "layer_norm_gru: params must be LayerNormGRUParams, got a GRUParams.": lambda: gj.unroll(
        gj.layer_norm_gru(64), PARAMS, XS
    ),
    "learned_initial_state: params must be LearnedInitialStateParams, got a GRUParams.": (
        lambda: gj.unroll(gj.learned_initial_state(CELL), PARAMS, XS)
    ),
    "recurrent: cell must be a Cell, e.g. gru(64), got a int.": lambda: gj.recurrent(64),
    "bidirectional: options must not have reverse, it runs both directions.": (
        lambda: gj.bidirectional(CELL, reverse=True)
    ),
    "unroll: h_reset must come with resets, got resets None.": lambda: gj.unroll(
        CELL, PARAMS, XS, h_reset=jnp.zeros((32, 64))
    ),
    "cut_time: batch must hold arrays [batch, time, ...] and size divide their steps, "
    "got (32, 100, 12) and 3.": lambda: gj.cut_time({"xs": XS}, 3),
    "dense: input_size must be a whole number from 1, got 0.": lambda: gj.dense(9).init(
        jax.random.key(0), 0
    ),
    "pad: sequences must be one or more, got none.": lambda: gj.pad([]),
    "pad: sequences must all be [time, input], got shapes [(2, 1), (2, 2)].": lambda: gj.pad(
        [np.zeros((2, 1)), np.zeros((2, 2))]
    ),
    "pad: sequences must have 2 steps or fewer, got 3.": lambda: gj.pad([np.zeros((3, 1))], 2),
    "split: fraction must be 0 < fraction < 1, got 1.": lambda: gj.split(DATA, 1, seed=0),
    "make_batches: batch_size and steps must be 1 or more, got 0 and 64.": lambda: next(
        gj.make_batches(DATA, 0)
    ),
    "make_batches: boundaries must rise to 5 or more, the longest sequence, got [3].": (
        lambda: next(gj.make_batches(DATA, 1, boundaries=[3]))
    ),
    "make_batches: dataset must have one target for each of one or more sequences, "
    "got 2 sequences and 1 targets.": lambda: next(
        gj.make_batches(DATA._replace(targets=np.arange(1)), 1)
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        CASES[message]()
    assert str(error.value) == message


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
