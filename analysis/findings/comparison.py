"""The comparison tables: results by the values of a setting, and of several sweeps."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from toprung.analysis.provenance.starting_weights import read_starting_weights
from toprung.analysis.seal.evidence import Seal, read_seal
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.reuse import reuse_among
from toprung.analysis.study.trials import TrialResult, has_score, rank, read_trials, select_best
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.config import TrialConfig, as_plain, flatten
from toprung.trainables.system.typed_settings import nearest

if TYPE_CHECKING:
    from toprung.analysis.study.sweep_record import SweepRecord

ABSENT = "-"
"""The value of a setting that a trial does not have."""
_NUM_RANGES = 5
_IN_RANGE = 4
"""The smallest number of different values in a range, if there are more than two ranges."""


@dataclass(frozen=True)
class Group:
    """The trials that agree in the settings to compare by.

    Attributes:
        values: the values of those settings.
        num_trials: the number of trials with a result.
        best: the best of these trials.
        median: the median of the metric at the best epochs of the trials.
        lower_quartile: the value of that metric below which a quarter of the trials lies.
        upper_quartile: the value of that metric above which a quarter of the trials lies.
        worst: the worst value of that metric.
        test: the opening of the test set for one of the trials, or for a run that confirmed one;
            if there are several, that of the best trial.
    """

    values: tuple[Any, ...]
    num_trials: int
    best: TrialResult
    median: float
    lower_quartile: float
    upper_quartile: float
    worst: float
    test: TestResult | None

    @property
    def figures(self) -> dict[str, float | int]:
        """The columns of the table; those from `trial` on describe the best trial's best epoch.

        `class acc` is the mean class accuracy; `acc gap` is training minus validation accuracy;
        `loss gap` is validation minus training loss, and is meaningful only if both are the same
        loss: the training loss is the one trained on (smoothed, with a center or triplet term, on
        augmented images), the validation loss is plain cross-entropy. `tested` is the trial whose
        model has the test figures; a forced opening of the test set is marked, and if its images
        had been opened for other models, the number of models by then is added.
        """
        record = self.best.best
        assert record is not None
        figures: dict[str, float | int] = {
            "trials": self.num_trials,
            "worst": self.worst,
            "lower quartile": self.lower_quartile,
            "median": self.median,
            "upper quartile": self.upper_quartile,
            "trial": self.best.number,
            "epoch": record.epoch,
            "train acc": record.train_accuracy,
            "val acc": record.val_accuracy,
            "class acc": record.val_mean_class_accuracy,
            "acc gap": record.train_accuracy - record.val_accuracy,
            "train loss": record.train_loss,
            "val loss": record.val_loss,
            "loss gap": record.val_loss - record.train_loss,
        }
        if self.test is not None:
            figures["tested"] = self.test.trial
            figures |= {"test acc": self.test.accuracy, "test loss": self.test.loss}
            figures |= {"forced": True} if self.test.forced else {}
            num_models = self.test.num_models
            figures |= {"models on test set": num_models} if num_models > 1 else {}
        return figures


@dataclass(frozen=True)
class Comparison:
    """Groups of trials from one sweep or several.

    Attributes:
        columns: the names of a group's values: settings, preceded by `sweep` if there are several.
        groups: the groups, the best first.
        warnings: reasons why the figures of the sweeps are not directly comparable.
    """

    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    warnings: tuple[str, ...]


def compare(
    trials: Sequence[TrialResult],
    by: Sequence[str],
    metric: str,
    openings: Mapping[int, TestResult] | None = None,
) -> list[Group]:
    """Group the trials of a sweep by the values of settings, the best group first.

    Args:
        trials: the trials of the sweep; those without a result are left out.
        by: paths of settings, such as `model/freeze_policy`, searched or not.
        metric: the metric that selects the best trial of a group.
        openings: openings of the test set, by trial (see `openings_of`).

    Raises:
        SweepFolderError: if no trial has a result, or no trial has one of the settings.
    """
    scored = [trial for trial in trials if has_score(trial)]
    if not scored:
        raise SweepFolderError("no trial has a validation result to compare")
    check_paths(by, scored)
    return in_order(_groups(scored, by, metric, openings or {}), metric)


def compare_sweeps(sweeps: Sequence["SweepRecord"], by: Sequence[str] = ()) -> Comparison:
    """Group the trials of each sweep by the values of settings, or by sweep without settings.

    Raises:
        SweepFolderError: if the sweeps select by different metrics, a sweep is given twice, no
            trial has a result, or no trial has one of the settings.
    """
    metric = _common_metric(sweeps)
    names = _names(sweeps)
    scored = [[trial for trial in sweep.trials() if has_score(trial)] for sweep in sweeps]
    everything = [trial for trials in scored for trial in trials]
    if not everything:
        raise SweepFolderError("no trial has a validation result to compare")
    check_paths(by, everything)
    seals = [read_seal(sweep) for sweep in sweeps]
    found = [
        replace(group, values=(name, *group.values)) if len(sweeps) > 1 else group
        for sweep, name, trials, seal in zip(sweeps, names, scored, seals, strict=True)
        for group in _groups(trials, by, metric, openings_of(sweep, seal))
    ]
    named = list(zip(names, sweeps, scored, strict=True))
    empty = [f"{name}: no trial has a validation result" for name, _, own in named if not own]
    partial = [f"{name}: is partial ({one.ended})" for name, one, _ in named if one.is_partial]
    seen = [line for name, one, own in named for line in _seen_before(name, one, own)]
    sealed = list(zip(names, seals, strict=True))
    unknown = [f"{name}: the test set was {one}" for name, seal in sealed for one in seal.unknown]
    return Comparison(
        ("sweep", *by) if len(sweeps) > 1 else tuple(by),
        tuple(in_order(found, metric)),
        (*empty, *partial, *_differences(sweeps), *seen, *unknown, *reuse_among(sealed)),
    )


def openings_of(sweep: "SweepRecord", seal: Seal) -> dict[int, TestResult]:
    """The openings of the test set, by the trial of the search that was tested or confirmed.

    If a trial has several, the one that was not forced, else the first. An opening counts only if
    the trial was not trained further after it.
    """
    trials = {trial.number: trial for trial in read_trials(sweep.study)}
    openings: dict[int, TestResult] = {}
    for opening in sorted(seal.results, key=lambda one: one.forced):
        trial = trials.get(opening.trial)
        if trial is not None and opening.precedes_end_of(trial):
            continue
        confirmed = trial.confirms if trial else None
        openings.setdefault(opening.trial if confirmed is None else confirmed, opening)
    return openings


def by_value(trials: Iterable[TrialResult], path: str, most: int) -> dict[str, list[TrialResult]]:
    """The trials by their value of a setting: numbers in order, trials without the setting last.

    More than `most` different numbers are grouped into up to five ranges, with about the same
    number of different values each.
    """
    members: dict[Any, list[TrialResult]] = defaultdict(list)
    for trial in trials:
        assert trial.config is not None
        members[settings_of(trial.config).get(path, ABSENT)].append(trial)
    numbers = sorted(v for v in members if isinstance(v, int | float) and not isinstance(v, bool))
    others = sorted((v for v in members if v not in numbers and v != ABSENT), key=str)
    groups = {str(value): members[value] for value in others}
    if len(numbers) > most:
        groups |= _ranges({number: members[number] for number in numbers})
    else:
        groups |= {_number_text(number): members[number] for number in numbers}
    return groups | ({ABSENT: members[ABSENT]} if ABSENT in members else {})


def settings_of(config: TrialConfig) -> dict[str, Any]:
    """Every setting by its path; lists as text, so that trials can be grouped by them."""
    flat = flatten(as_plain(config))
    return {path: str(v) if isinstance(v, list | dict) else v for path, v in flat.items()}


def _ranges(members: Mapping[float, list[TrialResult]]) -> dict[str, list[TrialResult]]:
    num_ranges = min(_NUM_RANGES, max(2, len(members) // _IN_RANGE))
    parts = [part.tolist() for part in np.array_split(list(members), num_ranges)]
    return {
        f"{_number_text(part[0])} to {_number_text(part[-1])}": [
            trial for number in part for trial in members[number]
        ]
        for part in parts
    }


def _number_text(number: float) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def check_paths(by: Sequence[str], scored: Sequence[TrialResult]) -> None:
    """Check that every setting exists.

    Raises:
        SweepFolderError: if a setting is in none of the trials.
    """
    known: set[str] = set()
    for trial in scored:
        assert trial.config is not None
        known |= set(settings_of(trial.config))
    for path in by:
        if path not in known:
            raise SweepFolderError(f"--by {path}: no trial has this setting{nearest(path, known)}")


def _groups(
    scored: Sequence[TrialResult],
    by: Sequence[str],
    metric: str,
    openings: Mapping[int, TestResult],
) -> list[Group]:
    members = defaultdict(list)
    for trial in scored:
        assert trial.config is not None
        settings = settings_of(trial.config) if by else {}
        members[tuple(settings.get(path, ABSENT) for path in by)].append(trial)
    return [group_of(values, group, metric, openings) for values, group in members.items()]


def group_of(
    values: tuple[Any, ...],
    trials: Sequence[TrialResult],
    metric: str,
    openings: Mapping[int, TestResult],
) -> Group:
    """The group of these trials, which all have a result."""
    best = select_best(trials, metric)
    assert best is not None
    in_order = sorted(trials, key=lambda trial: rank(trial, metric), reverse=True)
    scores = [getattr(trial.best, metric) for trial in in_order]
    with np.errstate(invalid="ignore"):  # quantiles between infinite losses
        lower, upper = np.quantile(scores, [0.25, 0.75]).tolist()
    tested = [openings[trial.number] for trial in in_order if trial.number in openings]
    return Group(
        values,
        len(trials),
        best,
        median=median(scores),
        lower_quartile=lower,
        upper_quartile=upper,
        worst=scores[-1],
        test=tested[0] if tested else None,
    )


def in_order(groups: Sequence[Group], metric: str) -> list[Group]:
    """The groups in order, the one with the best trial first."""
    return sorted(groups, key=lambda group: rank(group.best, metric), reverse=True)


def _common_metric(sweeps: Sequence["SweepRecord"]) -> str:
    metrics = {sweep.metric for sweep in sweeps}
    if len(metrics) > 1:
        each = ", ".join(f"{sweep.name} by {sweep.metric}" for sweep in sweeps)
        raise SweepFolderError(f"the sweeps select by different metrics: {each}")
    return metrics.pop()


def _names(sweeps: Sequence["SweepRecord"]) -> list[str]:
    """The names of the sweeps; their paths if two have the same name."""
    paths = [str(sweep.folder.path.resolve()) for sweep in sweeps]
    for path in paths:
        if paths.count(path) > 1:
            raise SweepFolderError(f"{path}: is given twice")
    names = [sweep.name for sweep in sweeps]
    return names if len(set(names)) == len(names) else paths


def _seen_before(name: str, sweep: "SweepRecord", scored: Sequence[TrialResult]) -> Iterator[str]:
    """Warnings about images of the sweep that its trials' starting weights were trained with."""
    for known in read_starting_weights(sweep.folder.starting_weights):
        if known.overlap is None:
            continue
        weights = [trial.config and trial.config.model.weights for trial in scored]
        count, file = weights.count(known.weights), Path(known.weights).name
        whose = f"the weights that {count} of its {len(scored)} trials started from ({file})"
        if count:
            yield from (f"{name}: {sentence}" for sentence in known.overlap.all_in_words(whose))


def _differences(sweeps: Sequence["SweepRecord"]) -> list[str]:
    digests = {
        what: {sweep.description.get("data", {}).get(key) for sweep in sweeps}
        for what, key in (("training or validation", "sha256"), ("test", "test_sha256"))
    }
    return [
        f"the sweeps have different {what} images: their figures on these are not comparable"
        for what, found in digests.items()
        if len(found) > 1
    ]
