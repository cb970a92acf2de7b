"""What went wrong in a sweep, sorted: each kind of failure, where it happens and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from toprung.analysis.findings.failure_region import Region, find_region
from toprung.analysis.findings.importance import parameters_of
from toprung.analysis.study.trials import TrialResult, read_trials
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.results import failures

IMPOSSIBLE = "impossible network"
"""The kind of what was refused before it began."""
UNSORTED = "unknown kind"
"""The kind of failures of which only the reason was kept."""

ADVICE = {
    failures.OUT_OF_MEMORY: "Run fewer trials at a time (--concurrency), or lower the upper end of "
    "training/batch_size, data/image_size or the network's size.",
    failures.GPU_OUT_OF_MEMORY: "Lower the upper end of training/batch_size, data/image_size or "
    "the network's size, or put fewer trials on a GPU: a larger --gpus-per-trial, or auto, which "
    "finds out how many fit.",
    failures.GPU_MISSING: "Mend the GPU's driver, or torch, on the machine that the reason names, "
    "or take it out of the cluster; then go on with toprung resume.",
    failures.DIVERGED: "Lower the upper end of optimizer/lr, or set training/gradient_clip_norm.",
    failures.BAD_DATA: "Mend or remove what the reason names, or leave out files that cannot be "
    "read (--skip-bad-images).",
    failures.CODE_ERROR: "Read the traceback and mend the code or the search space; a trial with a "
    "code error is not tried again.",
    failures.WORKER_LOST: "The trial's process or machine died each time that it was begun again "
    "from its checkpoint; look for the reason in the log of the machine (dmesg) and of Ray.",
    failures.DISK_FULL: "Free space where the sweep's folder and the cache lie, then go on with "
    "toprung resume.",
    failures.TIMED_OUT: "Allow more time between two reports (--trial-timeout), or lower the upper "
    "end of what makes an epoch slow: data/image_size or the network's size.",
    failures.STORE_AWAY: "See that every node can reach the sweep's object store, and may write to "
    "it, then go on with toprung resume.",
    IMPOSSIBLE: "Nothing has to be done: the sampler is told, and another config was tried; "
    "narrow the search space to propose fewer of them.",
    UNSORTED: "Read the reasons.",
}


@dataclass(frozen=True)
class FailureGroup:
    """The failed trials of one kind.

    Attributes:
        kind: one of `toprung.trainables.results.failures.KINDS`, `IMPOSSIBLE` or `UNSORTED`.
        numbers: of the trials, and of the runs that confirm one.
        region: where in the search space it happens; None where nothing stands out.
        reason: of the first of them.
        traceback: the first that was kept; empty if none was.
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
    """The failed and refused trials of a study by kind, the largest group first.

    Where it happens is asked of the search's trials that came to an end; those that were refused
    as impossible count among them only where that is what is asked.
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
    """Those of which it is known whether they failed so: one that still runs may yet."""
    unknown = () if kind == IMPOSSIBLE else (attributes.RUNNING, attributes.INFEASIBLE)
    return _of_search([trial for trial in trials if trial.ended not in unknown])
