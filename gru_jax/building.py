"""From what a cell or a layer is, as data, to the thing itself."""

from collections.abc import Callable

from gru_jax.cells.gru import gru
from gru_jax.cells.layer_norm_gru import layer_norm_gru
from gru_jax.cells.learned_initial_state import learned_initial_state
from gru_jax.layers.combine import residual, stack
from gru_jax.layers.pointwise import dense, dropout, gaussian_noise
from gru_jax.layers.pooling import pool
from gru_jax.layers.recurrent import bidirectional, recurrent
from gru_jax.types import Architecture, Cell, Layer

CELLS = (gru, layer_norm_gru, learned_initial_state)
LAYERS = (recurrent, bidirectional, stack, residual, dense, dropout, gaussian_noise, pool)
BUILDERS: dict[str, Callable[..., Cell | Layer]] = {f.__name__: f for f in CELLS + LAYERS}


def build(architecture: Architecture) -> Cell | Layer:
    """Builds a cell or a layer again; its initialisers are the defaults.

    Args:
        architecture: `cell.architecture` or `layer.architecture`.

    Raises:
        ValueError: if there is no such builder, or it does not take these arguments.
    """
    name, parts, options = architecture
    if name not in BUILDERS:
        raise ValueError(f"build: builder must be one of {', '.join(BUILDERS)}, got {name!r}.")
    built = [build(part) for part in parts]
    try:
        return BUILDERS[name](*built, **dict(options))
    except TypeError as error:
        raise ValueError(f"build: options must be those of {name}, but {error}.") from error
