"""Did the search earn its cost? What it picked, beside what simpler searches would have picked."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures.marks import metric_axis
from analysis.pictures.picture import Cell, Rows, picture, table
from analysis.pictures.style import ACCENT, COLOURS, INK, SECOND, new_figure
from analysis.results import Results
from analysis.worth import Worth, worth

_SOURCES = ("study.db", "trials/*/result.json", "sweep.yaml")


@picture(
    "Did the search earn its cost?",
    "The best value so far against the epochs that all trials spent together. Steps: the search, "
    "as its validations came in. Line and band: what random search with as many epochs would have "
    "picked, in the mean and from the 5 % to the 95 % quantile (Dodge et al., 2019, “Show Your "
    "Work”), if each of its trials trained in full. Diamond: the same trials, each for one epoch, "
    "then the best in full. The first, poor values lie outside the axis, so that later differences "
    "can be seen.",
    _SOURCES,
)
def search_against_simpler(results: Results) -> Figure | None:
    """None with fewer than two scored trials, or where there is nothing to compare with."""
    found = worth(results)
    if found is None or (found.random is None and found.top_k is None):
        return None
    figure = new_figure(height=3.4)
    axes = figure.add_subplot()
    drawn = [*found.best_R[np.isfinite(found.best_R)].tolist(), found.value]
    if found.random is not None:
        epochs_M = found.random.trial_epochs * np.arange(1, found.random.num_trials + 1)
        axes.fill_between(
            epochs_M, found.random.low_M, found.random.high_M, color=SECOND, alpha=0.15, linewidth=0
        )
        one = found.random.num_trials == 1
        axes.plot(
            epochs_M,
            found.random.expected_M,
            color=SECOND,
            marker="o" if one else None,
            label="random search, expected",
        )
        drawn += found.random.expected_M.tolist()
    axes.step(
        found.spent_R, found.best_R, where="post", color=ACCENT, linewidth=1.8, label="this search"
    )
    if found.top_k is not None:
        axes.plot(
            found.top_k.epochs,
            found.top_k.value,
            color=COLOURS[2],
            marker="D",
            markersize=8,
            linestyle="",
            markeredgecolor=INK,
            label=f"one epoch of everything, then the best {found.top_k.num_trials} in full",
        )
        drawn.append(found.top_k.value)
    axes.set_xlabel("epochs spent, all trials together")
    metric_axis(results, axes, drawn)
    _show_the_good(axes, found)
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def _show_the_good(axes: Axes, found: Worth) -> None:
    """Leave out the first poor values, beside which the later differences cannot be seen."""
    shown = found.best_R[np.isfinite(found.best_R)]
    if not len(shown):
        return
    ends = [found.value, float(shown[len(shown) // 20])]
    if found.random is not None:
        last_half = (found.random.num_trials - 1) // 2
        ends.append(float(found.random.expected_M[min(1, last_half)]))
    if found.top_k is not None:
        ends.append(found.top_k.value)
    ends = [end for end in ends if np.isfinite(end)]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low) or 0.01
    if axes.get_yscale() == "linear":
        axes.set_ylim(low - margin, high + margin)


@table(
    "What simpler searches would have picked",
    "All from the logged curves, with as many epochs as the search trained. Random search: the "
    "best of so many trials, drawn with replacement from this sweep's randomly drawn trials (with "
    "the samplers tpe and gp the first 10), in the mean, and the 5 % and 95 % quantiles, in "
    "closed form (Dodge et al., 2019). Of staged searches no trial is drawn from the whole space, "
    "so there is no such row. One epoch of everything: the trials of this sweep, of which the "
    "best after an epoch train on to their end. “Behind by” tells how much worse than this "
    "search; a negative number, how much better. “Cut short” counts the trials behind a figure "
    "that did not train to their end: they count with what they had reached, so that the other "
    "search might have picked something better. A failed trial gives nothing but costs: of the "
    "randomly drawn ones all their epochs, which make each of the others dearer; of the one epoch "
    "of everything at most the first. The epochs of the runs that confirm the winner are left "
    "out, and the figure of this search is its own, not the confirmed one. A sweep that is itself "
    "random search without stopping early differs from the random one by luck alone.",
    _SOURCES,
)
def worth_table(results: Results) -> Rows | None:
    """None with fewer than two scored trials, or where there is nothing to compare with."""
    found = worth(results)
    if found is None or (found.random is None and found.top_k is None):
        return None
    sign = 1 if results.larger_is_better else -1
    rows: list[tuple[Cell, ...]] = [
        ("this search", len(results.scored), found.epochs, f"trial {found.trial}", found.value)
        + (None,) * 4
    ]
    if found.random is not None:
        random = found.random
        expected = float(random.expected_M[-1])
        rows.append(
            (
                "random search",
                random.num_trials,
                random.num_trials * random.trial_epochs,
                f"the best of {random.num_trials}",
                expected,
                float(random.low_M[-1]),
                float(random.high_M[-1]),
                f"{random.num_lower_bounds} of {random.num_drawn_from}",
                sign * (found.value - expected) + 0.0,
            )
        )
    if found.top_k is not None:
        top = found.top_k
        rows.append(
            (
                f"one epoch of all, then {top.num_trials} in full",
                len(results.scored),
                top.epochs,
                f"trial {top.trial}",
                top.value,
                None,
                None,
                f"{top.num_lower_bounds} of {top.num_trials}",
                sign * (found.value - top.value) + 0.0,
            )
        )
    columns = (
        "search", "trials", "epochs", "picks", results.metric, "5 %", "95 %", "cut short",
        "behind by",
    )  # fmt: skip
    return Rows(columns, tuple(rows))
