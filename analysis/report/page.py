"""Writing the report of a sweep: the page, its pictures as files, and its figures as JSON."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toprung.analysis.findings.comparison import check_paths
from toprung.analysis.findings.results import Results
from toprung.analysis.report import how_it_ran
from toprung.analysis.report.answer import Answer, answer
from toprung.analysis.report.cells import numeric_columns, texts
from toprung.analysis.report.sections import SECTIONS, DrawnPart, Section, draw
from toprung.analysis.sweep_folder.files import is_empty, json_text, write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.files.untrusted_files import read_text
from toprung.trainables.system.printable import printable

PAGE_FILE = "report.html"
FIGURES_FILE = "figures.json"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """A written report: its page, and the parts that could not be drawn, with reasons."""

    path: Path
    problems: tuple[str, ...]


def write_report(results: Results, to: Path) -> Report:
    """Write the report of a sweep into a folder; an earlier report there is replaced.

    A part that raises is left out; the page and the returned `Report` state the reason.

    Args:
        results: the results of the sweep.
        to: the folder; created if it does not exist.

    Raises:
        SweepFolderError: if the folder cannot be written, or holds something other than a report;
            if a setting to compare by does not exist; if the sweep cannot be read.
    """
    check_paths(results.by, results.scored)
    try:
        to.mkdir(parents=True, exist_ok=True)
        mine = (to / PAGE_FILE).exists()
        if not mine and not is_empty(to):
            raise SweepFolderError(f"{to}: holds something else; choose an empty folder")
        drawn_of = {section: draw(section, results) for section in SECTIONS}
        report = {s: parts for s, parts in drawn_of.items() if parts or s is SECTIONS[0]}
        beginning = answer(results)
        _write(results, beginning, report, to)
    except OSError as error:
        raise SweepFolderError(
            f"{to}: cannot be written: {error.strerror}; choose another folder (--to FOLDER)"
        ) from None
    drawn = [part for parts in report.values() for part in parts]
    return Report(
        to / PAGE_FILE,
        (
            *(["the answer: " + beginning.problem] if beginning.problem else []),
            *_problems(drawn),
        ),
    )


def _problems(drawn: Sequence[DrawnPart]) -> Iterator[str]:
    """The parts that could not be drawn, and why; one line for all parts with the same reason."""
    titles: dict[str, list[str]] = defaultdict(list)
    for part in drawn:
        if part.problem:
            titles[part.problem].append(part.part.title)
    yield from (f"{', '.join(those)}: {problem}" for problem, those in titles.items())


def _write(
    results: Results, answer: Answer, report: Mapping[Section, list[DrawnPart]], to: Path
) -> None:
    pngs = {f"{p.part.name}.png": p.png for parts in report.values() for p in parts if p.png}
    page, figures = _page(results, answer, report), _figures(results, answer, report)
    # So that a killed process leaves no figure or picture of an earlier report beside the page.
    for name in (*_pictures_before(to), FIGURES_FILE):
        (to / name).unlink(missing_ok=True)
    write_atomically(to / PAGE_FILE, page)  # first, because it marks the folder as a report
    for name, png in pngs.items():
        write_atomically(to / name, png)
    write_atomically(to / FIGURES_FILE, figures)


def _pictures_before(to: Path) -> set[str]:
    """The pictures of the report that is in the folder."""
    try:
        parts = json.loads(read_text(to / FIGURES_FILE))["parts"]
        names = {Path(part["picture"]).name for part in parts if "picture" in part}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return {name for name in names if Path(name).suffix == ".png"}


def _page(results: Results, answer: Answer, report: Mapping[Section, list[DrawnPart]]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Everything on the page passes through `printable`; the escapes that it writes for control
    # characters need no quoting in HTML.
    page = environment.get_template("page.html.j2").render(
        css=Markup((_HERE / "page.css").read_text("utf-8")),
        name=results.sweep.name,
        space=results.sweep.description.get("space", ""),
        source=results.sweep.description.get("data", {}).get("source", ""),
        written_at=_now(),
        report=report,
        answer=answer,
        command=how_it_ran.command(results),
        search_space=how_it_ran.search_space(results),
        tracebacks=how_it_ran.first_tracebacks(results),
        texts=texts,
        numeric_columns=numeric_columns,
    )
    return printable(page)


def _figures(results: Results, answer: Answer, report: Mapping[Section, list[DrawnPart]]) -> str:
    """Every figure on the page with the files that it comes from, as JSON."""
    content = {
        "sweep": results.sweep.name,
        "written_at": _now(),
        "ended": results.sweep.ended,
        "notices": answer.notices,
        "headline": [asdict(fact) for fact in answer.headline],
        "parts": [
            {"section": section.anchor, "name": part.part.name, "title": part.part.title}
            | {"sources": part.part.sources}
            | _content(part)
            for section, parts in report.items()
            for part in parts
        ],
    }
    return json_text(content)


def _content(part: DrawnPart) -> dict[str, Any]:
    if part.problem:
        return {"problem": part.problem}
    if part.rows is None:
        return {"picture": f"{part.part.name}.png"}
    return {"columns": part.rows.columns, "rows": part.rows.rows}


def _now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
