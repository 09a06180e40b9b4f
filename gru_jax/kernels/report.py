"""Logs which code a program got for a recurrence, in the logger "gru_jax"."""

import logging

log = logging.getLogger("gru_jax")


def kernel_runs() -> None:
    """Logs that a program got the compiled kernel."""
    log.debug("recurrence: the compiled kernel runs.")


def fall_back(reason: str, required: bool = False) -> None:
    """Logs that a program got XLA's loop.

    Args:
        reason: why the kernel does not run, a phrase.
        required: whether the caller named the kernel.

    Raises:
        ValueError: if `required`.
    """
    if required:
        raise ValueError(f'unroll: backend must be "auto" or "xla" for {reason}.')
    log.debug("recurrence: XLA's loop runs, for %s.", reason)


def fall_back_in_part(reason: str) -> None:
    """Logs that the backward pass of a program got XLA's loop, though the forward pass did not."""
    log.debug("recurrence: XLA's loop runs in the backward pass, for %s.", reason)
