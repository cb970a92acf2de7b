"""A figure as an SVG element of an HTML page, in the page's font and colour scheme."""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from toprung.analysis.drawing.style import (
    DPI,
    GRID,
    INK,
    LEFT_TO_RIGHT,
    MUTED,
    ON_MUCH,
    PAPER,
    WIDTH,
    styled,
)

_ON_PAGE = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_LINK = "{http://www.w3.org/1999/xlink}href"
_URL = re.compile(r"url\(#([^)]+)\)")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_FILL = re.compile("fill: (#[0-9a-f]{6})")
_NEEDLESS_DIGITS = re.compile(r"(\.\d\d)\d+")


def as_svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an `<svg>` element of an HTML page that defines the colours of its scheme.

    Its text is in the page's font; a figure of `WIDTH` inches fills the page's column.

    Args:
        figure: the figure.
        name: unique on the page; it makes the ids in the element unique.
        title: the text for screen readers.
    """
    file = io.StringIO()
    figure.dpi = DPI
    figure.set_facecolor("none")
    with styled(), rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(file, metadata=_NO_METADATA)  # type: ignore[no-untyped-call]
    svg = ElementTree.fromstring(file.getvalue())
    _leave_out(svg, {"metadata", "style"})
    elements = list(svg.iter())
    named = {id_ for element in elements for id_ in _named_by(element)}
    for element in elements:
        element.tag = _local(element.tag)
        element.attrib = dict(_on_page(element, f"{name}-", named))
        element.text = element.text and element.text.replace(LEFT_TO_RIGHT, "")
    share = float(svg.attrib.pop("width").removesuffix("pt")) / 72 / WIDTH
    del svg.attrib["height"]
    svg.attrib |= {"role": "img", "aria-label": title, "style": f"--share: {share:.3f}"}
    return ElementTree.tostring(svg, encoding="unicode")


def _local(name: str) -> str:
    """A name without its namespace, which an HTML page does not need."""
    return name.rpartition("}")[2]


def _leave_out(svg: ElementTree.Element, tags: set[str]) -> None:
    for parent in list(svg.iter()):
        for child in [child for child in parent if _local(child.tag) in tags]:
            parent.remove(child)


def _named_by(element: ElementTree.Element) -> Iterator[str]:
    """The ids that an element refers to."""
    link = element.get(_LINK, "")
    if link.startswith("#"):
        yield link[1:]
    for value in element.attrib.values():
        yield from _URL.findall(value)


def _on_page(
    element: ElementTree.Element, prefix: str, named: set[str]
) -> Iterator[tuple[str, str]]:
    """An element's attributes with the page's colours and font, and ids unique to the picture."""
    for key, value in element.attrib.items():
        match key:
            case "id":
                if value in named:
                    yield key, prefix + value
            case "d" | "x" | "y":
                yield key, _NEEDLESS_DIGITS.sub(r"\1", value)
            case "style":
                style = _URL.sub(rf"url(#{prefix}\1)", value)
                yield key, _style_on_page(style, is_text=element.tag in ("text", "tspan"))
            case _ if key == _LINK:
                yield "href", f"#{prefix}{value[1:]}" if value.startswith("#") else value
            case _:
                yield _local(key), _URL.sub(rf"url(#{prefix}\1)", value)


def _style_on_page(style: str, *, is_text: bool) -> str:
    style = _FONT.sub("", style)
    if is_text:  # white text: its background is coloured
        style = style.replace(PAPER, ON_MUCH)
    for colour, variable in _ON_PAGE.items():
        style = style.replace(colour, f"var({variable})")
    if is_text and ON_MUCH not in style:  # text in the colour of a line is too pale to read
        style = _FILL.sub(r"fill: color-mix(in srgb, \1 55%, var(--ink))", style)
    return style
