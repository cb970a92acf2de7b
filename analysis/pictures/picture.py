"""What makes a function a picture of the report."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from matplotlib.figure import Figure

from analysis.pictures.style import styled
from analysis.results import Results

Draw = Callable[[Results], Figure | None]


@dataclass(frozen=True)
class Picture:
    """A function that draws, with what a report says of it.

    Attributes:
        name: the function's, and of its PNG file.
        title: over the picture.
        caption: what one sees; plain text.
        sources: the files in the sweep's folder that every figure in it comes from.
        draw: the function; None where the picture makes no sense for this sweep.
    """

    name: str
    title: str
    caption: str
    sources: tuple[str, ...]
    draw: Draw

    def __call__(self, results: Results) -> Figure | None:
        """Draw it in the report's style; None where it makes no sense for this sweep."""
        with styled():
            return self.draw(results)


def picture(title: str, caption: str, *sources: str) -> Callable[[Draw], Picture]:
    """Make a function `(results) -> figure` a picture; nothing else is to be registered."""

    def decorate(draw: Draw) -> Picture:
        return Picture(draw.__name__, title, caption, sources, draw)

    return decorate


def pictures_in(module: ModuleType) -> Iterator[Picture]:
    """The pictures of a module, in the order in which they stand there."""
    yield from (thing for thing in vars(module).values() if isinstance(thing, Picture))
