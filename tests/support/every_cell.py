"""Every cell, for the battery of tests that holds for all."""

import gru_jax as gj

CELLS = {
    "gru": lambda **options: gj.gru(5, **options),
    "gru-after": lambda **options: gj.gru(5, reset="after", **options),
    "gru-activations": lambda **options: gj.gru(
        5, activation="softsign", gate_activation="hard_sigmoid", clip=0.5, **options
    ),
    "layer-norm": lambda **options: gj.layer_norm_gru(5, **options),
    "layer-norm-after": lambda **options: gj.layer_norm_gru(5, reset="after", **options),
    "diagonal": lambda **options: gj.diagonal_gru(5, **options),
    "mgu": lambda **options: gj.mgu(5, **options),
    "min-gru": lambda **options: gj.min_gru(5, **options),
    "block": lambda **options: gj.block_gru(6, 2, **options),
    "learned": lambda **options: gj.learned_initial_state(gj.gru(5, **options)),
}
