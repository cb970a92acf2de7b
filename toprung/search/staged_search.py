"""Staged search: each stage searches some parameters and leaves the others as they were found.

While a stage runs, the parameters of the other stages are fixed: to the values of the best trial
so far, or before there is one to the values that the space starts from. Every trial has all
parameters, so that the one study of the sweep compares them all.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from toprung.analysis.study.trials import TrialResult
from toprung.search.distributions import can_be, in_words
from toprung.search_spaces import SearchSpaceError
from toprung.settings import Stage, SweepSettings
from toprung.trainables.config import TrialConfig

STAGE_LABEL = "labels/stage"
"""The path in a trial's config of the stage in which it was tried."""


class StagePlan:
    """Which stage a sweep is in, and what it fixes. A sweep without stages is one stage.

    Args:
        space: the name of the search space.
        settings: the sweep's, with its stages and the values that it starts from.
        searched: the parameters that the sampler chooses, with what it chooses from.
        pinned: those that the user has fixed.

    Raises:
        SearchSpaceError: if a parameter belongs to no stage or to several, a stage has none, or a
            parameter of a later stage has no value to start from.
    """

    def __init__(
        self,
        space: str,
        settings: SweepSettings,
        searched: Mapping[str, BaseDistribution],
        pinned: Collection[str],
    ) -> None:
        self._stages = settings.stages
        self._ends = stage_ends(settings)
        if self._stages:
            _check(space, settings, searched, pinned)
        self._start = {k: value for k, value in settings.start.items() if k not in pinned}

    def stage_of(self, num_started: int) -> Stage | None:
        """The stage of the next trial, after so many; None without stages, or after the last."""
        for stage, end in zip(self._stages, self._ends, strict=True):
            if num_started < end:
                return stage
        return None

    def is_first(self, stage: Stage) -> bool:
        """Whether no stage comes before this one."""
        return stage == self._stages[0]

    def before(self, stage: Stage, trials: Sequence[TrialResult]) -> list[TrialResult]:
        """Those of these trials that were tried in an earlier stage."""
        later = {later.name for later in self._stages[self._stages.index(stage) :]}
        return [trial for trial in trials if trial.config and _stage_of(trial.config) not in later]

    def fixed(self, stage: Stage, best: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that this stage leaves alone, with their values.

        Args:
            stage: the stage.
            best: the parameters of the best trial so far; empty if there is none.
        """
        values = {**self._start, **best}
        return {name: value for name, value in values.items() if not _searches(stage, name)}


def _stage_of(config: TrialConfig) -> object:
    """The name of the stage in which a config was tried."""
    return config.labels.get(STAGE_LABEL.partition("/")[2])


def _check(
    space: str,
    settings: SweepSettings,
    searched: Mapping[str, BaseDistribution],
    pinned: Collection[str],
) -> None:
    stages, start = settings.stages, settings.start
    mistakes = []
    for stage in stages:
        if not any(_searches(stage, name) for name in searched):
            patterns = ", ".join(stage.searches)
            mistakes.append(f"stage {stage.name!r} has no parameter left to search: {patterns}")
    for name in sorted(searched):
        homes = [stage for stage in stages if _searches(stage, name)]
        if len(homes) != 1:
            where = f"the stages {', '.join(s.name for s in homes)}" if homes else "no stage"
            mistakes.append(f"the parameter {name} belongs to {where}; it must be one")
        elif homes[0] != stages[0] and name not in start:
            mistakes.append(f"{name}, of a later stage, has no value in SWEEP['start']")
    for name, value in start.items():
        if name not in searched and name not in pinned:
            mistakes.append(f"SWEEP['start'] has {name}, which is no parameter")
        elif name in searched and not can_be(value, searched[name]):
            mistakes.append(
                f"SWEEP['start']: {name} = {value!r} must be {in_words(searched[name])}"
            )
    if STAGE_LABEL in {*searched, *pinned}:
        mistakes.append(f"{STAGE_LABEL} is the label of the stage, so it cannot be set")
    if mistakes:
        raise SearchSpaceError("\n  ".join([f"search space {space}: its stages:", *mistakes]))


def _searches(stage: Stage, name: str) -> bool:
    return any(fnmatchcase(name, path) for path in stage.searches)


def stage_ends(settings: SweepSettings) -> list[int]:
    """After how many trials each stage ends: one for each, and the others by their shares."""
    spare = settings.trials - len(settings.stages)
    total = sum(stage.share for stage in settings.stages)
    parts = accumulate(stage.share for stage in settings.stages)
    return [number + round(spare * part / total) for number, part in enumerate(parts, start=1)]


def fixing_sampler(
    fixed: Mapping[str, Any], sampler: optuna.samplers.BaseSampler
) -> optuna.samplers.BaseSampler:
    """A sampler that gives these parameters these values, and leaves the others to `sampler`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.PartialFixedSampler(dict(fixed), sampler)
