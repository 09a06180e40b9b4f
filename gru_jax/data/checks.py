"""The errors of data's arguments."""

from typing import Any

import numpy as np


def check_counts(function: str, lowest: int = 1, **counts: Any) -> None:
    """Raises ValueError unless each argument is a whole number from `lowest`."""
    for name, count in counts.items():
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not whole or count < lowest:
            raise ValueError(
                f"{function}: {name} must be a whole number from {lowest}, got {count!r}."
            )
