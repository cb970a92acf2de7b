"""The failures in a sweep, by kind: where in the search space they happen, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from toprung.analysis.findings.failure_region import Region, find_region
from toprung.analysis.findings.importance import parameters_of
from toprung.analysis.study.trials import TrialResult, read_trials
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.results import failures

IMPOSSIBLE = "impossible network"
"""The kind of configs that were rejected before training."""
UNSORTED = "unknown kind"
"""The kind of failures for which only the reason was kept."""

ADVICE = {
    failures.OUT_OF_MEMORY: "Run fewer trials at a time (--concurrency), or lower the upper end of "
    "training/batch_size, data/image_size or the network's size.",
    failures.GPU_OUT_OF_MEMORY: "Lower the upper end of training/batch_size, data/image_size or "
    "the network's size, or put fewer trials on a GPU: a larger --gpus-per-trial, or auto, which "
    "finds out how many fit.",
    failures.GPU_MISSING: "Fix the GPU driver, or torch, on the machine that the reason names, or "
    "remove that machine from the cluster; then resume the sweep (toprung resume).",
    failures.DIVERGED: "Lower the upper end of optimizer/lr, or set training/gradient_clip_norm.",
    failures.BAD_DATA: "Fix or remove the file that the reason names, or leave out files that "
    "cannot be read (--skip-bad-images).",
    failures.CODE_ERROR: "Read the traceback and fix the code or the search space; a trial with a "
    "code error is not retried.",
    failures.WORKER_LOST: "The trial's process or machine died each time that the trial was "
    "restarted from its checkpoint; look for the reason in the machine's log (dmesg) and in Ray's.",
    failures.DISK_FULL: "Free disk space for the sweep's folder and the cache, then resume the "
    "sweep (toprung resume).",
    failures.TIMED_OUT: "Allow more time between two reports (--trial-timeout), or lower the upper "
    "end of what makes an epoch slow: data/image_size or the network's size.",
    failures.STORE_AWAY: "Check that every node can reach the sweep's object store and may write "
    "to it, then resume the sweep (toprung resume).",
    IMPOSSIBLE: "No action is needed: the sampler learns of it, and another config was tried; "
    "narrow the search space to propose fewer of them.",
    UNSORTED: "Read the reasons.",
}


@dataclass(frozen=True)
class FailureGroup:
    """The failed trials of one kind.

    Attributes:
        kind: one of `toprung.trainables.results.failures.KINDS`, `IMPOSSIBLE` or `UNSORTED`.
        numbers: the numbers of the trials and confirmation runs.
        region: where in the search space the failure happens; None if no region stands out.
        reason: the reason of the first failed trial.
        traceback: the first traceback that was kept; empty if none was.
    """

    kind: str
    numbers: tuple[int, ...]
    region: Region | None
    reason: str
    traceback: str

    @property
    def advice(self) -> str:
        """What to do, in one sentence."""
        return ADVICE[self.kind]


def failure_groups(study: optuna.Study) -> list[FailureGroup]:
    """The failed and rejected trials of a study by kind, the largest group first.

    The region of a kind is computed from the trials of the search that have ended; trials that
    were rejected as impossible count only for the region of impossible networks.
    """
    trials = read_trials(study)
    by_kind: dict[str, list[TrialResult]] = {}
    for trial in trials:
        if kind := kind_of(trial):
            by_kind.setdefault(kind, []).append(trial)
    parameters = parameters_of(study) if by_kind else []
    tracebacks = tracebacks_of(study)
    groups = [
        FailureGroup(
            kind,
            tuple(trial.number for trial in failed),
            find_region(parameters, _of_search(failed), _comparable(kind, trials)),
            failed[0].reason,
            next((tracebacks[t.number] for t in failed if t.number in tracebacks), ""),
        )
        for kind, failed in by_kind.items()
    ]
    return sorted(groups, key=lambda group: len(group.numbers), reverse=True)


def kind_of(trial: TrialResult) -> str | None:
    """The kind of a trial's failure; None if it did not fail."""
    if trial.ended == attributes.INFEASIBLE:
        return IMPOSSIBLE
    if trial.ended != attributes.FAILED:
        return None
    return trial.failure if trial.failure in failures.KINDS else UNSORTED


def tracebacks_of(study: optuna.Study) -> dict[int, str]:
    """The traceback of every trial that has one, by the trial's number."""
    return {
        trial.number: str(trial.user_attrs[attributes.TRACEBACK])
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get(attributes.TRACEBACK)
    }


def _of_search(trials: Sequence[TrialResult]) -> list[int]:
    return [trial.number for trial in trials if trial.confirms is None]


def _comparable(kind: str, trials: Sequence[TrialResult]) -> list[int]:
    """The trials that are known to have failed this way or not; a running trial may still fail."""
    unknown = () if kind == IMPOSSIBLE else (attributes.RUNNING, attributes.INFEASIBLE)
    return _of_search([trial for trial in trials if trial.ended not in unknown])
