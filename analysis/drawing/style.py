"""The common style of all pictures; its ink colours follow the page's light or dark scheme."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from toprung.trainables.system.printable import printable

INK = "#1d2026"
"""Text and lines. On the page, the scheme replaces this colour and the next three."""
MUTED = "#6b7280"
GRID = "#d9dce2"
PAPER = "#ffffff"
COLOURS = (
    "#2a78c2",
    "#e0772b",
    "#2f9e5b",
    "#c44e8a",
    "#8461c9",
    "#a8862c",
    "#1aa3a3",
    "#d04a4a",
)
"""Colours of lines and points; each is readable on white and on near-black."""
ACCENT, SECOND = COLOURS[:2]
HEAT = LinearSegmentedColormap.from_list("heat", [(0.12, 0.41, 0.70, a) for a in (0.0, 1.0)])
"""From small to large shares, beginning with the colour of the paper in either scheme. Draw no grid
under it; for text on it see `on_heat`."""
WIDTH = 8.0
"""Inches: the width of a picture that fills the page's column."""
ON_MUCH = "#fefefe"
"""Text on the strong end of HEAT: white in both schemes."""
DPI = 144
"""The resolution of PNG files, and of images in SVGs."""
_MAX_LABEL = 28
_STYLE: Any = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # class names may hold dollar signs
    "xtick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelsize": 8,
}


LEFT_TO_RIGHT = "\u200e"
"""A mark that keeps Matplotlib from reversing a line that contains a right-to-left name. A page
does not need it, because text in its pictures is set left to right."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save figures in the style of the report."""
    with rc_context(_STYLE), warnings.catch_warnings():
        # A class may be named in a script that the font lacks; the browser has another font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float = WIDTH, height: float = 3.6) -> Figure:
    """An empty figure of this size in inches, with automatic layout of its parts."""
    return Figure(figsize=(width, height), layout="constrained")


def short(name: object, length: int = _MAX_LABEL) -> str:
    """A name as a label: on one line, with every character visible, truncated to `length`."""
    text = f"{name:.4g}" if isinstance(name, float) else str(name)
    text = " ".join(printable(text).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def on_heat(share: float) -> str:
    """The colour of text on HEAT at this share (0..1) of its range."""
    return INK if share < 0.75 else ON_MUCH


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file, on white; the layout is computed here and stays fixed.

    `savefig` would draw the figure twice.
    """
    file = io.BytesIO()
    figure.dpi = DPI
    figure.set_facecolor(PAPER)
    with styled():
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    return file.getvalue()
