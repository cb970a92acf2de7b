"""The sweep's Optuna sampler, which has no state of its own.

The draws of an Optuna sampler depend on all its earlier draws. This one draws each trial from a
separate random stream, derived from the sweep's seed and the trial's number, so that a suggestion
is a function of the study alone: a killed sweep resumes with the trials that it would have tried.
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
    """The sampler for these settings; a grid is enqueued, so its sampler never draws."""
    return SeededByTrial(settings.sampler, settings.seed)


class SeededByTrial(BaseSampler):
    """Delegates each trial to a new Optuna sampler, seeded by the trial's number.

    Args:
        name: the method: `tpe`, `gp`, `random` or `grid`.
        seed: the sweep's seed.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._name = name
        self._seed = seed
        self._of_trial: BaseSampler = RandomSampler(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Create the trial's sampler."""
        stream = np.random.SeedSequence([self._seed, trial.number, _SAMPLING])
        self._of_trial = _fresh(self._name, int(stream.generate_state(1)[0]))
        self._of_trial.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that the trial's sampler draws jointly."""
        return self._of_trial.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these parameters jointly, by the trial's sampler."""
        return self._of_trial.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter alone, by the trial's sampler."""
        return self._of_trial.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Notify the trial's sampler that the trial has ended."""
        self._of_trial.after_trial(study, trial, state, values)


_SAMPLING = 1
"""Separates this random stream from the one of the trial's own seed."""


def _fresh(name: str, seed: int) -> BaseSampler:
    match name:
        case "tpe":
            return TPESampler(seed=seed)
        case "gp":
            return GPSampler(seed=seed)
        case _:
            return RandomSampler(seed=seed)
