"""What the campaigns count, and their table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

_SHOWN = 8


@dataclass
class Tally:
    """A row of the table.

    Attributes:
        kills: how often the sweep was killed, or the disk full.
        not_begun: of these, how often before the sweep was one, so that it was begun anew.
        lost: trials that had ended, and were lost or changed.
        differing: lines of the decision log that differ from those of the sweep left alone.
        restored: trials that went on from their checkpoint.
        failed: how often anything at all was not as in the sweep left alone.
        seconds: it all took.
        where: the calls and the kinds of files.
        problems: everything that was not as it should be.
    """

    kills: int = 0
    not_begun: int = 0
    lost: int = 0
    differing: int = 0
    restored: int = 0
    failed: int = 0
    seconds: float = 0.0
    where: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def show(title: str, tallies: Mapping[tuple[str, str], Tally]) -> None:
    """Print a row for each, by sweep and by what was done to it; then where, and the problems."""
    table = Table(title=title, title_justify="left")
    table.add_column("sweep")
    table.add_column("struck")
    for column in (
        "kills",
        "before it was a sweep",
        "finished trials lost",
        "decisions that differ",
        "checkpoints restored",
        "not as left alone",
        "seconds",
    ):
        table.add_column(column, justify="right")
    where: Counter[str] = Counter()
    for names, tally in tallies.items():
        where += tally.where
        figures = (tally.kills, tally.not_begun, tally.lost, tally.differing, tally.restored)
        row = map(str, (*figures, tally.failed, round(tally.seconds)))
        table.add_row(*names, *row)
    console = Console(width=120)
    console.print(table)
    console.print("where: " + ", ".join(f"{kind} {n}" for kind, n in where.most_common()))
    problems = [problem for tally in tallies.values() for problem in tally.problems]
    for problem in problems[:_SHOWN]:
        console.print(problem, markup=False, highlight=False)
    if len(problems) > _SHOWN:
        console.print(f"and {len(problems) - _SHOWN} more")
