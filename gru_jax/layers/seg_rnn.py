"""SegRNN: a GRU over segments of a series, and one more step for each segment to forecast.

    s_k = relu([x - x_last in segment k of the look-back] W + b)          k = 1, 2, ...
    h   = the last state of GRU(s_1, s_2, ...)
    y_m = x_last + dropout(GRU step from h with [position_m, series]) W' + b'

The forecast segments are independent of each other, so they share one product with h.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gru_jax.architecture import bind, buildable
from gru_jax.cells.gru import Drive, gates, gru, mix, pack
from gru_jax.cells.gru_params import GRUParams
from gru_jax.layers import pointwise
from gru_jax.layers.layer import Layer
from gru_jax.layers.pointwise import DenseParams, constant, dense, no_state
from gru_jax.layers.recurrent import recurrent
from gru_jax.ops.checks import check_count, check_dtype, check_kind
from gru_jax.ops.initializers import init_normal
from gru_jax.ops.products import affine, tall_matmul
from gru_jax.recurrence.boundaries import Boundaries
from gru_jax.types import Input, Key, Params, State, exportable


@exportable
class SegRNNParams(NamedTuple):
    """The parameters of `seg_rnn`; `series` is None for one series."""

    encode: DenseParams
    gru: GRUParams
    position: Float[Array, "segments features"]
    series: Float[Array, "series features"] | None
    decode: DenseParams


class _Sizes(NamedTuple):
    horizon: int
    size: int
    hidden: int
    segment: int
    series: int
    dtype: jnp.dtype

    @property
    def segments(self) -> int:
        """Segments to forecast; the last may be cut off."""
        return -(-self.horizon // self.segment)


@buildable
def seg_rnn(
    horizon: int,
    size: int = 1,
    *,
    hidden_size: int = 512,
    segment: int = 24,
    series: int = 1,
    dropout: float = 0.5,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Layer:
    """Forecasts series from a look-back with few recurrent steps.

    The outputs `[*batch, horizon, size]` are forecasts of the steps after the inputs. The inputs
    `[*batch, look-back, 1]` are a series; NaN is missing, and is read as the last observed value.
    If `series` is above 1, every step has a second feature: the number of its series, from 0. Any
    other number gives NaN. The layer cannot stream, and takes neither lengths nor masks.

    Args:
        horizon: the steps to forecast.
        size: values of each step to forecast, e.g. quantiles.
        hidden_size: features of the state; an even number if there are several series.
        segment: steps of a segment. If it does not divide the look-back, the first one is shorter.
        series: the number of series; if there are several, each has its own trained vector.
        dropout: the share of features dropped before the last product, in training.
        dtype: the dtype of parameters, and so of inputs and results.

    Raises:
        ValueError: if an option is out of range; from `init`, if `input_size` is not the number of
            features; in a call, if there are lengths, a mask or resets.

    References:
        Lin et al. (2023), "SegRNN: segment recurrent neural network for long-term time series
        forecasting", sec. 4, with parallel multi-step forecasting and channel identifiers.
    """
    sizes = {"horizon": horizon, "size": size, "hidden_size": hidden_size, "segment": segment}
    for name, value in {**sizes, "series": series}.items():
        check_count("seg_rnn", name, value)
    if series > 1 and hidden_size % 2:
        raise ValueError(
            f"seg_rnn: hidden_size must be even with several series, got {hidden_size}."
        )
    dtype = check_dtype("seg_rnn", dtype)
    if series > (most := 2 ** (jnp.finfo(dtype).nmant + 1)):
        raise ValueError(f"seg_rnn: series must be {most} or fewer in {dtype}, got {series}.")
    checked = _Sizes(int(horizon), int(size), int(hidden_size), int(segment), int(series), dtype)
    return Layer(
        init=bind(_init, checked),
        output_size=bind(constant, checked.size),
        run=bind(_run, checked, pointwise.dropout(dropout)),
        initial_state=no_state,
        advance=_advance,
        input=_input,
        random=dropout > 0,
    )


def _init(sizes: _Sizes, key: Key, input_size: int) -> SegRNNParams:
    if input_size != _features(sizes.series):
        raise ValueError(
            f"seg_rnn: input_size must be {_features(sizes.series)} for {sizes.series} series, "
            f"got {input_size}."
        )
    keys = jax.random.split(key, 5)
    hidden, dtype, several = sizes.hidden, sizes.dtype, sizes.series > 1
    features = hidden // 2 if several else hidden
    return SegRNNParams(
        dense(hidden, dtype=dtype).init(keys[0], sizes.segment),
        gru(hidden, reset="after", dtype=dtype).init(keys[1], hidden),
        init_normal(keys[2], (sizes.segments, features), dtype),
        init_normal(keys[3], (sizes.series, features), dtype) if several else None,
        dense(sizes.segment * sizes.size, dtype=dtype).init(keys[4], hidden),
    )


def _features(series: int) -> int:
    return 2 if series > 1 else 1


def _input(params: SegRNNParams) -> Input:
    check_kind("seg_rnn: params must be SegRNNParams", params, SegRNNParams)
    return Input((1 if params.series is None else 2,), params.encode.W.dtype)


def _run(
    sizes: _Sizes,
    drop: Layer,
    params: SegRNNParams,
    xs: Array,
    state: State | None,
    boundaries: Boundaries,
    key: Key | None,
) -> tuple[Array, State]:
    if boundaries.valid is not None or boundaries.resets is not None:
        raise ValueError(
            "seg_rnn: lengths, mask and resets must be None; NaN tells which steps are missing."
        )
    if not xs.shape[-2]:
        raise ValueError(f"seg_rnn: xs must have one step or more, got {xs.shape}.")
    del state
    encode, weights, decode = params.encode, params.gru, params.decode
    x, last = _subtract_last(xs[..., 0])
    x = jnp.pad(x, [*[(0, 0)] * (x.ndim - 1), (-x.shape[-1] % sizes.segment, 0)])
    segments = x.reshape(*x.shape[:-1], -1, sizes.segment)
    cell = gru(sizes.hidden, reset="after", dtype=sizes.dtype)
    inputs = jax.nn.relu(affine(segments, *encode))
    _, h = recurrent(cell).run(weights, inputs, None, Boundaries(), None)
    ahead, packed = _project(params, xs), pack(weights)
    # vmap leaves h as it is, so that its products are not repeated for each segment.
    ys = jax.vmap(lambda drive: mix(gates(packed, drive, h), h), out_axes=-2)(ahead)
    ys, _ = drop.run((), ys, None, boundaries, key)
    ys = affine(ys, *decode).reshape(*last.shape, -1, sizes.size)
    return ys[..., : sizes.horizon, :] + last[..., None, None], ()


def _subtract_last(x: Float[Array, "*batch time"]) -> tuple[Array, Array]:
    """Returns the difference from the last observed value, 0 where missing, and that value."""
    observed = ~jnp.isnan(x)
    x = jnp.where(observed, x, 0)
    steps = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    newest = jnp.where(observed, steps, 0).max(-1, keepdims=True)
    last = jnp.take_along_axis(x, newest, -1)
    return jnp.where(observed, x - last, 0), last[..., 0]


def _project(params: SegRNNParams, xs: Array) -> Drive:
    """Returns the products of position and series with the GRU's weights, segment by segment."""
    position, series = params.position, params.series
    shape = (len(position), *[1] * (xs.ndim - 2), -1)
    positions = _multiply(params.gru, position, slice(position.shape[1]))
    positions = Drive(*(a.reshape(shape) for a in positions))
    if series is None:
        return positions
    number = xs[..., 0, 1]
    number = jnp.where(number == jnp.round(number), number, len(series)).astype(jnp.int32)
    rows = series.at[number].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    own = _multiply(params.gru, rows, slice(position.shape[1], 2 * position.shape[1]))
    return Drive(*(a + b[None] for a, b in zip(positions, own, strict=True)))


def _multiply(weights: GRUParams, x: Array, rows: slice) -> Drive:
    """Returns the products of a part of an input with its rows of the GRU's weights."""
    return Drive(*(tall_matmul(x, W[rows]) for W in (weights.W_r, weights.W_z, weights.W_c)))


def _advance(params: Params, x: Array, state: State, boundaries: Boundaries) -> tuple[Array, State]:
    del params, x, state, boundaries
    raise ValueError("seg_rnn: step must see the whole look-back, so it cannot stream; use apply.")
