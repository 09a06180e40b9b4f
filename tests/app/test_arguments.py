"""A command line into a dataclass, and what is said of one that does not fit."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pytest
from refusals import refused

from gru_jax.app.arguments import POSITIONAL, read


@dataclasses.dataclass(frozen=True)
class Inner:
    """The brush."""

    size: int = 0
    """Number of things."""
    rate: float = 0.5
    """Share of them."""


@dataclasses.dataclass(frozen=True)
class Paint:
    """Paint a wall.

    A second paragraph, which
    goes on.
    """

    wall: Annotated[Path, POSITIONAL, "WALL"]
    """Which wall."""
    door: Annotated[str, POSITIONAL, "DOOR"] = "red"
    """Which door."""
    colour: Literal["red", "green"] | None = None
    """Which colour."""
    coats: tuple[Literal["first", "second"], ...] = ("first", "second")
    """Which coats."""
    names: tuple[str, ...] = ()
    """Of the painters, 100% of them."""
    from_: Path | None = None
    """Where the paint is."""
    dry_first: bool = False
    """Wait."""
    inner: Inner = dataclasses.field(default_factory=Inner)
    """Settings."""


COLOUR = "paint: --colour must be one of red, green"
NAMES = ("ann", "bo", "cy")
DEFAULT = Paint(Path("north"), inner=Inner())


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("north", {}),
        ("--dry-first north", {"dry_first": True}),
        ("north blue", {"door": "blue"}),
        ("north --colour green", {"colour": "green"}),
        ("--colour=green north", {"colour": "green"}),
        ("north --names ann --colour red --names bo cy", {"colour": "red", "names": NAMES}),
        ("north --coats first --coats second", {"coats": ("first", "second")}),
        ("--coats second --dry-first north", {"coats": ("second",), "dry_first": True}),
        ("north --names a b", {"names": ("a", "b")}),
        ("north --coats --dry-first", {"coats": (), "dry_first": True}),
        ("north --names=a=b", {"names": ("a=b",)}),
        ("north --from x/y", {"from_": Path("x/y")}),
        ("north --size 7 --rate 1e-3", {"inner": Inner(7, 1e-3)}),
        ("north --size -7 --rate=-1e3", {"inner": Inner(-7, -1000.0)}),
        ("north --size 1 --size 2", {"inner": Inner(2)}),
    ],
)
def test_fields_are_read_from_flags_and_places(line, changes):
    assert read(Paint, line.split(), "house paint", DEFAULT) == dataclasses.replace(
        DEFAULT, **changes
    )


def test_what_is_not_given_has_the_default_s_value():
    default = dataclasses.replace(DEFAULT, door="old", inner=Inner(9))
    paint = read(Paint, ["south", "--rate", "1"], "house paint", default)
    assert paint == dataclasses.replace(default, wall=Path("south"), inner=Inner(9, 1.0))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "paint: WALL is missing; see house paint --help."),
        ("a b c", "paint: c is one argument too many."),
        ("a --colr red", "paint: no option --colr; did you mean --colour? See house paint --help."),
        ("a --xyz", "paint: no option --xyz. See house paint --help."),
        ("a -x", "paint: no option -x. See house paint --help."),
        (
            "a --colour rad",
            "paint: --colour must be one of red, green, got 'rad'; did you mean red?",
        ),
        ("a --colour 3", f"{COLOUR}, got '3'."),
        ("a --coats first 3", "paint: --coats must be one of first, second, got '3'."),
        ("a --size", "paint: --size must be a whole number, got nothing."),
        ("a --size --rate 1", "paint: --size must be a whole number, got nothing."),
        ("a --size 1.5", "paint: --size must be a whole number, got '1.5'."),
        ("a --rate x", "paint: --rate must be a number, got 'x'."),
        ("a --dry-first=yes", "paint: --dry-first must stand alone, got --dry-first=yes."),
        ("a --dry-first yes no", "paint: no is one argument too many."),
    ],
)
def test_wrong_use_is_one_sentence(line, message):
    with refused(message):
        read(Paint, line.split(), "house paint")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_the_docstrings_and_the_defaults(capsys, monkeypatch, flag):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as exit:
        read(Paint, [flag], "house paint", None)
    assert exit.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: house paint WALL [DOOR] [options]\n\nPaint a wall.\n\nA second")
    assert "A second paragraph, which goes on.\n" in text
    flat = " ".join(text.split())
    for part in (
        "WALL Which wall. ",
        "DOOR Which door. (default: red)",
        "--colour NAME Which colour. (among red, green)",
        "--coats [NAME ...] Which coats. (among first, second; default: all)",
        "--names [TEXT ...] Of the painters, 100% of them.",
        "--from FILE Where the paint is.",
        "--dry-first Wait.",
        "--size INT Number of things. (default: 0)",
        "--rate FLOAT Share of them. (default: 0.5)",
    ):
        assert part in flat
    assert text.index("options:") < text.index("--from") < text.index("\nthe brush:\n")
    assert text.index("\nthe brush:\n") < text.index("--size")
    assert "False" not in flat
    assert "None" not in flat
