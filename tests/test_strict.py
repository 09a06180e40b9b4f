"""Under strict promotion of dtypes everything computes, and to the same numbers.

    with jax.numpy_dtype_promotion("strict"): f(x)

Under strict promotion JAX refuses while tracing or lowering, or computes the same as without. So no
dtype is mixed with another in silence: half precision stays what the caller chose.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN, CLASSES = 3, 6, 4, 4, 3
KEY = jax.random.key(0)
BOUNDS = {
    "lengths": jnp.array([6, 4, 0], jnp.int32),
    "mask": jnp.arange(TIME)[None] != jnp.array([[1], [2], [0]]),
    "resets": jnp.arange(TIME)[None] == jnp.array([[2], [3], [0]]),
}
NOISE = {"key": KEY, "zoneout": 0.2, "recurrent_dropout": 0.2, "drop_connect": 0.2}


def draw(dtype, *shape):
    values = np.random.default_rng(0).normal(size=shape)
    return jnp.asarray(values, jnp.float32).astype(dtype)


def run(call=gj.unroll, make=gj.gru, bounded=True, reset="before", **options):
    """Returns `(dtype) -> results` of `unroll` or `trace`, and gradients of its states."""

    def compute(dtype):
        cell = make(HIDDEN, reset=reset, dtype=dtype)
        params, xs, h0 = cell.init(KEY, INPUT), xs_of(dtype), draw(dtype, BATCH, HIDDEN)
        bounds = BOUNDS | {"h_reset": h0 / 2} if bounded else {}

        def states(params, xs, h0):
            return call(cell, params, xs, h0, **bounds, **options)

        def loss(*moving):
            return sum(
                a.astype(jnp.float32).sum()
                for a in jax.tree.leaves(states(*moving))
                if a.dtype == dtype
            )

        return states(params, xs, h0), jax.grad(loss, argnums=(0, 1, 2))(params, xs, h0)

    return compute


def xs_of(dtype):
    return draw(dtype, BATCH, TIME, INPUT)


def layer(make, streams=False, **given):
    """Returns `(dtype) -> results` of a layer's `apply`, and of `step` where it streams."""

    def compute(dtype):
        net, xs = make(dtype), xs_of(dtype)
        params = net.init(KEY, INPUT)
        results = net.apply(params, xs, **given), net.apply(params, xs, **BOUNDS, **given)
        if streams:
            state = net.initial_state(params, xs[:, 0].shape)
            results += (net.step(params, xs[:, 0], state),)
        return results

    return compute


def of_trace(look):
    """Returns `(dtype) -> look(trace)`."""

    def compute(dtype):
        cell = gj.gru(HIDDEN, dtype=dtype)
        params = cell.init(KEY, INPUT)
        return [look(gj.trace(cell, params, xs_of(dtype), **b)) for b in ({}, BOUNDS)]

    return compute


def dynamics(look):
    """Returns `(dtype) -> look(cell, params, xs)`."""

    def compute(dtype):
        cell = gj.gru(HIDDEN, dtype=dtype)
        return look(cell, cell.init(KEY, INPUT), xs_of(dtype))

    return compute


def cells(dtype):
    """Returns a cell of each form that a net is made of."""
    before, after = (gj.gru(HIDDEN, reset=reset, dtype=dtype) for reset in ("before", "after"))
    return gj.learned_initial_state(before), gj.layer_norm_gru(HIDDEN, dtype=dtype), after


def net(dtype):
    first, second, third = cells(dtype)
    return gj.stack(
        gj.gaussian_noise(0.1),
        gj.bidirectional(first, second),
        gj.dropout(0.2),
        gj.recurrent(third),
        gj.pool("mean"),
        gj.dense(CLASSES, dtype=dtype),
    )


LABELS = jnp.array([0, 2, 1])

