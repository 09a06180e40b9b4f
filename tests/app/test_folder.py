"""The lock of a folder where there is no `fcntl`."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gru_jax.app import folder


def test_on_windows_a_file_is_locked(tmp_path, monkeypatch):
    """A stand-in for `msvcrt.locking`, which refuses a byte that another handle holds."""
    held = []

    def lock(handle, mode, count):
        assert (mode, count) == (2, 1)
        file = os.fstat(handle).st_ino
        if any(file == i and handle != n and _is_open(n) for i, n in held):
            raise PermissionError(13, "Permission denied")
        held.append((file, handle))

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=lock, LK_NBLCK=2))
    with folder.locked(tmp_path):
        with pytest.raises(ValueError, match="must be free, but another process trains there"):
            with folder.locked(tmp_path):
                pytest.fail("both hold it")
    with folder.locked(tmp_path):
        assert len(held) == 2


def _is_open(handle):
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def test_the_command_starts_without_fcntl():
    code = "import sys; sys.modules['fcntl'] = None; import gru_jax.app.actions"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
