"""The sections of a report, in order; each holds the pictures and tables of some modules."""

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
"""Characters above which an SVG is replaced by a PNG, if the PNG is smaller."""


@dataclass(frozen=True)
class Section:
    """A section of the report."""

    anchor: str
    title: str
    intro: str
    modules: tuple[ModuleType, ...]


SECTIONS = (
    Section(
        "answer",
        "The answer",
        "The model that the search selected, what it reached, and what the search cost.",
        (answer,),
    ),
    Section(
        "trust",
        "Can the result be trusted?",
        "What may make the figures too optimistic, and what was done about it.",
        (confirmation, seal, duplicates, worth),
    ),
    Section(
        "test",
        "The winner on the test set",
        "The model's predictions for images that played no part in its selection.",
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
        "The images as the network receives them.",
        (data,),
    ),
    Section(
        "how",
        "How it was run",
        "Everything needed to run it again.",
        (how_it_ran,),
    ),
)


@dataclass(frozen=True)
class DrawnPart:
    """A part of the report, drawn for one sweep.

    Attributes:
        part: the function with its name, title, caption and sources.
        rows: the content of a table.
        png: the content of a picture's PNG file.
        svg: the element for the page; empty if the PNG is smaller.
        problem: why the part could not be drawn; then `rows`, `png` and `svg` are empty.
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
    """The parts of a section that apply to a sweep; one that raises has its `problem` set."""
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
    except NotConfirmedError as error:  # its message is complete without the type
        return DrawnPart(part, problem=str(error))
    except Exception as error:  # an error in one part must not prevent the others
        return DrawnPart(part, problem=f"{type(error).__name__}: {error}")


def _saved(part: Part, figure: Figure) -> DrawnPart:
    png, svg = as_png(figure), as_svg(figure, part.name, part.title)  # `as_png` does the layout
    heavy = len(svg) > max(_HEAVY, len(png) * 4 / 3)
    return DrawnPart(part, png=png, svg="" if heavy else svg)
