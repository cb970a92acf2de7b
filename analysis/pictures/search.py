"""The course of the search: when trials started, their results, and how they ended."""

from collections import defaultdict
from datetime import datetime, timedelta

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from toprung.analysis.drawing.marks import (
    ENDS,
    SHOWN_WINNER,
    end_handle,
    ends_of,
    metric_axis,
    score_of,
    time_unit,
    winner_of_search,
)
from toprung.analysis.drawing.picture import Cell, Rows, picture, table
from toprung.analysis.drawing.style import ACCENT, COLOURS, INK, MUTED, SECOND, new_figure
from toprung.analysis.findings.results import Results
from toprung.analysis.study.curves import read_curves
from toprung.analysis.study.rungs import Rung, rungs
from toprung.analysis.study.trials import TrialResult
from toprung.analysis.sweep_folder import attributes

_LOGS = "trials/*/result.json"
_MAX_NUMBERED = 80
_MAX_REASONS = 20
_CONFIRMS = "confirms a trial"
_BARS = {ended: colour for ended, (colour, _) in ENDS.items()} | {_CONFIRMS: COLOURS[3]}


@picture(
    "Metric against creation time",
    "Each marker is a trial, at the time of its creation and the value of its best validation. "
    "The line is the best value so far, in the order of creation; the ring is the winner. "
    f"{SHOWN_WINNER} Trials without a result are marked at the lower edge.",
    ("study.db",),
)
def metric_against_time(results: Results) -> Figure | None:
    """None if no trial was validated."""
    started = {t.number: t.started for t in results.trials if t.started is not None}
    scored = [trial for trial in results.scored if trial.number in started]
    if not scored:
        return None
    first = min(started.values())
    seconds = {number: (time - first).total_seconds() for number, time in started.items()}
    unit, unit_name = time_unit(max(seconds.values()))
    figure = new_figure()
    axes = figure.add_subplot()
    values = np.array([score_of(results, trial) for trial in scored])
    times = np.array([seconds[trial.number] / unit for trial in scored])
    so_far = np.maximum.accumulate if results.larger_is_better else np.minimum.accumulate
    axes.step(times, so_far(values), where="post", color=INK, linewidth=1.2, zorder=1)
    for ended in ends_of(results.trials):
        _points(axes, results, ended, {n: s / unit for n, s in seconds.items()})
    _ring(axes, results, seconds, unit)
    metric_axis(results, axes, values)
    axes.set_xlabel(f"{unit_name} since the first trial was created")
    axes.margins(x=0.02)
    best = Line2D([], [], color=INK, linewidth=1.2, label="best so far")
    handles = [*(end_handle(ended) for ended in ends_of(results.trials)), best]
    figure.legend(handles=handles, loc="outside upper left", ncols=5)
    return figure


def _points(axes: Axes, results: Results, ended: str, times: dict[int, float]) -> None:
    """Draw the trials that ended this way: at the height of their result, or at the lower edge."""
    colour, marker = ENDS[ended]
    scored = {trial.number for trial in results.scored}
    mine = [trial for trial in results.trials if trial.ended == ended and trial.number in times]
    high = [trial for trial in mine if trial.number in scored]
    size = 22 if len(results.trials) <= 200 else 9
    axes.scatter(
        [times[trial.number] for trial in high],
        [score_of(results, trial) for trial in high],
        s=size,
        color=colour,
        marker=marker,
        alpha=0.85,
        linewidths=1 if marker in "x+" else 0,
    )
    low = [times[trial.number] for trial in mine if trial.number not in scored]
    axes.scatter(
        low,
        [0.0] * len(low),
        s=size,
        color=colour,
        marker=marker,
        linewidths=1 if marker in "x+" else 0,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )


def _ring(axes: Axes, results: Results, seconds: dict[int, float], unit: float) -> None:
    winner = winner_of_search(results)
    if winner is not None and winner.number in seconds:
        place = seconds[winner.number] / unit, score_of(results, winner)
        axes.scatter(*place, s=110, facecolors="none", edgecolors=INK, linewidths=1.4)


