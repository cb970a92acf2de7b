"""What a report holds, in its order: each section is some modules' pictures and tables."""

import base64
from dataclasses import dataclass
from types import ModuleType

from matplotlib.figure import Figure

from toprung.analysis.drawing.picture import Part, Picture, Rows, Table, parts_in
from toprung.analysis.drawing.style import as_png
from toprung.analysis.findings.results import Results
from toprung.analysis.pictures import (
    comparisons,
    confirmation,
    curves,
    data,
    duplicates,
    fine_tuning,
    inside,
    parameters,
    seal,
    search,
    steps,
    test_set,
    worth,
)
from toprung.analysis.report import answer, how_it_ran
from toprung.analysis.report.svg import as_svg
from toprung.analysis.sweep_folder.outside import NotConfirmedError

_HEAVY = 400_000
"""Characters of an SVG from which on a lighter PNG stands in its place."""


@dataclass(frozen=True)
class Section:
    """A chapter of the report."""

    anchor: str
    title: str
    intro: str
    modules: tuple[ModuleType, ...]


SECTIONS = (
    Section(
        "answer",
        "The answer",
        "The model that the search chose, what it reached, and what that cost.",
        (answer,),
    ),
    Section(
        "trust",
        "Can one trust it?",
        "What may make the figures look better than they are, and what was done about it.",
        (confirmation, seal, duplicates, worth),
    ),
    Section(
        "test",
        "The winner on the test set",
        "What the model says of images that nothing was chosen by.",
        (test_set,),
    ),
    Section(
        "search",
        "The search",
        "What was tried, when, and which parameters mattered.",
        (search, parameters),
    ),
    Section(
        "curves",
        "The curves",
        "How the trials learned, epoch by epoch.",
        (curves, steps),
    ),
    Section(
        "comparisons",
        "Comparisons",
        "What the values of a setting reached, side by side.",
        (comparisons,),
    ),
    Section(
        "inside",
        "Inside the winner",
        "What the network has learned to look at.",
        (inside, fine_tuning),
    ),
    Section(
        "data",
        "The data",
        "The images as the network gets them.",
        (data,),
    ),
    Section(
        "how",
        "How it was run",
        "Everything that is needed to run it again.",
        (how_it_ran,),
    ),
)


@dataclass(frozen=True)
class DrawnPart:
    """A part of the report as it came out for one sweep.

    Attributes:
        part: the function's name, title, caption, sources.
        rows: of a table.
        png: of a picture, as a file.
        svg: of a picture, for the page; empty where the PNG is lighter.
        problem: why it could not be drawn; then there is none of the above.
    """

    part: Part
    rows: Rows | None = None
    png: bytes = b""
    svg: str = ""
    problem: str = ""

    @property
    def data_url(self) -> str:
        """The PNG for the page."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def draw(section: Section, results: Results) -> list[DrawnPart]:
    """The parts of a section that make sense for a sweep; one that raises tells its problem."""
    return [
        drawn
        for module in section.modules
        for part in parts_in(module)
        if (drawn := _draw(part, results))
    ]


def _draw(part: Picture | Table, results: Results) -> DrawnPart | None:
    try:
        content = part(results)
        if content is None:
            return None
        if isinstance(content, Rows):
            return DrawnPart(part, rows=content)
        return _saved(part, content)
    except NotConfirmedError as error:  # says all itself
        return DrawnPart(part, problem=str(error))
    except Exception as error:  # what is wrong with one part must not cost the others
        return DrawnPart(part, problem=f"{type(error).__name__}: {error}")


def _saved(part: Part, figure: Figure) -> DrawnPart:
    png, svg = as_png(figure), as_svg(figure, part.name, part.title)  # laid out by the first
    heavy = len(svg) > max(_HEAVY, len(png) * 4 / 3)
    return DrawnPart(part, png=png, svg="" if heavy else svg)
