"""What makes a function a part of the report: a picture, or a table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from matplotlib.figure import Figure

from toprung.analysis.drawing.style import styled
from toprung.analysis.findings.results import Results

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Rows:
    """The content of a table: text as it is, numbers still to be rounded, None for nothing."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


Draw = Callable[[Results], Figure | None]
Tell = Callable[[Results], Rows | None]


@dataclass(frozen=True)
class Part:
    """What a report says of one of its parts.

    Attributes:
        name: the function's, and of a picture's PNG file.
        title: over the part.
        caption: what one sees, and how it is computed; plain text.
        sources: the files in the sweep's folder that its figures come from.
    """

    name: str
    title: str
    caption: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Picture(Part):
    """A function that draws; its figure is None where it makes no sense for this sweep."""

    draw: Draw

    def __call__(self, results: Results) -> Figure | None:
        """Draw it in the report's style."""
        with styled():
            return self.draw(results)


@dataclass(frozen=True)
class Table(Part):
    """A function that gives rows; None where it makes no sense for this sweep."""

    tell: Tell

    def __call__(self, results: Results) -> Rows | None:
        """The table's content."""
        return self.tell(results)


def picture(title: str, caption: str, sources: Sequence[str]) -> Callable[[Draw], Picture]:
    """Make a function `(results) -> figure` a picture; nothing else is to be registered."""
    return lambda draw: Picture(draw.__name__, title, caption, tuple(sources), draw)


def table(title: str, caption: str, sources: Sequence[str]) -> Callable[[Tell], Table]:
    """Make a function `(results) -> rows` a table; nothing else is to be registered."""
    return lambda tell: Table(tell.__name__, title, caption, tuple(sources), tell)


def parts_in(module: ModuleType) -> Iterator[Picture | Table]:
    """The pictures and tables of a module, in the order in which they stand there."""
    yield from (thing for thing in vars(module).values() if isinstance(thing, Picture | Table))
