"""Whether the winner is as good as it looked: the results of its config with other seeds."""

from math import isnan

from matplotlib.figure import Figure

from toprung.analysis.drawing.picture import Rows, picture, table
from toprung.analysis.drawing.style import ACCENT, INK, MUTED, SECOND, new_figure
from toprung.analysis.findings.results import Results
from toprung.analysis.study.confirmation import Candidate
from toprung.analysis.study.trials import METRIC_NAMES

_SOURCES = ("study.db",)


@table(
    "How the winner was confirmed",
    "The best of many noisy results is optimistic. Runs with fresh seeds do not share the luck "
    "for which a trial was selected.",
    _SOURCES,
)
def what_was_done(results: Results) -> Rows | None:
    """A sentence about the confirmation, also if there was none; None before the search ended."""
    if results.confirmation is None:
        return None
    summary = results.confirmation.summary
    return Rows(("what was done",), ((f"{summary[:1].upper()}{summary[1:]}.",),))


@table(
    "The best trials, trained again",
    "Each run is trained in full, with a seed of its own, and counts with its best epoch. Mean, "
    "standard deviation and 95 % interval of the mean (Student's t) are taken over the runs, "
    "without the trial's own first figure. Optimism: by how much the first figure was better than "
    "the mean. The candidate with the best mean wins, and the best of the candidate and its runs "
    "is the model. If all runs have the same result, as with an SVM, there is no interval.",
    _SOURCES,
)
def candidates(results: Results) -> Rows | None:
    """One row for each candidate, the best mean first, candidates with failed runs last."""
    if results.confirmation is None or not results.confirmation.candidates:
        return None
    columns = (
        *("trial", METRIC_NAMES[results.metric], "runs", "failed", "mean", "standard deviation"),
        *("low", "high", "flattered", "chosen"),
    )
    chosen = results.confirmation.chosen
    in_order = sorted(
        results.confirmation.candidates,
        key=lambda candidate: candidate.merit if candidate.held else (float("-inf"),) * 2,
        reverse=True,
    )
    rows = tuple((*_cells(candidate), candidate == chosen) for candidate in in_order)
    return Rows(columns, rows, {"flattered": "optimism", "low": "95 % from", "high": "to"})


def _cells(candidate: Candidate) -> tuple[int | float | None, ...]:
    num_runs, num_scored = len(candidate.runs), len(candidate.values)
    counts = (candidate.trial.number, candidate.first, num_runs, num_runs - num_scored)
    if not candidate.held:
        return (*counts, None, None, None, None, None)
    low, high = (None if isnan(end) else end for end in candidate.interval)
    return (*counts, candidate.mean, candidate.std, low, high, candidate.optimism)


@picture(
    "The first figure against fresh seeds",
    "The ring is the trial's result in the search, each dot a run with a fresh seed; the stroke is "
    "the mean of the runs, the bar its 95 % interval.",
    _SOURCES,
)
def fresh_seeds(results: Results) -> Figure | None:
    """One line for each candidate."""
    shown = [c for c in (results.confirmation.candidates if results.confirmation else ()) if c.held]
    if not shown:
        return None
    figure = new_figure(height=0.9 + 0.45 * len(shown))
    axes = figure.add_subplot()
    for row, candidate in enumerate(shown):
        axes.plot(candidate.interval, [row, row], color=ACCENT, alpha=0.35, linewidth=7)
        axes.plot([candidate.mean], [row], "|", color=INK, markersize=16)
        axes.plot(candidate.values, [row] * len(candidate.values), "o", color=ACCENT, markersize=5)
        axes.plot([candidate.first], [row], "o", color=SECOND, fillstyle="none", markersize=9)
    axes.set_yticks(range(len(shown)), [f"trial {c.trial.number}" for c in shown], color=MUTED)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(METRIC_NAMES[results.metric])
    return figure
