"""The quantiles of intervals, and the names of their columns.

level L in %  ->  quantiles (100 - L) / 200 and 1 - (100 - L) / 200

level_quantiles([80])  (0.1, 0.5, 0.9)
level_columns([80])    ("gru_jax-lo-80", "gru_jax", "gru_jax-hi-80")
"""

from collections.abc import Sequence


def level_quantiles(levels: Sequence[float]) -> tuple[float, ...]:
    """Returns the quantiles of intervals, rising, with the median between them.

    Args:
        levels: the coverage of each interval in %, e.g. `(80, 95)`.

    Raises:
        ValueError: unless the levels are different numbers from 1 to below 100.
    """
    low = [(100 - level) / 200 for level in _sort_levels("level_quantiles", levels)]
    return (*low, 0.5, *(1 - q for q in reversed(low)))


def level_columns(levels: Sequence[float], name: str = "gru_jax") -> tuple[str, ...]:
    """Returns the names of the columns that hold the quantiles of `level_quantiles`, in its order.

    Args:
        levels: the coverage of each interval in %.
        name: of the forecast; it names the column of the median.

    Raises:
        ValueError: unless the levels are different numbers from 1 to below 100.
    """
    widest_first = [f"{level:g}" for level in _sort_levels("level_columns", levels)]
    low = [f"{name}-lo-{level}" for level in widest_first]
    return (*low, name, *(f"{name}-hi-{level}" for level in reversed(widest_first)))


def _sort_levels(function: str, levels: Sequence[float]) -> list[float]:
    """Returns the levels, the widest first."""
    if len(set(levels)) < len(levels) or not all(1 <= level < 100 for level in levels):
        raise ValueError(
            f"{function}: levels must be different numbers from 1 to below 100, in per cent, "
            f"got {list(levels)}."
        )
    return sorted(levels, reverse=True)
