"""`python -m gru_jax` is the command `gru-jax`."""

import sys

from gru_jax.cli import main


def run() -> None:
    """Exits with the command's code; the entry point of `gru-jax`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