CASES = {
    **{f"unroll {memory}": run(memory=memory) for memory in ("gates", "states", "chunked")},
    "unroll after": run(reset="after"),
    "unroll plain": run(bounded=False),
    "unroll reverse": run(reverse=True),
    "unroll noise": run(**NOISE),
    "unroll zoneout": run(zoneout=0.2),
    "unroll chunks": run(memory="chunked", chunk_size=4),
    "unroll autodiff": run(derivative="autodiff"),
    "unroll clip": run(make=lambda *size, **options: gj.gru(*size, clip=0.5, **options)),
    "unroll hard": run(
        make=lambda *size, **options: gj.gru(
            *size, activation="hard_tanh", gate_activation="hard_sigmoid", **options
        )
    ),
    "unroll layer_norm_gru": run(make=gj.layer_norm_gru),
    "trace": run(gj.trace),
    "trace plain": run(gj.trace, bounded=False),
    "recurrent": layer(lambda dtype: gj.recurrent(cells(dtype)[0]), streams=True),
    "recurrent zoneout": layer(
        lambda dtype: gj.recurrent(cells(dtype)[2], zoneout=0.1), streams=True
    ),
    "bidirectional": layer(lambda dtype: gj.bidirectional(*cells(dtype)[:2], merge="sum")),
    "residual": layer(lambda dtype: gj.residual(gj.recurrent(cells(dtype)[1])), streams=True),
    "dense": layer(lambda dtype: gj.dense(CLASSES, dtype=dtype), streams=True),
    **{
        f"pool {kind}": layer(lambda _, kind=kind: gj.pool(kind), streams=True)
        for kind in ("max", "mean", "last")
    },
    "dropout": layer(lambda _: gj.dropout(0.5), streams=True, key=KEY),
    "dropout per sequence": layer(lambda _: gj.dropout(0.5, per_sequence=True), key=KEY),
    "gaussian_noise": layer(lambda _: gj.gaussian_noise(0.5), key=KEY),
    "stack": layer(net),
    "stack in training": layer(net, key=KEY),
    "saturation": of_trace(gj.saturation),
    "timescales": of_trace(gj.timescales),
    "gradient_norms": dynamics(
        lambda *args: gj.gradient_norms(*args, lambda hs, _: hs.sum(), **BOUNDS)
    ),
    "lyapunov_exponent": dynamics(
        lambda *args: gj.lyapunov_exponent(KEY, *args, lengths=BOUNDS["lengths"], burn_in=1)
    ),
    "reset_gate": dynamics(lambda _, params, xs: gj.reset_gate(params, xs, 0 * xs)),
    "update_gate": dynamics(lambda _, params, xs: gj.update_gate(params, xs, 0 * xs)),
    "candidate": dynamics(lambda _, params, xs: gj.candidate(params, xs, 0 * xs, xs)),
    "hidden_state": lambda dtype: gj.hidden_state(*[xs_of(dtype)] * 3, clip=0.5),
    "init_chrono": lambda dtype: gj.init_chrono(20)(KEY, (HIDDEN,), dtype),
    "init_uniform": lambda dtype: gj.init_uniform(KEY, (HIDDEN, HIDDEN), dtype),
    "cross_entropy": lambda dtype: gj.cross_entropy(draw(dtype, BATCH, CLASSES), LABELS),
    "cross_entropy smoothed": lambda dtype: gj.cross_entropy(
        draw(dtype, BATCH, CLASSES), LABELS, label_smoothing=0.1
    ),
    "squared_error": lambda dtype: gj.squared_error(xs_of(dtype), 2 * xs_of(dtype)),
    "masked_mean": lambda dtype: gj.masked_mean(xs_of(dtype)[..., 0], BOUNDS["mask"]),
    "masked_mean of all": lambda dtype: gj.masked_mean(xs_of(dtype)),
    "accuracy": lambda dtype: gj.accuracy(draw(dtype, BATCH, CLASSES), LABELS),
    "confusion_matrix": lambda _: gj.confusion_matrix(LABELS, LABELS[::-1], CLASSES),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_strict_promotion_changes_nothing(name, dtype):
    dtype = jnp.dtype(dtype)
    expected = jax.eval_shape(lambda: CASES[name](dtype))
    with jax.numpy_dtype_promotion("strict"):
        actual = jax.jit(lambda: CASES[name](dtype)).lower().out_info
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
