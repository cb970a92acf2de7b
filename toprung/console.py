"""Lines for the user: one line each and without secrets, whatever names and errors in them hold."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from toprung.trainables.system.printable import printable_line
from toprung.trainables.system.secrecy import redacted

if TYPE_CHECKING:
    from rich.console import Console

BEGAN = "sweep began: "
"""What the line begins with that a driver prints when the sweep is its own, and no other's."""


def show_line(console: "Console", text: str) -> None:
    """Show a line, above a live table if there is one.

    It is shown as it is: rich would take [words] for markup, and break long paths.
    """
    line = printable_line(redacted(text))
    console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)


def echo_line(text: object, *, err: bool = False) -> None:
    """Print a line to stdout or stderr."""
    click.echo(printable_line(redacted(str(text))), err=err)


def joined(lines: Iterable[str]) -> str:
    """Lines as one text, with as many lines."""
    return "\n".join(map(printable_line, lines))