@picture(
    "Timeline of the trials",
    "Each bar is a trial, from its creation to its end, with its number where there is room. Each "
    "row is a slot in which trials ran one after another. The bar of a trial that is still "
    "running, or was running when the sweep was killed, ends at its last validation. Confirmation "
    "runs have one colour, however they ended.",
    ("study.db", _LOGS),
)
def timeline(results: Results) -> Figure | None:
    """None if no trial ran."""
    spans = _spans(results)
    if not spans:
        return None
    first = min(start for _, start, _ in spans)
    whole = max((end - first).total_seconds() for _, _, end in spans)
    unit, unit_name = time_unit(whole)
    rows = _rows(spans)
    num_rows = max(rows) + 1
    figure = new_figure(height=min(1.1 + 0.3 * num_rows, 6.0))
    axes = figure.add_subplot()
    boxes = defaultdict(list)
    for (trial, start, end), row in zip(spans, rows, strict=True):
        left, right = ((time - first).total_seconds() / unit for time in (start, end))
        right = max(right, left + whole / unit / 1000)
        what = trial.ended if trial.confirms is None else _CONFIRMS
        boxes[what].append(_box(left, right, row))
        if len(spans) <= _MAX_NUMBERED and (right - left) * unit > whole / 50:
            axes.text(
                (left + right) / 2, row, str(trial.number), ha="center", va="center", fontsize=7,
                color="white", clip_on=True,
            )  # fmt: skip
    for what, corners in boxes.items():
        edge = "white" if len(spans) <= 400 else "none"
        axes.add_collection(
            PolyCollection(corners, facecolors=_BARS[what], edgecolors=edge, linewidths=0.4)
        )
    axes.set_xlim(0, whole / unit * 1.005)
    axes.set_ylim(num_rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{unit_name} since the first trial was created")
    handles = [Patch(color=colour, label=what) for what, colour in _BARS.items() if what in boxes]
    figure.legend(handles=handles, loc="outside upper left", ncols=6)
    return figure


def _box(left: float, right: float, row: int) -> list[tuple[float, float]]:
    low, high = row - 0.42, row + 0.42
    return [(left, low), (right, low), (right, high), (left, high)]


def _spans(results: Results) -> list[tuple[TrialResult, datetime, datetime]]:
    """The trials and confirmation runs that ran, with start and end, in the order of starting."""
    spans = []
    running = [run.number for run in results.runs if run.completed is None]
    curves = results.curves | read_curves(results.sweep.folder, running)
    for trial in (*results.trials, *results.runs):
        end = trial.completed
        if trial.started is not None and end is None and trial.number in curves:
            seconds = curves[trial.number].records[-1].seconds
            end = trial.started + timedelta(seconds=seconds)
        if trial.started is not None and end is not None and trial.ended != attributes.INFEASIBLE:
            spans.append((trial, trial.started, end))
    return sorted(spans, key=lambda span: span[1])


def _rows(spans: list[tuple[TrialResult, datetime, datetime]]) -> list[int]:
    """The row of each trial: the first row that is free when the trial starts."""
    free_at: list[datetime] = []
    rows = []
    for _, start, end in spans:
        row = next((n for n, time in enumerate(free_at) if time <= start), len(free_at))
        free_at[row : row + 1] = [end]
        rows.append(row)
    return rows


@picture(
    "Rungs",
    "The number of trials that reached each rung of ASHA (Li et al., 2020), by what happened to "
    "them there.",
    ("sweep.yaml", "study.db", _LOGS),
)
def rungs_picture(results: Results) -> Figure | None:
    """None without ASHA, or before anything was validated."""
    found = _rungs(results)
    if not found:
        return None
    figure = new_figure(height=0.9 + 0.42 * len(found))
    axes = figure.add_subplot()
    places = list(range(len(found)))
    continued = np.array([rung.continued for rung in found])
    stopped = np.array([rung.stopped for rung in found])
    rest = np.array([rung.reached for rung in found]) - continued - stopped
    rest_name = "finished, interrupted, or still running"
    left = np.zeros(len(found))
    for counts, colour, name in (
        (continued, ACCENT, "continued"),
        (stopped, SECOND, "stopped early"),
        (rest, MUTED, rest_name),
    ):
        axes.barh(places, counts, left=left, height=0.62, color=colour, label=name)
        for place, count, start in zip(places, counts, left, strict=True):
            if count > 0.03 * found[0].reached:
                axes.text(
                    start + count / 2, place, str(count), ha="center", va="center", color="white"
                )
        left = left + counts
    axes.set_yticks(places, [f"{rung.epochs} epoch{'s' * (rung.epochs > 1)}" for rung in found])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("trials that reached the rung")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


@table(
    "Rungs in figures",
    "The last row is the longest training of a trial. ASHA (Li et al., 2020) is designed to let "
    "the best 1 / reduction factor of a rung continue. Here a trial is compared when it reaches a "
    "rung, with the trials that reached it before, and the decision is final: the first trials "
    "always continue, so the share is usually larger, especially with few trials or if later "
    "trials are better.",
    ("sweep.yaml", "study.db", _LOGS),
)
def rungs_table(results: Results) -> Rows | None:
    """None without ASHA, or before anything was validated."""
    found = _rungs(results)
    if not found:
        return None
    asha = 1 / results.sweep.description["settings"]["reduction_factor"]
    rows: list[tuple[Cell, ...]] = [
        (
            rung.epochs,
            rung.reached,
            rung.continued,
            rung.stopped,
            rung.reached - rung.continued - rung.stopped,
            rung.share_continued,
            asha,
        )
        for rung in found[:-1]
    ]
    last = found[-1]
    columns = (
        "epochs", "trials", "went on", "stopped early", "other", "share that went on", "of ASHA"
    )  # fmt: skip
    rows.append((last.epochs, last.reached, None, None, None, None, None))
    headings = {
        "went on": "continued",
        "share that went on": "share that continued",
        "of ASHA": "share by design",
    }
    return Rows(columns, tuple(rows), headings)


def _rungs(results: Results) -> list[Rung]:
    settings = results.sweep.description["settings"]
    found = rungs(settings, results.trials, results.curves)
    return found if any(rung.reached for rung in found) else []


@table(
    "How trials ended",
    "An infeasible trial is a config whose network cannot be built for the images; it is rejected "
    f"before training. Only the {_MAX_REASONS} most frequent reasons have a row of their own.",
    ("study.db",),
)
def how_trials_ended(results: Results) -> Rows | None:
    """None before the first trial."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for trial in results.trials:
        found[trial.ended, trial.reason].append(trial.number)
    if not found:
        return None
    plain = [(ended, found[ended, ""]) for ended in ENDS if (ended, "") in found]
    reasons = sorted(
        ((key, numbers) for key, numbers in found.items() if key[1]), key=lambda one: -len(one[1])
    )
    rows: list[tuple[Cell, ...]] = [(e, "", len(numbers), _some(numbers)) for e, numbers in plain]
    rows += [(*key, len(numbers), _some(numbers)) for key, numbers in reasons[:_MAX_REASONS]]
    others = sorted(number for _, numbers in reasons[_MAX_REASONS:] for number in numbers)
    if others:
        rows.append(("", "other reasons", len(others), _some(others)))
    return Rows(("ended", "reason", "count", "trials"), tuple(rows))


def _some(numbers: list[int]) -> str:
    """The first eight of some trial numbers."""
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
