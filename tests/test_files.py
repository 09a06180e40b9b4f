"""Files that are whole or not there."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from gru_jax import files


def test_the_package_that_is_lacking_is_the_one_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "part_of_files").mkdir()
    (tmp_path / "part_of_files" / "arrays.py").write_text("import missing_from_files.arrays")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("part_of_files.images", "other_files.arrays"):
        with pytest.raises(ModuleNotFoundError, match=r"^load needs files-of-arrays: pip"):
            files.import_package("load", "files-of-arrays", module)
        assert not files.is_installed(module)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'missing_from_files'$"):
        files.import_package("load", "files-of-arrays", "part_of_files.arrays")
    assert files.is_installed("part_of_files.arrays")


def test_many_may_write_the_same_file_at_once(tmp_path):
    path, failed = tmp_path / "a.txt", []

    def write(text):
        for _ in range(50):
            try:
                files.write_text(path, text * 10_000)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=letter) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(path.read_text())) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_are_kept_and_nothing_beside_is_touched(tmp_path):
    path, other = tmp_path / "a.txt", tmp_path / ".a.new.txt"
    for file in (path, other):
        file.write_text("before")
    path.chmod(0o600)
    files.write_text(path, "after")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert other.read_text() == "before"


def test_a_new_file_has_the_usual_permissions_whoever_writes_it(tmp_path):
    def save(beside):
        beside.write_text("secret")
        beside.chmod(0o600)

    files.write(tmp_path / "a.txt", save)
    (tmp_path / "usual.txt").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual.txt").stat().st_mode


def test_whatever_a_full_disk_makes_a_library_raise_is_one_error(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def save(beside):
        beside.write_text("half")
        raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(OSError, match=r"a\.txt must be written whole, but: unexpected pos"):
        files.write(path, save)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


KILLED = """import os, pathlib, signal, sys
from gru_jax import files

def save(beside):
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

files.write(pathlib.Path(sys.argv[1]), save)
"""


def test_a_process_that_is_killed_while_it_writes_changes_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "before"
    (leftover,) = files.find_leftovers(tmp_path)
    assert leftover.read_text() == "half"
    assert {*tmp_path.iterdir()} == {path, leftover}


def test_files_of_others_are_no_leftovers(tmp_path):
    for name in (".hidden", "a.0123456789abcdef0123456789abcdef.txt", ".a.0123456789abcdef.txt"):
        (tmp_path / name).touch()
    assert files.find_leftovers(tmp_path) == []


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="pipe must be a file, but is a device or a pipe"):
        files.write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()
