"""What can be asked for on the command line; the docstrings are its help."""

import contextlib
import dataclasses
import io
import itertools
import re
from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import tyro

from gru_jax.app import runs
from gru_jax.app.bench.contenders import PeerName
from gru_jax.app.bench.measure import MEASURES, Measure
from gru_jax.app.bench.problem import DEFAULT_SIZES
from gru_jax.app.tasks import japanese_vowels as task
from gru_jax.interop.formats import FormatName

FORMATS = f"{{{','.join(get_args(FormatName))}}}"
RunFolder: TypeAlias = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a GRU on JapaneseVowels and test it; after Ctrl-C, --resume goes on."""

    config: tyro.conf.OmitArgPrefixes[task.Config] = dataclasses.field(default_factory=task.Config)
    out: Path = Path("runs") / task.NAME
    """Folder of the run; a run that is there already is moved aside, not overwritten."""
    resume: bool = False
    """Go on with the run in --out, with its own settings; --epochs may be larger."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Test a trained run: accuracy, and who was taken for whom."""

    run: RunFolder
    """Folder of the run, e.g. runs/japanese_vowels."""


@dataclasses.dataclass(frozen=True)
class Predict:
    """Name the speaker of your own sequences, with probabilities.

    In a terminal this prints a table, elsewhere CSV.
    """

    run: RunFolder
    """Folder of the run, e.g. runs/japanese_vowels."""
    input: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """An .npz of arrays [time, 12] or [cases, time, 12], or a .csv with a step a line."""


@dataclasses.dataclass(frozen=True)
class Explain:
    """Show what a trained run does inside: reports of every cell, and figures of its gates.

    The figures, and an animation, go into the run's figures/, those of FILE into a folder there.
    """

    run: RunFolder
    """Folder of the run, e.g. runs/japanese_vowels."""
    input: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Sequences as for predict, to be looked at instead of the test utterances; one is drawn."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time the GRU on this machine beside other libraries' GRUs.

    In a checkout, pip install -e '.[bench]' brings all of them but PyTorch: pip install torch.
    Ctrl-C ends it with what has been measured so far.
    """

    sizes: tuple[str, ...] = DEFAULT_SIZES
    """Problems, each batch,time,input,hidden."""
    peers: tuple[PeerName, ...] = get_args(PeerName)
    """Libraries to time beside gru_jax; xla is gru_jax without its kernel."""
    measure: tuple[Measure, ...] = MEASURES
    """What to time: a forward pass, and a training step (loss and all gradients)."""
    rounds: int = 11
    """Rounds; in each, every library takes one turn, in shuffled order."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write versions, machine and all times into this file."""
    figure: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw the ratios into this file, .png or .svg; needs matplotlib."""


@dataclasses.dataclass(frozen=True)
class Convert:
    """Turn a file with a GRU into another framework's; what cannot be is refused.

    Known by their endings are .pt .pth (PyTorch), .keras .h5 (Keras), .msgpack
    and Orbax folders (Flax), .eqx (Equinox), .onnx and .safetensors. Arrays by
    PyTorch's or Haiku's names may also stand in .npz and .safetensors: to write
    such a one, say --to. Weights are exact; ONNX is written without dropout.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """File to read; also the folder of a training run."""
    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")]
    """File to write; its ending says for whom."""
    from_: Annotated[FormatName | None, tyro.conf.arg(name="from", metavar=FORMATS)] = None
    """Format of SOURCE, where the ending does not say."""
    to: Annotated[FormatName | None, tyro.conf.arg(metavar=FORMATS)] = None
    """Format of TARGET, where the ending does not say."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which GRU, where SOURCE holds more: encoder.gru, encoder/rnn, the name of a node or a layer;
    of a net of ours, a layer's number in the stack, from 0."""
    overwrite: bool = False
    """Replace TARGET if it is there."""


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Show what is in a file with a GRU: its architecture, and shape and dtype of each array."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Any file that convert reads; also the folder of a training run."""
    from_: Annotated[FormatName | None, tyro.conf.arg(name="from", metavar=FORMATS)] = None
    """Its format, where the ending does not say."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which GRU, where the file holds more."""


Command: TypeAlias = Train | Evaluate | Predict | Explain | Convert | Inspect | Bench


def parse(args: list[str]) -> Command:
    """Returns the command; with --resume, the run's own settings are its defaults.

    Raises:
        ValueError: for wrong use, in one line.
        SystemExit: after --help.
    """
    command = _parse(args, Train())
    if not isinstance(command, Train) or not command.resume:
        return command
    saved, _ = runs.read_config(command.out)
    going_on = _parse(args, Train(config=saved))
    assert isinstance(going_on, Train)
    for name, value in dataclasses.asdict(saved).items():
        given = getattr(going_on.config, name)
        if given != value and (name != "epochs" or given < value):
            flag = "--" + name.replace("_", "-")
            least = "at least " if name == "epochs" else ""
            raise ValueError(f"{flag} must be {least}{value}, as the run began, got {given}.")
    return going_on


def _parse(args: list[str], train: Train) -> Command:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                Annotated[Train, tyro.conf.subcommand(default=train)]
                | Evaluate
                | Predict
                | Explain
                | Convert
                | Inspect
                | Bench,
                prog="gru-jax",
                description="The GRU in JAX: trained on real data, timed beside other libraries.",
                args=args,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as exit:
        if not exit.code:
            raise
        # tyro draws a box, of dashes where there is no Unicode: title, message, rule, advice.
        text = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue())
        lines = [line.strip("│ ") for line in text.strip().splitlines()]
        below = itertools.dropwhile(_is_rule, lines[1:])
        message = " ".join(itertools.takewhile(lambda line: not _is_rule(line), below))
        known = {kind.__name__.lower() for kind in get_args(Command)}
        command = f"gru-jax {args[0]}" if known & set(args[:1]) else "gru-jax"
        raise ValueError(f"{message} (see {command} --help)") from None


def _is_rule(line: str) -> bool:
    return bool(line) and set(line) <= set("─-╰╯")
