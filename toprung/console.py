"""Lines for the user, each on one line and without secrets, whatever names and errors contain."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from toprung.trainables.system.printable import printable_line
from toprung.trainables.system.secrecy import redacted

if TYPE_CHECKING:
    from rich.console import Console

BEGAN = "sweep began: "
"""Prefix of the line that a driver prints once it alone runs the sweep."""


def show_line(console: "Console", text: str) -> None:
    """Show a line, above a live table if there is one.

    The text is shown verbatim: rich would interpret [words] as markup, and wrap long paths.
    """
    line = printable_line(redacted(text))
    console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)


def echo_line(text: object, *, err: bool = False) -> None:
    """Print a line to stdout or stderr."""
    click.echo(printable_line(redacted(str(text))), err=err)


def joined(lines: Iterable[str]) -> str:
    """Join lines to one text; a line break within a line is escaped."""
    return "\n".join(map(printable_line, lines))
