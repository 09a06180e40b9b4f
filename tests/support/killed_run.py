"""A small random training; as a process of its own, one that dies at a file operation.

python killed_run.py OUT NUMBER [--resume]      dies before operation NUMBER; 0 means never
python killed_run.py OUT states COPIES          copies OUT before each operation of a save
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

from made_up_tasks import SUM

import gru_jax as gj
import gru_jax.app.actions  # or the operations of its import would count
from gru_jax.app import runs
from gru_jax.app.cli import main
from gru_jax.app.tasks import CONFIGS
from gru_jax.app.tasks.table import TASKS

EPOCHS = 30
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def make_net(config, _):
    memory = [gj.recurrent(gj.gru(config.hidden)), gj.dropout(0.2), gj.pool("last")]
    return gj.stack(gj.gaussian_noise(0.1), *memory, gj.dense(1))


TASK = SUM._replace(name="random_sum", make_net=make_net)


def before_each_change(act):
    """Calls a function before each of the process's operations that changes a file or a folder."""

    def hook(event, args):
        if event in CHANGES or (event == "open" and args[2] & WRITING):
            act()

    sys.addaudithook(hook)


def die_before(number):
    """Kills this process before an operation; they are counted from 1."""
    count = 0

    def act():
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each_change(act)


def copy_if_there(source, target):
    """Copies a file, unless a thread of the checkpointer has removed it since it was listed."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def copy_states(folder, copies):
    """Continues a run by an epoch, and copies its folder before each operation of the save."""
    config = TASK.Config(epochs=EPOCHS + 1, patience=999, hidden=4)
    run, saving, count = runs.reopen(folder, TASK, config), False, 0

    def act():
        nonlocal saving, count
        if saving:
            saving, count = False, count + 1  # Copying is made of operations, too.
            shutil.copytree(folder, copies / f"{count:04}", copy_function=copy_if_there)
            saving = True

    before_each_change(act)
    save = runs._save

    def copy_while_saving(*args):
        nonlocal saving
        saving = True
        save(*args)
        saving = False

    runs._save = copy_while_saving
    runs.train(run, lambda _: None, lambda: False)


if __name__ == "__main__":
    TASKS[TASK.name], CONFIGS[TASK.name] = TASK, TASK.Config
    folder, number, *more = sys.argv[1:]
    if number == "states":
        copy_states(Path(folder), Path(*more))
    else:
        runs.SAVE_EVERY = 0.0
        print("ready", flush=True)
        die_before(int(number))
        flags = ["--out", folder, "--epochs", str(EPOCHS), "--patience", "999", "--hidden", "4"]
        sys.exit(main(["train", TASK.name, *flags, *more]))
