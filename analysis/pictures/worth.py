"""Was the search worth its cost? Its result next to what simpler searches would have found."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toprung.analysis.drawing.marks import metric_axis
from toprung.analysis.drawing.picture import Cell, Rows, picture, table
from toprung.analysis.drawing.style import ACCENT, COLOURS, INK, SECOND, new_figure
from toprung.analysis.findings.results import Results
from toprung.analysis.findings.worth import RandomSearch, TopK, Worth, worth

_SOURCES = ("study.db", "trials/*/result.json", "sweep.yaml")


@picture(
    "Was the search worth its cost?",
    "The best value so far against the total epochs of all trials. Steps: the search, as its "
    "validations came in. Line: the expected result of random search with as many epochs (Tang et "
    "al., 2020, “Showing Your Work Doesn't Always Work”), if each of its trials trained in full; "
    "for trials that were stopped early, the final result is estimated. Band: from what these "
    "trials had reached (at least) to the result of the best finished trial (at most). Diamond "
    "with bar: the same for a search that trains every trial of this sweep for one epoch, and then "
    "the best of them in full. The first, poor values lie outside the axis, so that later "
    "differences are visible.",
    _SOURCES,
)
def search_against_simpler(results: Results) -> Figure | None:
    """None with fewer than two scored trials, or if there is nothing to compare with."""
    found = worth(results)
    if found is None or (found.random is None and found.top_k is None):
        return None
    figure = new_figure(height=3.4)
    axes = figure.add_subplot()
    drawn = [*found.best_R[np.isfinite(found.best_R)].tolist(), found.value]
    if found.random is not None:
        drawn += _random_search(axes, found.random)
    axes.step(
        found.spent_R, found.best_R, where="post", color=ACCENT, linewidth=1.8, label="this search"
    )
    if found.top_k is not None:
        drawn += _top_k(axes, found.top_k)
    axes.set_xlabel("total epochs of all trials")
    metric_axis(results, axes, drawn)
    _show_the_good(axes, found)
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def _random_search(axes: Axes, random: RandomSearch) -> list[float]:
    """Draw it; return the values that were drawn."""
    epochs_M = random.trial_epochs * np.arange(1, random.num_draws + 1)
    if random.at_most_M is not None:
        axes.fill_between(
            epochs_M, random.at_least_M, random.at_most_M, color=SECOND, alpha=0.15, linewidth=0
        )
    shown_M, word = _known(random)
    axes.plot(
        epochs_M,
        shown_M,
        color=SECOND,
        marker="o" if random.num_draws == 1 else None,
        label=f"random search, {word}",
    )
    return [float(value) for value in shown_M]


def _top_k(axes: Axes, top: TopK) -> list[float]:
    """Draw it; return the values that were drawn."""
    value = top.at_least if top.expected is None else top.expected
    colour = COLOURS[2]
    if top.at_most is not None:
        axes.plot([top.epochs] * 2, [top.at_least, top.at_most], color=colour, alpha=0.5)
    word = "at least: " if top.expected is None else ""
    axes.plot(
        top.epochs,
        value,
        color=colour,
        marker="D",
        markersize=8,
        linestyle="",
        markeredgecolor=INK,
        label=f"{word}one epoch of every trial, then the best {top.num_trials} in full",
    )
    return [value]


def _known(random: RandomSearch) -> tuple[NDArray[np.float64], str]:
    """The best available curve, and the word that describes it."""
    if random.expected_M is None:
        return random.at_least_M, "at least"
    return random.expected_M, "estimated" if random.num_stopped else "expected"


def _show_the_good(axes: Axes, found: Worth) -> None:
    """Exclude the first, poor values from the axis, which would hide the later differences."""
    shown = found.best_R[np.isfinite(found.best_R)]
    if not len(shown):
        return
    ends = [found.value, float(shown[len(shown) // 20])]
    if found.random is not None:
        last_half = (found.random.num_draws - 1) // 2
        ends.append(float(_known(found.random)[0][min(1, last_half)]))
    if found.top_k is not None:
        top = found.top_k
        ends.append(top.at_least if top.expected is None else top.expected)
    ends = [end for end in ends if np.isfinite(end)]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low) or 0.01
    if axes.get_yscale() == "linear":
        axes.set_ylim(low - margin, high + margin)


@table(
    "What simpler searches would have found",
    "Computed from the logged curves, with the same number of epochs as the search. Random "
    "search: the expected best of that number of distinct randomly drawn trials of this sweep "
    "(with the samplers tpe and gp, the first 10), in closed form (Tang et al., 2020, “Showing "
    "Your Work Doesn't Always Work”). If the epochs allow more trials than were drawn, the row is "
    "the best of all that were drawn, there is no “at most”, and “behind by” is an upper bound. "
    "The row is missing for searches in stages, which do not draw trials from the whole space. "
    "One epoch of all: every trial of this sweep trains for one epoch, and the best ones then "
    "train in full. “Stopped”: how many of the trials behind the figure did not finish. “At "
    "least” uses what these trials had reached, “at most” the result of the best finished trial "
    "of this sweep (Manski, 2003); the figure itself uses an estimate: the error falls by the "
    "median factor by which the error of the finished trials fell from the same epoch on. Without "
    "a finished trial there is only “at least”. “Behind by”: how much worse than this search, by "
    "the estimate; negative if better. A failed trial has no result but a cost: in random search, "
    "all its epochs, which raise the cost of the other trials; in the one epoch of all, at most "
    "one epoch. Confirmation runs are left out, and the figure of this search is the one before "
    "confirmation. A sweep that is itself random search without early stopping differs from the "
    "random search here only by chance.",
    _SOURCES,
)
def worth_table(results: Results) -> Rows | None:
    """None with fewer than two scored trials, or if there is nothing to compare with."""
    found = worth(results)
    if found is None or (found.random is None and found.top_k is None):
        return None
    rows = [_this_search(results, found)]
    if found.random is not None:
        rows.append(_random_row(found.random, found.value, _sign(results)))
    if found.top_k is not None:
        rows.append(_top_k_row(results, found.top_k, found.value))
    columns = (
        "search", "trials", "epochs", "picks", results.metric, "at least", "at most", "stopped",
        "behind by",
    )  # fmt: skip
    return Rows(columns, tuple(rows), {"picks": "selected"})


def _sign(results: Results) -> int:
    return 1 if results.larger_is_better else -1


def _this_search(results: Results, found: Worth) -> tuple[Cell, ...]:
    picked = ("this search", len(results.scored), found.epochs, f"trial {found.trial}")
    return (*picked, found.value, None, None, None, None)


def _random_row(random: RandomSearch, value: float, sign: int) -> tuple[Cell, ...]:
    expected = None if random.expected_M is None else float(random.expected_M[-1])
    unknown = random.is_short or random.at_most_M is None
    drawn = random.num_drawn_from
    return (
        "random search",
        random.num_trials,
        random.num_trials * random.trial_epochs,
        f"at least the best of {drawn}" if random.is_short else f"the best of {random.num_trials}",
        expected,
        float(random.at_least_M[-1]),
        None if unknown or random.at_most_M is None else float(random.at_most_M[-1]),
        f"{random.num_stopped} of {drawn}",
        None if expected is None else sign * (value - expected) + 0.0,
    )


def _top_k_row(results: Results, top: TopK, value: float) -> tuple[Cell, ...]:
    return (
        f"one epoch of all, then {top.num_trials} in full",
        len(results.scored),
        top.epochs,
        f"trial {top.trial}",
        top.expected,
        top.at_least,
        top.at_most,
        f"{top.num_stopped} of {top.num_trials}",
        None if top.expected is None else _sign(results) * (value - top.expected) + 0.0,
    )
