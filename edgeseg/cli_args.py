"""What all verbs of the command line share: how options become a dataclass."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Annotated, Any, TypeVar

import tyro

from edgeseg.structures import InputError

T = TypeVar("T")
Result = dict[str, Any]
Verb = Callable[[Sequence[str]], Result]
"""Options as typed -> what `--json` prints."""

PROGRAM = "edgeseg"

LIST = "list"
"""Key of a result that is a list: `--json` prints the list alone."""


@dataclass(frozen=True)
class Output:
    """Where results go."""

    json: bool = False
    """Print one JSON document on standard output."""
    quiet: bool = False
    """Show no progress."""


Flat = Annotated[Output, tyro.conf.arg(name="")]


def parse(cls: type[T], argv: Sequence[str], verb: str, default: T | None = None) -> T:
    """Reads options into a dataclass.

    Args:
        cls: Frozen dataclass; its docstrings are the help.
        argv: Options as typed.
        verb: Named in help and errors.
        default: Values in force where an option is not given.

    Raises:
        InputError: An option or value that does not exist; the nearest option is named.
        SystemExit: With 0, after printing the help that was asked for.
    """
    extra = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(cls, args=list(argv), prog=f"{PROGRAM} {verb}", **extra)  # type: ignore[no-any-return,call-overload]
    except SystemExit as stop:
        if stop.code:
            complaint = _first_complaint(said.getvalue()) + _switch_hint(argv)
            raise InputError(f"{complaint}; see {PROGRAM} {verb} --help") from None
        raise


def words(given: Sequence[str]) -> tuple[str, ...]:
    """Values of one option, apart or joined by commas."""
    return tuple(word for part in given for word in part.split(",") if word)


def with_value(option: str, value: str, argv: Sequence[str]) -> list[str]:
    """Options as typed, a value put behind one that stands alone."""
    spelt: list[str] = []
    for word, following in zip_longest(argv, argv[1:], fillvalue="-"):
        spelt += [word, value] if word == option and following.startswith("-") else [word]
    return spelt


def verb_list(program: str, verbs: Mapping[str, Verb]) -> str:
    """The help of a command that has verbs: one line each."""
    lines = [f"usage: {program} VERB ...   ({program} VERB --help for its options)", ""]
    return "\n".join(lines + [f"  {name:<12} {verb.__doc__}" for name, verb in verbs.items()])


def _switch_hint(argv: Sequence[str]) -> str:
    """For `--loss.remask False`: how a switch is spelt; else nothing."""
    for option, value in pairwise(argv):
        if option.startswith("--") and value.lower() in ("true", "false"):
            group, dot, name = option.removeprefix("--").rpartition(".")
            return f" (a switch takes no value: {option} or --{group}{dot}no-{name})"
    return ""


def _first_complaint(box: str) -> str:
    """The parser's message as one line: what stands above the first rule of its box, and the option it suggests."""
    rows = [row.strip("│ ") for row in box.splitlines() if row.startswith("│")]
    rule = next((index for index, row in enumerate(rows) if row.startswith("─")), len(rows))
    complaint = " ".join(rows[:rule]) or box.strip()
    suggested = re.search(r"Perhaps you meant:\W*(--[\w.-]+)", " ".join(rows[rule:]))
    return complaint + (f" (did you mean {suggested[1]}?)" if suggested else "")
