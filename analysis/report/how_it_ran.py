"""How a sweep was run: settings, data, versions, and what failed."""

import shlex
from collections.abc import Mapping
from typing import Any

from toprung.analysis.drawing.picture import Rows, table
from toprung.analysis.findings.failure_region import Region
from toprung.analysis.findings.failures import FailureGroup, failure_groups, tracebacks_of
from toprung.analysis.findings.results import Results
from toprung.analysis.study.trials import read_trials
from toprung.trainables.config import flatten


@table(
    title="Settings of the sweep",
    caption="From the command line, the search space and the defaults.",
    sources=["sweep.yaml"],
)
def settings(results: Results) -> Rows:
    """The settings that the sweep was started with."""
    description = results.sweep.description
    begun = {name: description[name] for name in description if name in ("space", "started_at")}
    overrides = flatten(description.get("overrides") or {}, "set ")
    return _as_rows(begun | flatten(description["settings"]) | overrides)


@table(title="Data", caption="The data as they were when the sweep began.", sources=["sweep.yaml"])
def data(results: Results) -> Rows:
    """Where the images come from, and how many there are."""
    described = dict(results.sweep.description.get("data") or {})
    if "class_names" in described:
        described["classes"] = len(described.pop("class_names"))
    described["bad_images"] = len(described.get("bad_images") or ())
    return _as_rows(flatten(described))


@table(
    title="Images that were left out",
    caption="Files that cannot be read as images.",
    sources=["sweep.yaml"],
)
def bad_images(results: Results) -> Rows | None:
    """Each image with the reason; None if every file could be read."""
    bad = (results.sweep.description.get("data") or {}).get("bad_images")
    return Rows(("image: reason",), tuple((image,) for image in bad)) if bad else None


@table(
    title="Versions",
    caption="The versions of the software that ran the sweep.",
    sources=["sweep.yaml"],
)
def versions(results: Results) -> Rows | None:
    """The versions of Python and of the packages that determine a trial's numbers."""
    recorded = results.sweep.description.get("versions")
    return _as_rows(recorded) if recorded else None


@table(
    title="What went wrong",
    caption="Failed trials and rejected configs, by kind. Where: the condition on one parameter "
    "that best separates them from the other trials; shown only if fewer than 5 % of 1,000 random "
    "permutations of the failures have a condition that separates as well. Running trials are not "
    "counted there, and rejected configs only in the row about rejected configs.",
    sources=["study.db"],
)
def failures(results: Results) -> Rows | None:
    """One row for each kind of failure, the most frequent first."""
    rows = [
        (group.kind, len(group.numbers), _as_text(group.region), group.advice)
        for group in _groups(results)
    ]
    columns = ("kind", "trials", "where in the search space", "what to do")
    return Rows(columns, tuple(rows)) if rows else None


@table(
    title="Trials that went wrong",
    caption="Trials that failed, or whose config was rejected, and the line that raised the error.",
    sources=["study.db"],
)
def failed_trials(results: Results) -> Rows | None:
    """Each trial for which a reason is recorded."""
    tracebacks = tracebacks_of(results.sweep.study)
    rows = [
        (trial.number, trial.ended, trial.reason, _where(tracebacks.get(trial.number, "")))
        for trial in read_trials(results.sweep.study)
        if trial.reason
    ]
    return Rows(("trial", "ended", "reason", "where"), tuple(rows)) if rows else None


def first_tracebacks(results: Results) -> dict[str, str]:
    """The first traceback that was kept for each kind of failure, by kind."""
    return {group.kind: group.traceback for group in _groups(results) if group.traceback}


def _groups(results: Results) -> list[FailureGroup]:
    return failure_groups(results.sweep.study)


def _as_text(region: Region | None) -> str | None:
    return str(region) if region else None


def _where(traceback: str) -> str | None:
    """The line of a traceback that names the innermost frame."""
    places = [line.strip() for line in traceback.splitlines() if line.startswith("  File ")]
    return places[-1] if places else None


def command(results: Results) -> str:
    """The command that started the sweep; empty if it was started from Python."""
    words = results.sweep.description.get("command") or []
    return shlex.join(map(str, words))


def search_space(results: Results) -> str:
    """The source code of the search space; empty if it was not kept."""
    path = results.sweep.folder.search_space
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _as_rows(values: Mapping[str, Any]) -> Rows:
    return Rows(
        ("setting", "value"),
        tuple(
            (name, value if isinstance(value, str | int | float | None) else str(value))
            for name, value in values.items()
        ),
    )
