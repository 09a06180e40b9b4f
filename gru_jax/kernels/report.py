"""Logs which code a program got for a recurrence, in the logger "gru_jax"."""

import logging

log = logging.getLogger("gru_jax")


def kernel_runs(kernel: str) -> None:
    """Logs that a program got a compiled kernel, "cpu" or "gpu"."""
    log.debug("recurrence: the compiled kernel%s runs.", " for GPUs" * (kernel == "gpu"))


def fall_back(reason: str, named: str | None = None) -> None:
    """Logs that a program got XLA's loop.

    Args:
        reason: why the kernel does not run, a phrase.
        named: the kernel that the caller named; None if any may run.

    Raises:
        ValueError: if a kernel was named.
    """
    if named:
        raise ValueError(f'unroll: backend must be "auto" or "xla" for {reason}, got "{named}".')
    log.debug("recurrence: XLA's loop runs, for %s.", reason)


def fall_back_in_part(reason: str) -> None:
    """Logs that the backward pass of a program got XLA's loop, though the forward pass did not."""
    log.debug("recurrence: XLA's loop runs in the backward pass, for %s.", reason)
