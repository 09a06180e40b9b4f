"""`python -m gru_jax` is the command `gru-jax`."""

import sys


def run() -> None:
    """Exits with the command's code; the entry point of `gru-jax`."""
    try:
        from gru_jax.app.cli import main  # Takes most of a second, in which Ctrl-C is quiet too.
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    run()
