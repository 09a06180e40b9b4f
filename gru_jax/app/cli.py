"""The command `gru-jax`, or `python -m gru_jax`: arguments in, exit code out.

It reads the arguments before it imports JAX, so that --help and wrong use are answered at once.
"""

import io
import os
import shutil
import signal
import sys
import textwrap

from gru_jax.app.commands import parse
from gru_jax.files import is_installed

FAILED, USAGE, SIGNAL = 1, 2, 128
"""Exit codes; of a signal, its number is added."""
LONGEST = 600
"""Characters of a message."""
PACKAGES = {"orbax.checkpoint": "orbax-checkpoint", "rich": "rich", "safetensors": "safetensors"}
"""The modules that the commands need besides the library's, and the packages that have them."""


def main(args: list[str] | None = None) -> int:
    """Runs a command; returns its exit code.

    That is 0, 1 if training failed, 2 for wrong use, and 128 plus the number of a signal: 130 for
    Ctrl-C, 143 for SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Some terminals know no lines.
            stream.reconfigure(errors="replace")
    try:
        command = parse(sys.argv[1:] if args is None else args)
        absent = [name for module, name in PACKAGES.items() if not is_installed(module)]
        if absent:
            raise ValueError(f"the command needs {', '.join(absent)}: pip install 'gru_jax[app]'.")
        from gru_jax.app.actions import run_command  # imports JAX

        return run_command(command)
    except BrokenPipeError:  # `gru-jax predict ... | head` has read all it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return complain(str(error), USAGE)
    except KeyboardInterrupt:
        return complain("interrupted.", SIGNAL + signal.SIGINT)


def complain(message: str, code: int, command: str = "") -> int:
    """Prints one line and, below it, a command to copy; breaks no word in a terminal."""
    text = textwrap.shorten(f"gru-jax: {message}", LONGEST, placeholder=" ...")
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        text = textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)
    print(text, *[f"  {command}"] * bool(command), sep="\n", file=sys.stderr)
    return code
