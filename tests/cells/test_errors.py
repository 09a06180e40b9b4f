"""Wrong arguments of a cell and of its gates are one clear message."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from error_cases import CELL, PARAMS, XS, H, X
from refusals import refused

import gru_jax as gj
from gru_jax.ops.activations import ACTIVATIONS

NAMES = ", ".join(ACTIVATIONS)
NORMED = gj.layer_norm_gru(64).init(jax.random.key(0), 12)
LEARNED = gj.learned_initial_state(CELL)

CASES = {
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
    'gru: reset must be "before" or "after", got \'late\'.': lambda: gj.gru(3, reset="late"),
    "gru: clip must be None or above 0 and finite, got '1'.": lambda: gj.gru(3, clip="1"),
    "gru: dtype must be a floating type, got 'foo'.": lambda: gj.gru(3, dtype="foo"),
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
    "init_chrono: min_time and max_time must be 1 < min_time <= max_time, got 2.0 and 1.5.": (
        lambda: gj.init_chrono(1.5)
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
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
