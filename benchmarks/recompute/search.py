"""The course of the search, and what the values of its settings reached."""

import re
from collections import defaultdict
from statistics import median
from typing import Any

import numpy as np

from benchmarks.recompute.cells import LeftOut, Row, Told, keyed, table
from benchmarks.recompute.formulas import spearman
from benchmarks.recompute.raw import RawSweep, RawTrial

_MAX_REASONS = 20
_SHARE = LeftOut("Optuna's own estimate (PED-ANOVA): other code would make another one")
_RANGE = re.compile(r"(\S+) to (\S+)")
_ABSENT = "-"
_COLUMNS = {
    "train acc": "train_accuracy",
    "val acc": "val_accuracy",
    "class acc": "val_mean_class_accuracy",
    "train loss": "train_loss",
    "val loss": "val_loss",
    "epoch": "epoch",
}


@table
def how_trials_ended(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """How many trials ended in each way, for each reason."""
    del columns
    found = defaultdict(list)
    for trial in raw.search:
        found[trial.ended, trial.attrs.get("reason", "")].append(trial.number)
    reasons = sorted((key for key in found if key[1]), key=lambda key: -len(found[key]))
    for key in reasons[_MAX_REASONS:]:
        found["", "other reasons"] += found.pop(key)
    expected: dict[Row, Row] = {
        key: (len(numbers), _some(sorted(numbers))) for key, numbers in found.items()
    }
    return keyed(told, 2, expected)


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")


@table
def rungs_table(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Of each rung: the trials that came to it, went on, and were stopped there."""
    del told, columns
    factor, limit = raw.settings["reduction_factor"], raw.settings["max_epochs"]
    heights = [raw.settings["grace_epochs"]]
    while heights[-1] * factor < limit:
        heights.append(heights[-1] * factor)
    ends = [(trial.ended, trial.log[-1]["epoch"]) for trial in raw.search if trial.log]
    rows: list[Row] = []
    for height, above in zip(heights, [*heights[1:], limit], strict=True):
        if height >= limit:
            continue
        came = [(ended, epoch) for ended, epoch in ends if epoch >= height]
        here = [ended == "stopped early" and epoch < above for ended, epoch in came]
        beyond = [epoch > height and not stop for (_, epoch), stop in zip(came, here, strict=True)]
        stopped, on = sum(here), sum(beyond)
        share = on / (on + stopped) if on + stopped else None
        rows.append((height, len(came), on, stopped, len(came) - on - stopped, share, 1 / factor))
    return [*rows, (limit, sum(epoch >= limit for _, epoch in ends), *[None] * 5)]


@table
def importance_table(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """How many trials have a parameter, and its rank correlation with the metric."""
    del columns
    scored = raw.scored
    names = dict.fromkeys(name for trial in scored for name in trial.params)
    varying = {n for n in names if len({repr(t.params[n]) for t in scored if n in t.params}) > 1}
    rows: list[Row] = []
    for name, _, _, value, _ in told:
        having = [trial for trial in scored if name in trial.params]
        of_choice = [float(str(trial.params[name]) == value) for trial in having]
        numbers = of_choice if value else [float(trial.params[name]) for trial in having]
        rho = spearman(numbers, [raw.value(trial) for trial in having])
        rows.append((name, len(having), _SHARE, value, rho))
    missing = varying - {row[0] for row in told}
    return [*rows, *((name,) for name in sorted(missing))]


@table
def comparison_table(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """What the trials with each value of a setting reached."""
    rows: list[Row] = []
    for path, value, *_ in told:
        members = [t for t in raw.scored if _is_of(t.settings.get(path, _ABSENT), value)]
        if not members:
            rows.append(("no trial has this value",))
            continue
        figures = _figures(raw, members)
        rows.append((path, value, *(figures.get(name) for name in columns[2:])))
    for path in dict.fromkeys(row[0] for row in told):  # no trial may be left out, or told twice
        num = sum(row[2] for row in told if row[0] == path)
        if num != len(raw.scored):
            rows.append((path, f"{len(raw.scored)} trials, of which {num} were told"))
    return rows


def _is_of(value: Any, label: str) -> bool:
    """Whether a value stands under this label: its text, or a range that it is in."""
    if _text(value) == label:
        return True
    found = _RANGE.fullmatch(label)
    if not found or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        low, high = map(float, found.groups())
    except ValueError:
        return False
    return low <= float(_text(value)) <= high


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figures(raw: RawSweep, members: list[RawTrial]) -> dict[str, Any]:
    in_order = sorted(members, key=raw.rank, reverse=True)
    best, values = in_order[0], [raw.value(trial) for trial in in_order]
    record = best.best
    assert record is not None
    with np.errstate(invalid="ignore"):
        lower, upper = np.quantile(values, [0.25, 0.75]).tolist()
    figures = {
        "trials": len(members),
        "best": values[0],
        "median": median(values),
        "lower quartile": lower,
        "upper quartile": upper,
        "worst": values[-1],
        "trial": best.number,
        "acc gap": record["train_accuracy"] - record["val_accuracy"],
        "loss gap": record["val_loss"] - record["train_loss"],
    }
    figures |= {column: record[key] for column, key in _COLUMNS.items()}
    tested = _tested(raw)
    test = next((tested[trial.number] for trial in in_order if trial.number in tested), None)
    if test is not None:
        figures["tested"] = test["trial"]
        figures |= {"test acc": test["accuracy"], "test loss": test["loss"]}
        figures |= {"forced": True} if test["forced"] else {}
        num_models = 1 + (test.get("earlier") or {}).get("models", 0)
        figures |= {"models on test set": num_models} if num_models > 1 else {}
    return figures


def _tested(raw: RawSweep) -> dict[int, dict[str, Any]]:
    """Openings by the trial of the search; one that was not forced before one that was."""
    confirms = {trial.number: trial.attrs.get("confirms") for trial in raw.trials}
    found: dict[int, dict[str, Any]] = {}
    for opening in sorted(raw.openings, key=lambda one: bool(one["forced"])):
        confirmed = confirms.get(opening["trial"])
        found.setdefault(opening["trial"] if confirmed is None else confirmed, opening)
    return found
