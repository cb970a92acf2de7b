"""What the values of a parameter reached: the comparison tables of a study."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from analysis.folder import SweepFolderError
from analysis.openings import TestResult
from analysis.trials import TrialResult, has_score, rank, select_best
from trainables.config import TrialConfig, as_plain, flatten
from trainables.settings import nearest

ABSENT = "-"
"""The value of a setting that a trial does not have."""


@dataclass(frozen=True)
class Group:
    """The trials that agree in the settings compared by.

    Attributes:
        values: of those settings.
        num_trials: those with a result.
        best: the best of them.
        median: of the metric of their best epochs.
        worst: likewise.
        test: of the best trial, where the test set was opened for it.
    """

    values: tuple[Any, ...]
    num_trials: int
    best: TrialResult
    median: float
    worst: float
    test: TestResult | None

    @property
    def figures(self) -> dict[str, float | int]:
        """The columns of the table; those from `trial` on are of the best trial's best epoch.

        `class acc` is the mean class accuracy; `acc gap` is training minus validation accuracy,
        `loss gap` is validation minus training loss, and a gap only where both are the same loss:
        the training loss is the one trained on (smoothed, with a center or triplet term, of
        augmented images), the validation loss is plain cross-entropy. A forced opening of the test
        set is marked.
        """
        record = self.best.best
        assert record is not None
        figures: dict[str, float | int] = {
            "trials": self.num_trials,
            "worst": self.worst,
            "median": self.median,
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
            figures |= {"test acc": self.test.accuracy, "test loss": self.test.loss}
            figures |= {"forced": True} if self.test.forced else {}
        return figures


def compare(
    trials: Sequence[TrialResult],
    by: Sequence[str],
    metric: str,
    openings: Sequence[TestResult] = (),
) -> list[Group]:
    """Group a sweep's trials by the values of settings, the best group first.

    Args:
        trials: of the sweep; those without a result are left out.
        by: paths of settings, such as `model/freeze_policy`, searched or not.
        metric: what the best trial of a group is selected by.
        openings: of the test set.

    Raises:
        SweepFolderError: if no trial has a result, or none has such a setting.
    """
    scored = [trial for trial in trials if has_score(trial)]
    if not scored:
        raise SweepFolderError("no trial has a validation result to compare")
    members = defaultdict(list)
    known: set[str] = set()
    for trial in scored:
        assert trial.config is not None
        settings = _settings(trial.config)
        known |= set(settings)
        members[tuple(settings.get(path, ABSENT) for path in by)].append(trial)
    for path in by:
        if path not in known:
            raise SweepFolderError(f"--by {path}: no trial has this setting{nearest(path, known)}")
    tested = {opening.trial: opening for opening in openings}
    groups = [_group(values, group, metric, tested) for values, group in members.items()]
    return sorted(groups, key=lambda group: rank(group.best, metric), reverse=True)


def _group(
    values: tuple[Any, ...],
    trials: list[TrialResult],
    metric: str,
    tested: dict[int, TestResult],
) -> Group:
    best = select_best(trials, metric)
    assert best is not None
    in_order = sorted(trials, key=lambda trial: rank(trial, metric))
    scores = [getattr(trial.best, metric) for trial in in_order]
    return Group(values, len(trials), best, median(scores), scores[0], tested.get(best.number))


def _settings(config: TrialConfig) -> dict[str, Any]:
    """Every setting by its path; lists as text, so that they can be compared by."""
    flat = flatten(as_plain(config))
    return {path: str(v) if isinstance(v, list | dict) else v for path, v in flat.items()}
