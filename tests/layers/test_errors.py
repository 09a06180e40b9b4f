"""Wrong arguments of a layer are one clear message."""

import jax
import jax.numpy as jnp
import pytest
from error_cases import CELL, PARAMS, XS, H, X
from refusals import refused

import gru_jax as gj

DENSE = gj.dense(9).init(jax.random.key(0), 12)

CASES = {
    "recurrent: reverse must be True or False, got None.": lambda: gj.recurrent(CELL, reverse=None),
    'recurrent: backend must be "auto", "xla", "scan", "cpu" or "gpu", got \'native\'.': lambda: (
        gj.recurrent(CELL, backend="native")
    ),
    "recurrent: chunk_size must be a whole number from 1, got 2.5.": lambda: gj.recurrent(
        CELL, chunk_size=2.5
    ),
    "recurrent: zoneout must be 0 <= zoneout < 1, got None.": lambda: gj.recurrent(
        CELL, zoneout=None
    ),
    "recurrent: zoneout must be 0 <= zoneout < 1, got 1.5.": lambda: gj.recurrent(
        CELL, zoneout=1.5
    ),
    "recurrent: options must be among zoneout, recurrent_dropout, drop_connect, derivative, "
    "memory, chunk_size, unroll, backend, got lengths.": lambda: gj.recurrent(CELL, lengths=3),
    'bidirectional: merge must be "concat" or "sum", got \'mul\'.': lambda: gj.bidirectional(
        CELL, merge="mul"
    ),
    'bidirectional: with merge="sum" both cells must have one hidden size, got 64 and 63.': (
        lambda: gj.bidirectional(CELL, gj.gru(63), merge="sum").init(jax.random.key(0), 12)
    ),
    "dropout: rate must be 0 <= rate < 1, got 'a'.": lambda: gj.dropout("a"),
    "gaussian_noise: stddev must be 0 or more and finite, got None.": lambda: gj.gaussian_noise(
        None
    ),
    "dense: dtype must be a floating type, got 'foo'.": lambda: gj.dense(3, dtype="foo"),
    "embed: dtype must be a floating type, got int32.": lambda: gj.embed(3, 2, dtype=jnp.int32),
    "conv: dtype must be a floating type, got bool.": lambda: gj.conv(3, dtype=bool),
    "stack: layers must be Layers, e.g. recurrent(cell), got a Cell.": lambda: gj.stack(CELL),
    "stack: layers must be Layers, e.g. recurrent(cell), got a list.": lambda: gj.stack([]),
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
    "pool: state must be PoolState(value='(4, 12) float32', steps='(4,) int32'), got ().": (
        lambda: gj.pool("last").step((), X, ())
    ),
    "dense: state must be (), got (4, 64) float32.": lambda: gj.dense(9).step(DENSE, X, H),
    "dropout: key must be one key, e.g. jax.random.key(0), or None, got int32[].": (
        lambda: gj.dropout(0.5).apply((), XS, key=0)
    ),
    "recurrent: begins must be (4,) bool to match the batch axes of x, got (2,) bool.": (
        lambda: gj.recurrent(CELL).step(PARAMS, X, H, begins=[True, False])
    ),
    "dense: size must be a whole number from 1, got 0.": lambda: gj.dense(0),
    "dropout: rate must be 0 <= rate < 1, got 1.": lambda: gj.dropout(1),
    "gaussian_noise: stddev must be 0 or more and finite, got -1.": lambda: gj.gaussian_noise(-1),
    'pool: kind must be "max", "mean" or "last", got \'sum\'.': lambda: gj.pool("sum"),
    "bidirectional: step must see the whole sequence first, so it cannot stream; use apply.": (
        lambda: gj.bidirectional(CELL).step(gj.Directions(PARAMS, PARAMS), X, gj.Directions(H, H))
    ),
    "recurrent(reverse=True): step must see the whole sequence first, so it cannot stream; "
    "use apply.": lambda: gj.recurrent(CELL, reverse=True).step(PARAMS, X, H),
    "recurrent: cell must be a Cell, e.g. gru(64), got a int.": lambda: gj.recurrent(64),
    "bidirectional: options must not have reverse, it runs both directions.": (
        lambda: gj.bidirectional(CELL, reverse=True)
    ),
    "dense: input_size must be a whole number from 1, got 0.": lambda: gj.dense(9).init(
        jax.random.key(0), 0
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
