"""The commands; their docstrings are their help."""

import argparse
import dataclasses
import inspect
from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import gru_jax as gj
from gru_jax.app.arguments import POSITIONAL, read, suggest
from gru_jax.app.bench.names import MEASURES, DeviceName, Measure, PeerName, Precision
from gru_jax.app.folder import find
from gru_jax.app.tasks import CONFIGS, DEFAULT, EXAMPLES
from gru_jax.app.tasks.config import Config
from gru_jax.files import FormatName


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a net on a task, and test it.

    After Ctrl-C, SIGTERM (exit codes 130 and 143) or a crash, --resume goes on with it. A second
    Ctrl-C ends at once. The settings below the options are the task's.
    """

    task: Annotated[str, POSITIONAL, "TASK"] = DEFAULT
    """Task to train on: classify, forecast, language or music, with --data FILE, on your own data;
    japanese_vowels, moving_digits or agent. It comes first, and each has its own settings."""
    out: Annotated[Path, "FOLDER"] = Path("runs") / DEFAULT
    """Folder of the run; a run that is there already is moved aside, not overwritten."""
    resume: bool = False
    """Go on with the run in --out, with its own settings; --epochs may be larger."""
    track: Annotated[tuple[str, ...], "NAME"] = ()
    """Who else gets the numbers of each epoch: tensorboard, or module:Class of your own."""
    override: bool = False
    """With --resume, go on with other settings; those of the data and the net must stay."""
    config: Config = dataclasses.field(default_factory=Config)
    """Settings of the task."""


@dataclasses.dataclass(frozen=True)
class _OfRun:
    run: Annotated[Path, POSITIONAL, "RUN"]
    """Folder of the run, e.g. runs/japanese_vowels."""


@dataclasses.dataclass(frozen=True)
class Evaluate(_OfRun):
    """Test a trained run: metrics and confusions."""

    input: Path | None = None
    """A file as for training, to be tested on instead of the test data."""


@dataclasses.dataclass(frozen=True)
class Predict(_OfRun):
    """Predict classes or values for your own sequences.

    In a terminal this prints a table, elsewhere CSV.
    """

    input: Path
    """A file as for training or, of vowels and digits, an .npz of arrays [time, input] or
    [cases, time, input], or a .csv with a step a line. Images are [time, height, width, channels].
    Music has the loss of each piece, of a .mat or .npz; language the bits per character of each
    line of a text."""
    output: Path | None = None
    """Write CSV into this file instead."""


@dataclasses.dataclass(frozen=True)
class Sample(_OfRun):
    """Write text with a trained run of language, as it comes.

    The text goes to the standard output. The same options give the same text.
    """

    prompt: str = ""
    """Text to go on with. Default: a new line."""
    length: int = 500
    """Characters, or bytes, to write."""
    temperature: float = 0.8
    """Divides the logits: 1 follows the net, less is surer, and 0 takes the likeliest each time."""
    seed: int = 0
    """Seeds the draws."""


@dataclasses.dataclass(frozen=True)
class Explain(_OfRun):
    """Show what the cells of a trained run do, in numbers and figures.

    The figures and an animation go into RUN/figures/, or with --input into a subfolder. With
    --html, RUN may also be a file of weights that `convert` reads.
    """

    input: Path | None = None
    """Sequences to explain, in predict's format; the first is drawn. Default: the test data, of
    whose first sequences (up to 50,000 steps) the longest is drawn. For a file of weights: .npz or
    .csv as for vowels. Default: noise."""
    html: Annotated[Path | None, "PAGE"] = None
    """Instead of figures, write a web page that runs the net and shows its gates step by step and
    term by term. Inputs, states and gates can be changed."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time the GRU on this machine beside other libraries' GRUs.

    With --images, times the convolutional GRU. A size is then
    batch,time,height,width,input,channels, and the peers are linen, linen_lstm and torch.

    In a checkout, pip install -e '.[bench]' brings all of them but PyTorch: pip install torch.
    Ctrl-C ends it with the results so far.
    """

    sizes: tuple[str, ...] | None = None
    """Problems, each batch,time,input,hidden, or six numbers for images. Words may follow
    four numbers: 16,100,32,32,8members is an ensemble of 8 members, each with its own weights and
    data. 64,128,256,256,resets adds episodes that begin at random steps. With both, resets stands
    last. Default: a few sizes."""
    images: bool = False
    """Time the convolutional GRU. Sizes of six numbers imply it."""
    peers: tuple[PeerName, ...] | None = None
    """Libraries to time beside gru_jax. Default: all. xla is gru_jax without its kernel. linen_scan
    is the ScannedRNN that reinforcement learning code uses. linen_lstm computes a different
    function."""
    measure: tuple[Measure, ...] = MEASURES
    """What to time: a forward pass, and a training step (loss and all gradients)."""
    device: DeviceName | None = None
    """Device to run on. Default: JAX's. On a GPU, PyTorch runs on CUDA, and gru_jax runs its GPU
    kernel; if that cannot run, it is left out."""
    precision: Precision = "highest"
    """Precision of float32 products on a GPU, in JAX and in PyTorch. tf32 is faster: it rounds
    factors to 10 bits. A CPU ignores it."""
    rounds: int = 11
    """Rounds; in each, every library takes one turn, in shuffled order."""
    budget: float = 60.0
    """Seconds for each library, size and measure. Each is timed at least once, and no call is
    interrupted."""
    json: Path | None = None
    """Write versions, machine and all times into this file."""
    figure: Path | None = None
    """Draw the ratios into this file, .png or .svg; needs matplotlib."""


@dataclasses.dataclass(frozen=True)
class Convert:
    """Convert a net to another framework's file.

    Known by their endings are .pt .pth (PyTorch), .keras .h5 (Keras), .msgpack
    and Orbax folders (Flax), .eqx (Equinox), .onnx and .safetensors. An .npz
    or .safetensors file may also hold arrays by PyTorch's or Haiku's names: to
    write such a file, give --to. Conversion is exact or refused. ONNX is written
    without dropout.
    """

    source: Annotated[Path, POSITIONAL, "SOURCE"]
    """File to read; also the folder of a training run."""
    target: Annotated[Path, POSITIONAL, "TARGET"]
    """File to write; its ending says for whom."""
    from_: FormatName | None = None
    """Format of SOURCE, where the ending does not say."""
    to: FormatName | None = None
    """Format of TARGET, where the ending does not say."""
    name: Annotated[str | None, "NAME"] = None
    """Which GRU or LSTM, where SOURCE holds more: encoder.gru, encoder/rnn, the name of a node or a
    layer; of a net of ours, a layer's number in the stack, from 0."""
    overwrite: bool = False
    """Replace TARGET if it is there."""


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Show the net in a file: its layers, its size and its arrays."""

    source: Annotated[Path, POSITIONAL, "FILE"]
    """Any file that convert reads; also the folder of a training run."""
    from_: FormatName | None = None
    """Its format, where the ending does not say."""
    name: Annotated[str | None, "NAME"] = None
    """Which GRU or LSTM, where the file holds more."""


Command: TypeAlias = Train | Evaluate | Predict | Sample | Explain | Convert | Inspect | Bench
COMMANDS = {kind.__name__.lower(): kind for kind in get_args(Command)}


def parse(args: list[str]) -> Command:
    """Returns the command; with --resume, the run's own settings are its defaults.

    Raises:
        ValueError: for wrong use, in one line.
        SystemExit: after --help and --version, and without a command, which asks for help.
    """
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        _parser().parse_args([name])  # Prints, and exits.
    if name == "--version":
        try:
            print(f"gru-jax {gj.__version__}")
        except AttributeError as error:
            raise ValueError(str(error)) from error
        raise SystemExit(0)
    if name not in COMMANDS:
        raise ValueError(f"no command {name}{suggest(name, COMMANDS)} See gru-jax --help.")
    return _parse_train(rest) if name == "train" else read(COMMANDS[name], rest, f"gru-jax {name}")


def _parse_train(args: list[str]) -> Train:
    """Returns the command; the task, which comes first, says which settings there are."""
    prog, named = "gru-jax train", bool(args) and not args[0].startswith("-")
    name = args[0] if named else DEFAULT
    if name not in CONFIGS:
        known = ", ".join(CONFIGS)
        raise ValueError(f"train: TASK must be one of {known}, got {name}{suggest(name, CONFIGS)}")
    if not named and any(word.partition("=")[0] == "--data" for word in args):
        raise ValueError(
            "train: --data must come after a TASK, e.g. gru-jax train forecast --data FILE."
        )
    default = Train(name, Path("runs") / name, config=CONFIGS[name]())
    command = read(Train, args, prog, default)
    if command.task != name:
        raise ValueError(
            f"train: TASK must come before the options, got {command.task} after them."
        )
    if command.override and not command.resume:
        raise ValueError("train: --override must go with --resume, got it alone.")
    if not command.resume:
        without_data = name in EXAMPLES and getattr(command.config, "data", None) is None
        return _parse_example(command, args[1:]) if without_data else command
    find(command.out, "config.json")  # raises before the import of JAX, which takes a second
    from gru_jax.app import settings

    task, saved = settings.read_config(command.out)
    if named and task.name != name:
        raise ValueError(f"train: TASK must be {task.name}, as the run began, got {name}.")
    going_on = read(Train, args, prog, Train(task.name, command.out, config=saved))
    for field, value in dataclasses.asdict(saved).items():
        given, flag = getattr(going_on.config, field), "--" + field.replace("_", "-")
        if field == "epochs" and given < value:
            raise ValueError(f"train: --epochs must be at least {value}, got {given}.")
        if field != "epochs" and given != value and not command.override:
            raise ValueError(
                f"train: {flag} must be {value}, as the run began, got {given}; --override may "
                "change it."
            )
    return going_on


def _parse_example(command: Train, args: list[str]) -> Train:
    """Returns the command to train on the data that stand in for a file."""
    given, example = vars(command.config), EXAMPLES[command.task]
    for name, value in vars(type(command.config)()).items():
        if given[name] != value and name not in vars(CONFIGS[example]()):
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"train: {flag} must go with --data FILE, got it alone.")
    return _parse_train([example, *args])


def _parser() -> argparse.ArgumentParser:
    """Returns a parser of --help alone."""
    text = "The GRU in JAX: trained on real data, timed beside other libraries."
    epilog = "gru-jax COMMAND --help says more."
    parser = argparse.ArgumentParser("gru-jax", "gru-jax COMMAND [options]", text, epilog)
    commands = parser.add_argument_group("commands")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    for name, kind in COMMANDS.items():
        summary, *_ = inspect.cleandoc(str(kind.__doc__)).split("\n")
        commands.add_argument(name, help=summary.rstrip("."))
    return parser
