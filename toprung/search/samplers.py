"""The sweep's Optuna sampler, without a memory of its own.

What a sampler of Optuna draws depends on all that it drew before. This one draws each trial from a
stream of its own, derived from the sweep's seed and the trial's number, so that a suggestion is a
function of the study alone: a sweep that was killed goes on with what it would have tried anyway.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from toprung.settings import SweepSettings


def sampler_of(settings: SweepSettings) -> BaseSampler:
    """The sampler of these settings; a grid is enqueued, so its sampler is never asked."""
    return SeededByTrial(settings.sampler, settings.seed)


class SeededByTrial(BaseSampler):
    """A fresh sampler of this name for each trial.

    Args:
        name: `tpe`, `gp`, `random` or `grid`.
        seed: the sweep's.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._name = name
        self._seed = seed
        self._of_trial: BaseSampler = RandomSampler(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Take a sampler that has drawn nothing yet."""
        stream = np.random.SeedSequence([self._seed, trial.number, _SAMPLING])
        self._of_trial = _fresh(self._name, int(stream.generate_state(1)[0]))
        self._of_trial.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the sampler of this name."""
        return self._of_trial.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler of this name."""
        return self._of_trial.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the sampler of this name."""
        return self._of_trial.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the sampler of this name."""
        self._of_trial.after_trial(study, trial, state, values)


_SAMPLING = 1
"""Tells this stream from the one of the trial's own seed."""


def _fresh(name: str, seed: int) -> BaseSampler:
    match name:
        case "tpe":
            return TPESampler(seed=seed)
        case "gp":
            return GPSampler(seed=seed)
        case _:
            return RandomSampler(seed=seed)
