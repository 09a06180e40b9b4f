"""The command as users start it, by itself or in a terminal, and flags of a run that is small."""

import os
import pty
import re
import signal
import subprocess
import sys

SMALL = ["--hidden", "6", "--layers", "1", "--epochs", "3", "--batch", "81"]
COMMAND = [sys.executable, "-m", "gru_jax"]


def in_terminal(args, cwd, until=None, columns=120):
    """Runs the command in a terminal; interrupts it when `until` is seen; returns code, text."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *args],
        cwd=cwd,
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns)},
    )
    os.close(child)
    text = b""
    try:
        while True:
            try:
                text += os.read(parent, 1 << 16)
            except OSError:  # Linux's way of saying that the other side has closed
                break
            if until and re.search(until, text):
                process.send_signal(signal.SIGINT)
                until = None
        code = process.wait()
    finally:
        process.kill()  # where the test itself is interrupted
        os.close(parent)
    return code, re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text.decode())
