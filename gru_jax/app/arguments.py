"""From a command line to a dataclass.

    @dataclass                                     gru-jax predict RUN --input FILE
    class Predict:
        run: Annotated[Path, POSITIONAL]     -->     RUN           the docstring below the field
        input: Path                          -->     --input FILE

A field is an int, float, str, Path, bool (a flag) or Literal, a tuple of them, or None. `Annotated`
may hold the placeholder of its value in the help. The fields of a dataclass in a field are read as
well. A flag that is given again adds to a tuple, and replaces another value. Errors are one
sentence.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

POSITIONAL = object()
"""Marks a field without a flag."""

Command = TypeVar("Command")
KINDS = {
    int: ("a whole number", "INT"),
    float: ("a number", "FLOAT"),
    Path: ("a path", "FILE"),
    str: ("a text", "TEXT"),
}
"""What a type needs, and the word for it in the help."""


class Argument(NamedTuple):
    """A field of a dataclass on the command line."""

    field: str
    flag: str
    """`--hidden`, or RUN for a positional field."""
    kind: Any
    """Type of a value, or the tuple of allowed values."""
    many: bool
    metavar: str
    default: Any
    text: str
    group: str
    """Heading in the help."""


def read(cls: type[Command], args: Iterable[str], prog: str, default: Any = None) -> Command:
    """Returns the dataclass with the values of the arguments.

    Args:
        cls: the dataclass; its docstrings are the help.
        args: of the command line, behind the command.
        prog: the command, e.g. "gru-jax train"; its last word is the name to blame in an error.
        default: has the values of all fields that are not given; None takes those of the class.

    Raises:
        ValueError: for wrong use.
        SystemExit: after --help.
    """
    known = list(_arguments(cls, default))
    name, flags = prog.split()[-1], {a.flag: a for a in known if a.flag.startswith("-")}
    places = [a for a in known if a.flag not in flags]
    values, words = {}, list(args)
    while words:
        flag, equals, word = words.pop(0).partition("=")
        if flag in ("-h", "--help"):
            _parser(cls, known, prog).parse_args([flag])  # Prints, and exits.
        if not flag.startswith("-") or flag == "-":
            if not places:
                raise ValueError(f"{name}: {flag}{equals}{word} is one argument too many.")
            argument = places.pop(0)
            given = [flag + equals + word]
        elif flag not in flags:
            raise ValueError(f"{name}: no option {flag}{suggest(flag, flags)} See {prog} --help.")
        elif (argument := flags[flag]).kind is bool:
            if equals:
                raise ValueError(f"{name}: {flag} must stand alone, got {flag}={word}.")
            given = []
        else:
            given = [word] if equals else []
            while words and not equals and not words[0].startswith("--"):
                given.append(words.pop(0))
                if not argument.many:
                    break
            if not given and not argument.many:
                raise ValueError(f"{name}: {flag} must be {_needed(argument)}, got nothing.")
        converted = tuple(_convert(name, argument, text) for text in given)
        if argument.many:
            converted = (*values.get(argument.field, ()), *converted)
        values[argument.field] = converted if argument.many else (*converted, True)[0]
    for argument in known:
        if argument.default is dataclasses.MISSING and argument.field not in values:
            missing = argument.flag + f" {argument.metavar}" * (argument.flag in flags)
            raise ValueError(f"{name}: {missing} is missing; see {prog} --help.")
    return _build(cls, default, values)


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean ...?" with the closest known word, or a full stop."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else "."


def _arguments(cls: type, default: Any, inner: bool = False) -> Iterator[Argument]:
    """Yields the fields of a dataclass, and of those in it.

    The settings of an inner dataclass are grouped by the class that brings them in.
    """
    hints, texts = get_type_hints(cls, include_extras=True), _texts(cls)
    for name, value in _defaults(cls, default).items():
        if dataclasses.is_dataclass(value):
            yield from _arguments(type(value), value, inner=True)
            continue
        kind, marks = hints[name], ()
        if get_origin(kind) is Annotated:
            kind, *marks = get_args(kind)
        if get_origin(kind) in (Union, UnionType):
            (kind,) = (each for each in get_args(kind) if each is not type(None))
        if many := get_origin(kind) is tuple:
            kind, _ = get_args(kind)
        if get_origin(kind) is Literal:
            kind = get_args(kind)
        word = KINDS[kind][1] if kind in KINDS else "NAME"
        metavar = next((mark for mark in marks if isinstance(mark, str)), word)
        flag = metavar if POSITIONAL in marks else f"--{name.strip('_').replace('_', '-')}"
        group = _summary(_origin(cls, name)) if inner else "options"
        yield Argument(name, flag, kind, many, metavar, value, texts.get(name, ""), group)


def _origin(cls: type, name: str) -> type:
    """Returns the first of a dataclass and its bases that has the field."""
    bases = reversed(cls.__mro__[:-1])
    return next(base for base in bases if name in inspect.get_annotations(base))


def _summary(cls: type) -> str:
    """Returns the first line of a class's docstring, as a heading."""
    line = inspect.cleandoc(str(cls.__doc__)).splitlines()[0].split(";")[0].rstrip(".")
    return line[0].lower() + line[1:]


