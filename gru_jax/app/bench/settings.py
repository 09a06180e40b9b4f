"""What is asked of a measurement, checked before any minute is spent on it."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from gru_jax.app.bench.problem import Size, parse_size
from gru_jax.files import check_target


def check(
    sizes: Sequence[str],
    measures: Sequence[str],
    rounds: int,
    json: Path | None = None,
    figure: Path | None = None,
) -> list[Size]:
    """Returns the sizes, each once, if all is well.

    Args:
        sizes: as they are typed.
        measures: what to measure.
        rounds: turns for each contender.
        json: the file to write, if any; its folder is made.
        figure: the same.

    Raises:
        ValueError: if something is out of range.
        OSError: if a file cannot be written.
    """
    if not sizes or not measures:
        raise ValueError(f"bench: {'measure' if sizes else 'sizes'} must be one or more, got none.")
    if rounds < 1:
        raise ValueError(f"bench: rounds must be 1 or more, got {rounds}.")
    if figure and figure.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"bench: figure must end in .png or .svg, got {figure}.")
    if figure and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("bench: figure needs matplotlib: pip install 'gru_jax[plot]'.")
    parsed = list(dict.fromkeys(map(parse_size, sizes)))
    for path in (json, figure):
        if path:
            check_target(path)
    return parsed
