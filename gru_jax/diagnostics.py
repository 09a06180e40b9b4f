"""What the gates did, in a few numbers: saturation, memory, gradients, stability.

    saturation            share of steps in which a gate is all but shut, or all but open
    timescales            steps after which 1/e of a unit's state is left
    gradient_norms        |dL/dh_t|, of all that arrives at a state from the steps after it
    lyapunov_exponent     how fast two states that are almost equal part, or meet

The first two read a tape, from `trace`; the others run the recurrence themselves.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from gru_jax.bounds import select
from gru_jax.sequence import trace, unroll
from gru_jax.types import ArrayLike, Cell, Key, Params, Shape, State, Trace


class Ends(NamedTuple):
    """Shares of steps that each unit of a gate spends near the ends of its range."""

    low: Float[Array, " hidden"]
    high: Float[Array, " hidden"]


class Saturation(NamedTuple):
    """The ends of each gate; None for a gate that the cell does not have."""

    r: Ends | None
    z: Ends | None
    c: Ends | None


def saturation(tape: Trace, *, margin: float = 0.1) -> Saturation:
    """Counts how often each unit's gates are saturated.

    A gate is low below `margin` and high above 1 - `margin`; the candidate, which ranges from -1
    to 1, below -1 + 2 `margin` and above 1 - 2 `margin`. At the ends a gate's gradient is small,
    and the unit acts as a switch.

    Args:
        tape: of one sequence or of many.
        margin: share of the range that counts as an end.

    Returns:
        Shares of the valid steps of all sequences together, from 0 to 1.

    Raises:
        ValueError: unless 0 < margin < 0.5.

    References:
        Karpathy, Johnson and Fei-Fei (2015), "Visualizing and understanding recurrent networks",
        section 4.3 and figure 3, where the margin is 0.1.
    """
    _check_tape("saturation", tape)
    if not 0 < margin < 0.5:
        raise ValueError(f"saturation: margin must be 0 < margin < 0.5, got {margin}.")

    def ends(gate: Array | None, low: float, high: float) -> Ends | None:
        if gate is None:
            return None
        return Ends(_mean(gate < low, tape.valid), _mean(gate > high, tape.valid))

    return Saturation(
        r=ends(tape.r, margin, 1 - margin),
        z=ends(tape.z, margin, 1 - margin),
        c=ends(tape.c, -1 + 2 * margin, 1 - 2 * margin),
    )


def timescales(tape: Trace) -> Float[Array, "*batch hidden"]:
    """Returns each unit's memory in steps: after how many of them 1/e of its state is left.

    Over steps 1 to T a unit keeps the share (1 - z_1) ... (1 - z_T) of its state. With the same
    share kept in each of them, exp(-1/tau),

        tau = -1 / mean_t log(1 - z_t)

    over the valid steps of each sequence: infinite where z is 0 throughout, 0 where it once is 1,
    NaN where there is no step. A unit with constant z has tau = -1 / log(1 - z), which is about
    1/z - 1/2. What the unit remembers by way of the candidate comes on top. A unit may well be slow
    in one sequence and fast in another: over sequences, take the median rather than the mean.

    Raises:
        ValueError: if the cell has no update gate.

    References:
        Tallec and Ollivier (2018), "Can recurrent neural networks warp time?", section 2. Mahto et
        al. (2021), "Multi-timescale representation learning in LSTM language models", eqs. 3-5.
    """
    _check_tape("timescales", tape)
    if tape.z is None:
        raise ValueError("timescales: tape must have an update gate z, got None.")
    wide = tape.z.astype(jnp.promote_types(tape.z.dtype, jnp.float32))
    time = tape.valid.ndim - 1
    kept = select(tape.valid, jnp.log1p(-wide), 0).sum(time)
    return tape.valid.sum(time)[..., None] / jnp.abs(kept)


def gradient_norms(
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    loss_fn: Callable[[Array, Array], Float[Array, ""]],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    resets: Bool[ArrayLike, "*batch time"] | None = None,
    reverse: bool = False,
) -> Float[Array, "*batch time"]:
    """Returns |dL/dh_t| for every step: how far the gradient travels through time.

    dL/dh_t is all that reaches h_t, directly and through the states after it; the norm is over
    units. Going back in time, one that shrinks at each step vanishes, one that grows explodes.

    Args:
        cell: the recurrence, of inputs and states with one axis of features.
        params: its parameters.
        xs: the inputs; of a cell inside a net, the `x` of its tape.
        loss_fn: `(hs, h_last) -> loss`, of what `unroll` returns. A sum over the batch keeps
            sequences apart; a mean divides the gradients by their number.
        h0: as in `unroll`, and so the next four.
        lengths: steps at and after a sequence's length are padding.
        mask: False steps are padding.
        resets: True steps begin a new segment, and no gradient crosses into the one before.
        reverse: run from the last step to the first.

    Returns:
        The norms, in units of the loss (per unit of the state), zero in padding.

    References:
        Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural
        networks", eqs. 3-5.
    """
    _check_cell("gradient_norms", cell)
    xs = jnp.asarray(xs)
    steps = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
    hs = jax.eval_shape(lambda: unroll(cell, params, xs, h0, **steps)[0])

    def loss(nudges: Array) -> Array:
        nudged = jnp.concatenate([xs, nudges], -1)
        return loss_fn(*unroll(_nudged(cell, xs.shape[-1]), params, nudged, h0, **steps))

    gradients = jax.grad(loss)(jnp.zeros(hs.shape, hs.dtype))
    # Of a vanishing gradient the squares would vanish long before the values do.
    largest = jnp.abs(gradients).max(-1, keepdims=True)
    return (largest * _norm(gradients / jnp.where(largest > 0, largest, 1)))[..., 0]


# Cached, so that a loop compiled for a cell is found again.
@lru_cache
def _nudged(cell: Cell, size: int) -> Cell:
    """Returns the cell with more inputs, which are added to the state after each step."""

    def initial_state(params: Params, x_shape: Shape) -> State:
        return cell.initial_state(params, (*x_shape[:-1], size))

    def input_shape(params: Params) -> Shape:
        (own,) = cell.input_shape(params)
        return (own + cell.initial_state(params, (own,)).shape[-1],)

    return cell._replace(
        input_shape=input_shape,
        initial_state=initial_state,
        step=lambda params, x, h: cell.step(params, x[..., :size], h) + x[..., size:],
        project=lambda params, xs: (cell.project(params, xs[..., :size]), xs[..., size:]),
        gates=lambda weights, drive, h: (cell.gates(weights, drive[0], h), drive[1]),
        mix=lambda gates, h: cell.mix(gates[0], h) + gates[1],
        rule=None,
    )


def lyapunov_exponent(
    key: Key,
    cell: Cell,
    params: Params,
    xs: Float[ArrayLike, "*batch time input"],
    h0: State | None = None,
    *,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    mask: Bool[ArrayLike, "*batch time"] | None = None,
    reverse: bool = False,
    burn_in: int = 0,
) -> Float[Array, "*batch"]:
    """Returns the largest Lyapunov exponent of the recurrence under these inputs, in nats a step.

    Two states a hair apart are exp(lambda n) times as far apart n steps later. A small difference u
    goes along with the states, and its growth is taken off at each step:

        v_t = J_t u_{t-1},  u_t = v_t / |v_t|,  J_t = dh_t/dh_{t-1},  lambda = mean_t log |v_t|

    Below 0 the network forgets where it began, and gradients vanish; above 0 it is chaotic, and
    they explode; near 0 it can learn long dependencies.

    Args:
        key: draws the direction of the first difference.
        cell: the recurrence.
        params: its parameters.
        xs: the inputs; of a cell inside a net, the `x` of its tape. The estimate is for t to
            infinity: the more steps, the better.
        h0: as in `unroll`.
        lengths: steps at and after a sequence's length are padding, and not counted.
        mask: False steps are padding.
        reverse: run from the last step to the first.
        burn_in: first steps that are not counted, in which u turns into its direction.

    Returns:
        One exponent for each sequence; NaN where no step is counted, -inf where the difference
        vanishes altogether.

    Raises:
        ValueError: if `burn_in` is negative.

    References:
        Benettin et al. (1980), "Lyapunov characteristic exponents for smooth dynamical systems";
        of gated networks, Vogt et al. (2022), "On Lyapunov exponents for RNNs", and Engelken, Wolf
        and Abbott (2023), "Lyapunov spectra of chaotic recurrent neural networks".
    """
    _check_cell("lyapunov_exponent", cell)
    if burn_in < 0:
        raise ValueError(f"lyapunov_exponent: burn_in must be 0 or more, got {burn_in}.")
    tape = trace(cell, params, xs, h0, lengths=lengths, mask=mask, reverse=reverse)
    batch = tape.valid.ndim - 1
    taken = jax.lax.cumsum(tape.valid.astype(jnp.int32), axis=batch, reverse=reverse)
    counted = tape.valid & (taken > burn_in)
    steps = jax.tree.map(
        lambda a: jnp.moveaxis(a, batch, 0), (tape.x, tape.h_before, tape.valid, counted)
    )
    wide = jnp.promote_types(tape.h.dtype, jnp.float32)

    def body(carry: tuple[Array, Array], step: tuple[Array, ...]) -> tuple[tuple, None]:
        u, total = carry
        x, h, valid, counted = step
        _, v = jax.jvp(partial(cell.step, params, x), (h,), (u.astype(h.dtype),))
        v = v.astype(wide)
        growth = _norm(v)
        u = select(valid, jnp.where(growth > 0, v / growth, v), u)
        return (u, total + select(counted, jnp.log(growth[..., 0]), 0)), None

    u = jax.random.normal(key, steps[1].shape[1:], wide)
    carry = u / _norm(u), jnp.zeros(u.shape[:-1], wide)
    (_, total), _ = jax.lax.scan(body, carry, steps, reverse=reverse)
    return total / counted.sum(-1)


def _check_tape(function: str, tape: Trace) -> None:
    if not isinstance(tape, Trace):
        raise ValueError(
            f"{function}: tape must be a Trace, e.g. tapes[0].forward of a net's tapes, "
            f"got a {type(tape).__name__}."
        )


def _check_cell(function: str, cell: Cell) -> None:
    if not isinstance(cell, Cell):
        raise ValueError(
            f"{function}: cell must be a Cell, e.g. gru(64), got a {type(cell).__name__}. Of a "
            "cell inside a net give its own parameters, and the x of its tape as xs."
        )


def _norm(values: Float[Array, "*batch hidden"]) -> Float[Array, "*batch 1"]:
    return jnp.linalg.norm(values, axis=-1, keepdims=True)


def _mean(values: Array, valid: Bool[Array, "*batch time"]) -> Float[Array, " hidden"]:
    """Returns each unit's mean over the valid steps of all sequences."""
    axes = tuple(range(valid.ndim))
    wide = jnp.promote_types(values.dtype, jnp.float32)
    return select(valid, values, 0).sum(axes, dtype=wide) / valid.sum()