def _defaults(cls: type, default: Any) -> dict[str, Any]:
    """Returns the fields' values in `default`, or their defaults in the class."""
    if default is not None:
        return vars(default)
    return {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(cls)
    }


def _texts(cls: type) -> dict[str, str]:
    """Returns the docstrings of the fields of a dataclass and its bases."""
    texts = {}
    for base in reversed(cls.__mro__[:-1]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in itertools.pairwise(tree.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(doc))):
                    texts[name] = " ".join(doc.split())
    return texts


def _convert(name: str, argument: Argument, word: str) -> Any:
    kind = argument.kind
    try:
        return kind(word) if isinstance(kind, type) else kind[kind.index(word)]
    except ValueError:
        hint = "." if isinstance(kind, type) else suggest(word, kind)
    needed = _needed(argument)
    raise ValueError(f"{name}: {argument.flag} must be {needed}, got {word!r}{hint}")


def _needed(argument: Argument) -> str:
    kind = argument.kind
    return KINDS[kind][0] if isinstance(kind, type) else f"one of {', '.join(kind)}"


def _build(cls: Any, default: Any, values: dict[str, Any]) -> Any:
    fields = _defaults(cls, default) | {}
    for name, value in fields.items():
        inner = dataclasses.is_dataclass(value)
        fields[name] = _build(type(value), value, values) if inner else values.get(name, value)
    return cls(**fields)


class _Paragraphs(argparse.HelpFormatter):
    """Help that keeps the paragraphs of a docstring apart, and breaks no word."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = (self._split_lines(part, width) for part in text.split("\n\n"))
        return "\n\n".join(textwrap.indent("\n".join(lines), indent) for lines in parts)


def _parser(cls: type, known: list[Argument], prog: str) -> argparse.ArgumentParser:
    """Returns a parser of --help alone."""
    places = [a for a in known if not a.flag.startswith("-")]
    words = [a.flag if a.default is dataclasses.MISSING else f"[{a.flag}]" for a in places]
    usage, text = " ".join([prog, *words, "[options]"]), inspect.getdoc(cls)
    parser = argparse.ArgumentParser(prog, usage, text, formatter_class=_Paragraphs, add_help=False)
    titles = dict.fromkeys(("arguments", "options", *(a.group for a in known)))
    groups = {title: parser.add_argument_group(title) for title in titles}
    groups["options"].add_argument("-h", "--help", action="help", help="show this help and exit")
    for flag, kind, many, metavar, default, text, title in (a[1:] for a in known):
        options = groups[title]
        notes = [] if isinstance(kind, type) else [f"among {', '.join(kind)}"]
        if default is dataclasses.MISSING:
            notes += ["required"] * flag.startswith("-")
        elif default is not None and default is not False and default != ():
            shown = " ".join(map(str, default)) if many else default
            notes += ["default: " + ("all" if default == kind else str(shown))]
        text = (text + f" ({'; '.join(notes)})" * bool(notes)).replace("%", "%%")
        if kind is bool:
            options.add_argument(flag, action="store_true", help=text)
        elif flag.startswith("-"):
            options.add_argument(flag, metavar=metavar, nargs="*" if many else None, help=text)
        else:
            groups["arguments"].add_argument(flag, help=text)
    return parser
