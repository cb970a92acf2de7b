"""The beginning of a report: the winner, its figures, their cost, and how to use the model."""

import math
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from toprung.analysis.drawing.picture import Cell, Rows, table
from toprung.analysis.exporting.export import trial_of_export
from toprung.analysis.findings.results import Results
from toprung.analysis.models.intervals import UNKNOWN, Interval, share_interval
from toprung.analysis.provenance.starting_weights import seen_before, tested_before
from toprung.analysis.seal.words import reuse_in_words
from toprung.analysis.study.curves import read_curves
from toprung.analysis.study.trials import METRIC_NAMES
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.config import dump_config
from toprung.trainables.files.untrusted_files import read_lines
from toprung.trainables.provenance.overlap import HELD_OUT

_UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Fact:
    """One of the headline figures at the top of the report.

    Attributes:
        label: the figure's name.
        value: the figure; None if it is not known.
        text: the figure as it is shown.
        note: the context of the figure, in small print.
        source: the files that the figure comes from.
    """

    label: str
    value: float | None
    text: str
    note: str
    source: str


@dataclass(frozen=True)
class Use:
    """One way to use the model: what it does, and the text to copy."""

    what: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The beginning of a report, apart from its tables.

    Attributes:
        notices: what a reader must know before reading any figure.
        winner: which trial won, after which epoch, and by which metric.
        headline: the headline figures.
        config: the winner's config, as YAML.
        uses: how to use the winner's model.
        problem: why the answer could not be computed; empty if it was.
    """

    notices: tuple[str, ...] = ()
    winner: str = ""
    headline: tuple[Fact, ...] = ()
    config: str = ""
    uses: tuple[Use, ...] = ()
    problem: str = ""


def answer(results: Results) -> Answer:
    """The answer; an error in it must not prevent the rest of the report."""
    try:
        return Answer(
            tuple(notices(results)),
            winner_in_words(results),
            tuple(headline(results)),
            config(results),
            tuple(uses(results)),
        )
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        return Answer((f"The answer could not be computed: {problem}",), problem=problem)


def notices(results: Results) -> list[str]:
    """What a reader must know before reading any figure: what is missing, or was forced."""
    sweep, found = results.sweep, []
    asked = sweep.description["settings"].get("trials", "?")
    so_far = f"{len(results.trials)} of {asked} trials so far"
    match sweep.ended:
        case attributes.RUNNING:
            found.append(f"Partial: the sweep is still running, {so_far}; the winner may change.")
        case attributes.INTERRUPTED | attributes.KILLED as ended:
            found.append(
                f"Partial: the sweep was {ended}, {so_far}; the winner may change when it is "
                "resumed (toprung resume)."
            )
        case attributes.GAVE_UP:
            found.append(
                f"The sweep gave up, {so_far}: its first trials all failed for the same reason."
            )
        case attributes.TIME_BUDGET:
            found.append(f"The sweep was stopped by its time budget, {so_far}.")
    if results.winner is None:
        reasons = [trial.reason for trial in results.trials if trial.reason]
        because = f" The first reason: {reasons[0]}" if reasons else ""
        found.append(f"Partial: no trial has a validation result, so there is no winner.{because}")
    elif results.opening is None:
        found.append(_unopened(results))
    elif results.opening.forced:
        found.append(
            "The opening of the test set for this model was forced: the test set had been opened "
            "for another model before, the sweep had another winner, or it had not ended. The "
            "test figures are no longer unbiased."
        )
    config = results.winner.config if results.winner else None
    seen = [words for split in HELD_OUT for words in seen_before(sweep.folder, config, split)]
    found += [f"The winner: {words}: these figures are too optimistic." for words in seen]
    found += [
        f"The winner: {words}: its figures on that test set are too optimistic."
        for words in tested_before(sweep.folder, config)
    ]
    return found + _reuse(results)


def _reuse(results: Results) -> list[str]:
    """What else is known about openings of the test set, by this sweep or by others."""
    if results.winner is None:
        return []
    found = [f"The test set was {one}." for one in results.seal.unknown]
    if results.opening is not None and results.opening.num_models > 1:
        found.append(f"Not a fresh test set: {reuse_in_words(results.opening)}.")
    return found


def _unopened(results: Results) -> str:
    if results.sweep.description.get("data", {}).get("num_test") == 0:
        return "The data have no test set, so there are no test figures."
    if results.seal.unknown:
        return "Partial: there are no test figures for the winner."
    return (
        "Partial: the test set has not been opened for the winner. Its validation figures are "
        "optimistic, because it was selected by them."
    )


def winner_in_words(results: Results) -> str:
    """Which trial won, after which epoch, and by which metric; empty without a winner."""
    winner = results.winner
    if winner is None or winner.best is None or winner.config is None:
        return ""
    again = f" (trial {winner.confirms} with a fresh seed)" if winner.confirms is not None else ""
    confirmed = results.confirmation is not None and results.confirmation.chosen is not None
    return (
        f"Trial {winner.number}{again}, after epoch {winner.best.epoch:g} of "
        f"{winner.config.training.epochs}, selected by {METRIC_NAMES[results.metric]}"
        f"{', as its mean over runs with fresh seeds' if confirmed else ''}"
    )


def headline(results: Results) -> list[Fact]:
    """The headline figures."""
    facts = []
    if opening := results.opening:
        facts.append(
            _accuracy("test accuracy", opening.accuracy, opening.num_images, "sealed_test.json")
        )
    facts += _confirmed(results)
    if results.winner and results.winner.best:
        accuracy, number = results.winner.best.val_accuracy, _num_images(results, "num_validation")
        facts.append(_accuracy("validation accuracy", accuracy, number, "study.db, sweep.yaml"))
    return [*facts, _trials(results), _device_time(results), _wall_time(results)]


def _confirmed(results: Results) -> list[Fact]:
    """The mean of the winner's config over its runs with fresh seeds; empty if there are none.

    It is shown next to the figure of the model itself, which is the best of these runs.
    """
    chosen = results.confirmation.chosen if results.confirmation else None
    if chosen is None:
        return []
    note = (
        f"{chosen.spread_in_words}; the mean of {len(chosen.runs)} runs of "
        f"its config with fresh seeds. The search had reported {chosen.first:.4f}"
    )
    label = f"{METRIC_NAMES[results.metric]}, confirmed"
    return [Fact(label, chosen.mean, f"{chosen.mean:.4f}", note, "study.db")]


def _trials(results: Results) -> Fact:
    number, runs = len(results.trials), len(results.runs)
    ended = sorted(Counter(trial.ended for trial in results.trials).items())
    notes = [f"{count} {how}" for how, count in ended]
    notes += [f"and {runs} that confirm the best trials"] if runs else []
    return Fact("trials", number, f"{number:,}", ", ".join(notes), "study.db")


def _accuracy(label: str, accuracy: float, num_images: int | None, source: str) -> Fact:
    low, high = _interval(accuracy, num_images)
    note = f"95 % interval {low:.4f} to {high:.4f}, {num_images:,} images" if num_images else ""
    return Fact(label, accuracy, f"{accuracy:.4f}", note, source)


def _device_time(results: Results) -> Fact:
    """CPU-hours or GPU-hours of all trials and confirmation runs."""
    settings = results.sweep.description["settings"]
    gpus, cpus = _gpus_of_trial(results), settings.get("cpus_per_trial")
    device, number = ("GPU", gpus) if gpus else ("CPU", cpus)
    runs = read_curves(results.sweep.folder, [run.number for run in results.runs])
    last = [curve.records[-1] for curve in [*results.curves.values(), *runs.values()]]
    hours = number * sum(record.seconds for record in last) / 3600 if number and last else None
    return Fact(
        f"{device}-hours",
        hours,
        _UNKNOWN if hours is None else f"{hours:,.2g}" if hours < 10 else f"{hours:,.0f}",
        f"{sum(record.epoch for record in last):,.4g} epochs trained" if last else "",
        "trials/*/result.json, sweep.yaml",
    )


def _gpus_of_trial(results: Results) -> float:
    """GPUs per trial; with automatic packing, the last logged number of trials per GPU counts."""
    gpus = results.sweep.description["settings"].get("gpus_per_trial") or 0
    if gpus != "auto":
        return float(gpus)
    log = results.sweep.folder.decisions
    lines = read_lines(log) if log.is_file() else ()
    found = [re.search(rb'"trials_per_gpu": ([1-9]\d{0,5})\b', line) for line in lines]
    numbers = [int(match[1]) for match in found if match]
    return 1 / numbers[-1] if numbers else 1.0


def _wall_time(results: Results) -> Fact:
    trials = [*results.trials, *results.runs]
    started = [trial.started for trial in trials if trial.started]
    ended = [trial.completed for trial in trials if trial.completed]
    seconds = (max(ended) - min(started)).total_seconds() if started and ended else None
    return Fact(
        "wall time",
        seconds,
        _UNKNOWN if seconds is None else str(timedelta(seconds=round(seconds))),
        "hours, minutes and seconds from the first trial's start to the last trial's end",
        "study.db",
    )


@table(
    title="How good the winner is",
    caption=(
        "Intervals are Wilson's, for the number of images. Training figures are means over the "
        "epoch, on augmented images and with the loss that was trained on; validation and test "
        "losses are plain cross-entropy. A positive gap is a decline from one split to the next."
    ),
    sources=["study.db", "sealed_test.json", "test_predictions/*.npz", "sweep.yaml"],
)
def figures(results: Results) -> Rows | None:
    """Training, validation and test figures side by side, and the gaps between them."""
    if results.winner is None or results.winner.best is None:
        return None
    record, opening = results.winner.best, results.opening
    training = _Figures(
        "training", _num_images(results, "num_train"), record.train_accuracy, record.train_loss
    )
    validation = _Figures(
        "validation",
        _num_images(results, "num_validation"),
        record.val_accuracy,
        record.val_loss,
        record.val_mean_class_accuracy,
    )
    rows = [training.row(with_interval=False), validation.row(), training.gap(validation)]
    if opening:
        per_class = _mean_class_accuracy(results)
        test = _Figures("test", opening.num_images, opening.accuracy, opening.loss, per_class)
        rows += [test.row(), validation.gap(test)]
    columns = ("", "images", "accuracy", "95 % from", "to", "loss", "mean class accuracy")
    return Rows(columns, tuple(rows))


@dataclass(frozen=True)
class _Figures:
    """A row of the table of figures."""

    name: str
    num_images: int | None
    accuracy: float
    loss: float
    class_accuracy: float | None = None

    def row(self, *, with_interval: bool = True) -> tuple[Cell, ...]:
        known = with_interval and self.num_images
        low, high = _interval(self.accuracy, self.num_images) if known else (None, None)
        return (
            self.name,
            self.num_images,
            self.accuracy,
            low,
            high,
            self.loss,
            self.class_accuracy,
        )

    def gap(self, below: "_Figures") -> tuple[Cell, ...]:
        classes = (self.class_accuracy, below.class_accuracy)
        return (
            f"gap: {self.name} to {below.name}",
            None,
            self.accuracy - below.accuracy,
            None,
            None,
            below.loss - self.loss,
            None if classes[0] is None or classes[1] is None else classes[0] - classes[1],
        )


@table(
    title="Parameters found",
    caption="The searched parameters of the winner; the config below has every other setting.",
    sources=["study.db"],
)
def found(results: Results) -> Rows | None:
    """The searched parameters of the winner."""
    if results.winner is None or not results.winner.parameters:
        return None
    return Rows(("parameter", "value"), tuple(results.winner.parameters.items()))


def config(results: Results) -> str:
    """The winner's whole config as YAML; empty without a winner."""
    winner = results.winner
    return dump_config(winner.config) if winner and winner.config else ""


