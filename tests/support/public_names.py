# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What a type checker sees of gru_jax: `just lint` checks this file, and nothing runs it."""

from collections.abc import Callable
from typing import assert_type

import gru_jax as gj


def use() -> list[object]:
    """Names that are there, and one that is not."""
    cell: gj.Cell = gj.gru(3)
    build: Callable[..., gj.Cell] = gj.lstm
    assert_type(gj.__version__, str)
    modules = [gj.agents, gj.estimators, gj.interop, gj.linen, gj.nnx, gj.plot, gj.testing]
    missing: object = gj.gruu  # pyright: ignore[reportAttributeAccessIssue]
    return [cell, build, gj.load, gj.save, gj.plot.gates, gj.linen.Net, *modules, missing]
