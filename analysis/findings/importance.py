"""Which searched parameters matter for the metric, and in which direction."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import ArrayLike
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from scipy.stats import spearmanr

MIN_TRIALS = 5
"""The smallest number of trials for which importances and correlations are computed."""


@dataclass(frozen=True)
class Parameter:
    """A searched parameter, with its values in the trials of a study.

    Attributes:
        name: the path of the setting that the parameter sets.
        values: the value of each trial, by the index of the trial in the study; a trial may lack a
            conditional parameter.
        choices: the tried values of a categorical parameter, in the order of the search space;
            empty for a number.
        log: whether the parameter is searched on a logarithmic scale.
    """

    name: str
    values: dict[int, Any]
    choices: tuple[Any, ...]
    log: bool

    @property
    def varies(self) -> bool:
        """Whether several values were tried."""
        return len(set(map(repr, self.values.values()))) > 1

    def position(self, value: Any) -> float:
        """The position of a value on an axis: the number itself, or the index of the choice."""
        if not self.choices:
            return float(value)
        return float([repr(choice) for choice in self.choices].index(repr(value)))


@dataclass(frozen=True)
class Importance:
    """The relation between one parameter and the metric.

    Attributes:
        parameter: the parameter.
        share: its share in the importance of all parameters; None if Optuna cannot compute it.
        correlations: Spearman's rank correlation with the metric, as pairs of value and
            correlation: one pair with the value None for a number; for a categorical parameter one
            pair for each value, comparing it with all others. The correlation is None if it is
            undefined.
        num_trials: the number of trials with this parameter.
    """

    parameter: Parameter
    share: float | None
    correlations: tuple[tuple[Any, float | None], ...]
    num_trials: int

    @property
    def strongest(self) -> tuple[Any, float] | None:
        """The value with the strongest correlation (None for a number), and the correlation."""
        known = [(value, rho) for value, rho in self.correlations if rho is not None]
        return max(known, key=lambda pair: abs(pair[1]), default=None)


def parameters_of(study: optuna.Study) -> list[Parameter]:
    """The parameters of which a study tried several values, in the order of first occurrence."""
    trials = study.get_trials(deepcopy=False)
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    found = (_parameter(name, trials) for name in names)
    return [parameter for parameter in found if parameter.varies]


def importances(study: optuna.Study) -> list[Importance]:
    """Every parameter that varies, the most important first.

    The importance is Optuna's (PED-ANOVA: Watanabe et al., 2023): how much the values of the best
    tenth of the trials differ from those of all.

    Args:
        study: a study whose trials all have a value, such as `Results.best_values`.
    """
    scores_T = np.array([trial.value for trial in study.get_trials(deepcopy=False)], dtype=float)
    parameters = parameters_of(study)
    shares = _shares(study, [parameter.name for parameter in parameters], scores_T)
    found = [
        Importance(
            parameter,
            shares.get(parameter.name),
            tuple(_correlations(parameter, scores_T)),
            len(parameter.values),
        )
        for parameter in parameters
    ]
    return sorted(found, key=lambda one: one.share or 0.0, reverse=True)


def _parameter(name: str, trials: Sequence[FrozenTrial]) -> Parameter:
    values = {index: t.params[name] for index, t in enumerate(trials) if name in t.params}
    distributions = [t.distributions[name] for t in trials if name in t.distributions]
    tried = set(map(repr, values.values()))
    choices: dict[str, Any] = {}
    for distribution in distributions:
        if isinstance(distribution, CategoricalDistribution):
            choices |= {repr(choice): choice for choice in distribution.choices}
    log = any(isinstance(d, FloatDistribution | IntDistribution) and d.log for d in distributions)
    return Parameter(name, values, tuple(c for text, c in choices.items() if text in tried), log)


def _shares(study: optuna.Study, names: list[str], scores_T: ArrayLike) -> dict[str, float]:
    """Optuna's importances; empty if there are too few trials, or all have the same score."""
    scores_T = np.asarray(scores_T)
    if not names or len(scores_T) < MIN_TRIALS or np.ptp(scores_T[np.isfinite(scores_T)]) == 0:
        return {}
    with warnings.catch_warnings():
        # For a conditional parameter that few trials have or lack; the table shows how many.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        return optuna.importance.get_param_importances(study, params=names)


def _correlations(
    parameter: Parameter, scores_T: np.ndarray[Any, np.dtype[np.float64]]
) -> list[tuple[Any, float | None]]:
    scores_N = scores_T[list(parameter.values)]
    if not parameter.choices:
        return [(None, _spearman([float(v) for v in parameter.values.values()], scores_N))]
    tried = [repr(value) for value in parameter.values.values()]
    return [
        (choice, _spearman([float(value == repr(choice)) for value in tried], scores_N))
        for choice in parameter.choices
    ]


def _spearman(values_N: Sequence[float], scores_N: ArrayLike) -> float | None:
    """The rank correlation; None with too few trials, or if one of the two is constant."""
    scores_N = np.asarray(scores_N)
    if len(values_N) < MIN_TRIALS or len(set(values_N)) < 2 or len(set(scores_N.tolist())) < 2:
        return None
    return float(spearmanr(values_N, scores_N).statistic)