def uses(results: Results) -> list[Use]:
    """How to use the winner's model, beginning with the steps that have to be done first."""
    if results.winner is None:
        return []
    folder = results.sweep.folder
    exported = trial_of_export(folder.best) == results.winner.number
    sweep = shlex.quote(folder.address)
    first = [] if exported else [Use("Export it first", f"toprung export {sweep}")]
    home = folder.path
    if folder.store is not None:
        first.append(Use("Bring it to this machine", f"toprung fetch {sweep}"))
        home = Path(folder.path.name)
    best = home / folder.best.name
    trial = best / "trial.yaml"
    python = f"""from pathlib import Path
import toprung

model = toprung.load_model(Path({str(best)!r}))
model.predict(Path("image.jpg"))"""
    return [
        *first,
        Use("Classify images", f"toprung predict {shlex.quote(str(best))} IMAGE…"),
        Use("From Python", python),
        Use("Train it again", f"toprung run --config {shlex.quote(str(trial))}"),
    ]


def _num_images(results: Results, which: str) -> int | None:
    number: int | None = results.sweep.description.get("data", {}).get(which)
    return number


def _interval(accuracy: float, num_images: int | None) -> Interval:
    if num_images is None or not math.isfinite(accuracy):
        return UNKNOWN
    return share_interval(round(accuracy * num_images), num_images)


def _mean_class_accuracy(results: Results) -> float | None:
    """The mean class accuracy on the test images; None if the predictions were not kept."""
    try:
        scores = results.test_scores
    except SweepFolderError:  # reported by the parts that show the predictions
        return None
    return scores.mean_class_accuracy.value if scores and scores.mean_class_accuracy else None
