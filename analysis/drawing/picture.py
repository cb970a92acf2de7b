"""The decorators that make a function a part of the report: a picture or a table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from matplotlib.figure import Figure

from toprung.analysis.drawing.style import styled
from toprung.analysis.findings.results import Results

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Rows:
    """The content of a table.

    Attributes:
        columns: the names of the columns, as in `figures.json`, where programs read them.
        rows: text as it is, numbers not rounded yet, None for an empty cell.
        headings: what the page shows over a column instead of its name.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    headings: Mapping[str, str] = field(default_factory=dict)


Draw = Callable[[Results], Figure | None]
MakeRows = Callable[[Results], Rows | None]


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Attributes:
        name: the name of the function, and of the PNG file of a picture.
        title: the heading of the part.
        caption: what is shown, and how it is computed; plain text.
        sources: the files in the sweep's folder that the figures come from.
    """

    name: str
    title: str
    caption: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Picture(Part):
    """A function that draws a figure; None if the picture does not apply to the sweep."""

    draw: Draw

    def __call__(self, results: Results) -> Figure | None:
        """Draw the picture in the report's style."""
        with styled():
            return self.draw(results)


@dataclass(frozen=True)
class Table(Part):
    """A function that returns rows; None if the table does not apply to the sweep."""

    make_rows: MakeRows

    def __call__(self, results: Results) -> Rows | None:
        """The table's content."""
        return self.make_rows(results)


def picture(title: str, caption: str, sources: Sequence[str]) -> Callable[[Draw], Picture]:
    """Make a function `(results) -> figure` a picture; no other registration is needed."""
    return lambda draw: Picture(draw.__name__, title, caption, tuple(sources), draw)


def table(title: str, caption: str, sources: Sequence[str]) -> Callable[[MakeRows], Table]:
    """Make a function `(results) -> rows` a table; no other registration is needed."""
    return lambda make: Table(make.__name__, title, caption, tuple(sources), make)


def parts_in(module: ModuleType) -> Iterator[Picture | Table]:
    """The pictures and tables of a module, in the order of their definition."""
    yield from (thing for thing in vars(module).values() if isinstance(thing, Picture | Table))
