"""Staged search: each search stage searches some parameters while the others are fixed.

They are fixed to the values of the best trial so far or, before there is one, to the values that
the space starts from. Every trial has all parameters, so that one study compares all the trials.
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
"""The path in a trial's config of the search stage in which it was tried."""


class StagePlan:
    """The search stages of a sweep: which trials belong to each, and what each one fixes.

    Args:
        space: the name of the search space.
        settings: the sweep's settings, with its stages and the values that they start from.
        searched: the parameters that the sampler draws, with their distributions.
        pinned: the parameters that the user has fixed.

    Raises:
        SearchSpaceError: if a parameter does not belong to exactly one stage, a stage has no
            parameter, or a parameter of a later stage has no value to start from.
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
        """The next trial's stage, after `num_started` trials; None if there is none (any more)."""
        for stage, end in zip(self._stages, self._ends, strict=True):
            if num_started < end:
                return stage
        return None

    def is_first(self, stage: Stage) -> bool:
        """Whether no stage comes before this one."""
        return stage == self._stages[0]

    def before(self, stage: Stage, trials: Sequence[TrialResult]) -> list[TrialResult]:
        """The trials that were tried in an earlier stage than this one."""
        later = {later.name for later in self._stages[self._stages.index(stage) :]}
        return [trial for trial in trials if trial.config and _stage_of(trial.config) not in later]

    def fixed(self, stage: Stage, best: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that this stage does not search, with the values they are fixed to.

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
            mistakes.append(f"stage {stage.name!r} has no parameter to search: {patterns}")
    for name in sorted(searched):
        homes = [stage for stage in stages if _searches(stage, name)]
        if len(homes) != 1:
            where = f"the stages {', '.join(s.name for s in homes)}" if homes else "no stage"
            mistakes.append(f"the parameter {name} belongs to {where}; it must belong to one")
        elif homes[0] != stages[0] and name not in start:
            mistakes.append(
                f"{name} is searched in a later stage: SWEEP['start'] must have its value"
            )
    for name, value in start.items():
        if name not in searched and name not in pinned:
            mistakes.append(f"SWEEP['start'] has {name}, which is not a parameter")
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
    """The number of trials after which each stage ends: one each, the rest by their shares."""
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
