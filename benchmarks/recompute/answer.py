"""What a report begins with, computed again: the headline, and the winner's figures."""

from collections import Counter
from statistics import fmean, stdev
from typing import Any

from benchmarks.recompute.cells import Near, Row, Told, table
from benchmarks.recompute.formulas import Pair, student_interval, wilson
from benchmarks.recompute.raw import Candidate, RawSweep
from benchmarks.recompute.test_set import mean_class_accuracy

_NAMES = {
    "val_accuracy": "validation accuracy",
    "val_mean_class_accuracy": "mean class accuracy on validation images",
    "val_loss": "validation loss",
}
FLOAT32 = 1e-5
"""By how much a loss may differ that PyTorch has computed in single precision."""


def headline(raw: RawSweep) -> list[tuple[str, float | None, list[str]]]:
    """Label and value of each of the large figures, and the numbers in the note below it."""
    facts = []
    if raw.opening:
        num_images = raw.opening["num_images"]
        facts.append(_accuracy("test accuracy", raw.opening["accuracy"], num_images))
    if raw.chosen:
        facts.append(_confirmed(raw, raw.chosen))
    if raw.winner and raw.winner.best:
        accuracy, num = raw.winner.best["val_accuracy"], raw.data.get("num_validation")
        facts.append(_accuracy("validation accuracy", accuracy, num))
    return [*facts, _trials(raw), _device_time(raw), _wall_time(raw)]


def _accuracy(label: str, share: float, num: int | None) -> tuple[str, float, list[str]]:
    if not num:
        return label, share, []
    low, high = wilson(round(share * num), num)
    return label, share, ["95", f"{low:.4f}", f"{high:.4f}", f"{num:,}"]


def _confirmed(raw: RawSweep, chosen: Candidate) -> tuple[str, float, list[str]]:
    values = [raw.value(run) for run in chosen.runs]
    low, high = interval_of_runs(raw, values)
    interval = [] if low is None else ["95", f"{low:.4f}", f"{high:.4f}"]
    note = [*interval, f"{stdev(values):.4f}", str(len(values)), f"{raw.value(chosen.trial):.4f}"]
    return f"{_NAMES[raw.metric]}, confirmed", fmean(values), note


def interval_of_runs(raw: RawSweep, values: list[float]) -> Pair:
    """Of the mean of runs; of a share within 0 and 1."""
    low, high = student_interval(values)
    if low is None or high is None or raw.metric == "val_loss":
        return low, high
    return max(0.0, low), min(1.0, high)


def _trials(raw: RawSweep) -> tuple[str, float, list[str]]:
    ended = sorted(Counter(trial.ended for trial in raw.search).items())
    runs = sum(len(candidate.runs) for candidate in raw.candidates)
    notes = [str(count) for _, count in ended] + ([str(runs)] if runs else [])
    return "trials", len(raw.search), notes


def _device_time(raw: RawSweep) -> tuple[str, float | None, list[str]]:
    gpus = raw.settings.get("gpus_per_trial") or 0
    gpus = 1 / (raw.trials_per_gpu or 1) if gpus == "auto" else gpus
    number, device = (gpus, "GPU") if gpus else (raw.settings.get("cpus_per_trial"), "CPU")
    runs = [run for candidate in raw.candidates for run in candidate.runs]
    last = [trial.log[-1] for trial in (*raw.search, *runs) if trial.log]
    seconds = sum(record["seconds"] for record in last)
    hours = number * seconds / 3600 if number and last else None
    epochs = [f"{sum(record['epoch'] for record in last):,.4g}"] if last else []
    return f"{device}-hours", hours, epochs


def _wall_time(raw: RawSweep) -> tuple[str, float | None, list[str]]:
    trials = [*raw.search, *(run for candidate in raw.candidates for run in candidate.runs)]
    started = [trial.started for trial in trials if trial.started]
    ended = [trial.completed for trial in trials if trial.completed]
    if not started or not ended:
        return "wall time", None, []
    return "wall time", (max(ended) - min(started)).total_seconds(), []


@table
def figures(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Training, validation and test figures of the winner, and the gaps between them."""
    del told, columns
    assert raw.winner is not None
    best = raw.winner.best
    assert best is not None
    train = ("training", raw.data.get("num_train"), best["train_accuracy"], best["train_loss"])
    classes = best["val_mean_class_accuracy"]
    num = raw.data.get("num_validation")
    validation = ("validation", num, best["val_accuracy"], best["val_loss"])
    rows: list[Row] = [
        (*train[:3], None, None, train[3], None),
        _with_interval(validation, classes),
        _gap(train, validation, None, classes),
    ]
    if raw.opening:
        test = ("test", raw.opening["num_images"], raw.opening["accuracy"], raw.opening["loss"])
        own = mean_class_accuracy(raw.test) if raw.test else None
        rows += [_with_interval(test, own), _gap(validation, test, classes, own)]
    return rows


def _with_interval(row: tuple[str, Any, float, float], classes: float | None) -> Row:
    name, num, share, loss = row
    return (name, num, share, *(wilson(round(share * num), num) if num else (None, None)), loss,
            classes)  # fmt: skip


def _gap(
    above: tuple[str, Any, float, float],
    below: tuple[str, Any, float, float],
    *classes: float | None,
) -> Row:
    first, second = classes
    both = None if first is None or second is None else first - second
    name = f"gap: {above[0]} to {below[0]}"
    return (name, None, above[2] - below[2], None, None, below[3] - above[3], both)


@table
def found(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """The searched parameters of the winner."""
    del told, columns
    assert raw.winner is not None
    return list(raw.winner.params.items())


def opened_again(raw: RawSweep) -> list[tuple[str, Any, Any]]:
    """The record of the winner's opening, held against the predictions: name, told, expected."""
    if raw.opening is None or raw.test is None:
        return []
    from benchmarks.recompute.formulas import losses

    said = raw.test
    hits = int((said.logits_NK.argmax(1) == said.labels_N).sum())
    loss = float(losses(said.logits_NK, said.labels_N).mean())
    return [
        ("accuracy", raw.opening["accuracy"], hits / len(said.labels_N)),
        ("loss", raw.opening["loss"], Near(loss, FLOAT32 * max(1.0, loss))),
        ("num_images", raw.opening["num_images"], len(said.labels_N)),
    ]
