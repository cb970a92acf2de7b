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
    caption="As given on the command line or by the search space, and defaults.",
    sources=["sweep.yaml"],
)
def settings(results: Results) -> Rows:
    """What was asked for."""
    said = results.sweep.description
    begun = {name: value for name, value in said.items() if name in ("space", "started_at")}
    overrides = flatten(said.get("overrides") or {}, "set ")
    return _as_rows(begun | flatten(said["settings"]) | overrides)


@table(title="Data", caption="As they were when the sweep began.", sources=["sweep.yaml"])
def data(results: Results) -> Rows:
    """Where the images come from, and how many there are."""
    said = dict(results.sweep.description.get("data") or {})
    if "class_names" in said:
        said["classes"] = len(said.pop("class_names"))
    said["bad_images"] = len(said.get("bad_images") or ())
    return _as_rows(flatten(said))


@table(
    title="Images that were left out",
    caption="Files that cannot be read as images.",
    sources=["sweep.yaml"],
)
def bad_images(results: Results) -> Rows | None:
    """Each with the reason."""
    said = (results.sweep.description.get("data") or {}).get("bad_images")
    return Rows(("image: reason",), tuple((image,) for image in said)) if said else None


@table(title="Versions", caption="Of the software that ran the sweep.", sources=["sweep.yaml"])
def versions(results: Results) -> Rows | None:
    """Of Python and the packages that decide a trial's numbers."""
    said = results.sweep.description.get("versions")
    return _as_rows(said) if said else None


@table(
    title="What went wrong",
    caption="Failed trials and refused configs by kind. Where: the condition on one parameter that "
    "separates them best, if so good a one is seldom found (in less than 5 % of 1,000 tries) when "
    "the failures are dealt out at random. Trials that still run are not counted there, and "
    "refused ones only where it is they that are told of.",
    sources=["study.db"],
)
def failures(results: Results) -> Rows | None:
    """One row for each kind of failure, the most frequent first."""
    rows = [
        (group.kind, len(group.numbers), _told(group.region), group.advice)
        for group in _groups(results)
    ]
    columns = ("kind", "trials", "where in the search space", "what to do")
    return Rows(columns, tuple(rows)) if rows else None


@table(
    title="Trials that went wrong",
    caption="Trials that failed, or whose config was refused, and where the code raised.",
    sources=["study.db"],
)
def failed_trials(results: Results) -> Rows | None:
    """Each trial with a reason."""
    tracebacks = tracebacks_of(results.sweep.study)
    rows = [
        (trial.number, trial.ended, trial.reason, _where(tracebacks.get(trial.number, "")))
        for trial in read_trials(results.sweep.study)
        if trial.reason
    ]
    return Rows(("trial", "ended", "reason", "where"), tuple(rows)) if rows else None


def first_tracebacks(results: Results) -> dict[str, str]:
    """Of each kind of failure the first traceback that was kept, by the kind."""
    return {group.kind: group.traceback for group in _groups(results) if group.traceback}


def _groups(results: Results) -> list[FailureGroup]:
    return failure_groups(results.sweep.study)


def _told(region: Region | None) -> str | None:
    return str(region) if region else None


def _where(traceback: str) -> str | None:
    """The line of a traceback that names the innermost place."""
    places = [line.strip() for line in traceback.splitlines() if line.startswith("  File ")]
    return places[-1] if places else None


def command(results: Results) -> str:
    """The command that began the sweep; empty if it was begun from Python."""
    words = results.sweep.description.get("command") or []
    return shlex.join(map(str, words))


def search_space(results: Results) -> str:
    """The source of the search space; empty if it is not kept."""
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
