"""Every combination of a define-by-run search space.

Optuna's own BruteForceSampler takes .2 s for each combination if a parameter has a million values.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from toprung.errors import ToprungError


class _Walk(optuna.samplers.RandomSampler):
    """Gives each trial the next combination, in the order of an odometer.

    `_ahead` has the current and the remaining values of each parameter, the current one first; the
    parameters are in the order in which the space asks for them.
    """

    def __init__(self, max_values: int) -> None:
        super().__init__()
        self._max_values = max_values
        self._ahead: dict[str, list[Any]] = {}
        self.endless: list[str] = []

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The current value of this parameter."""
        del study, trial
        if param_name not in self._ahead:
            self._ahead[param_name] = self._values(param_name, param_distribution)
        return self._ahead[param_name][0]

    def advance(self) -> bool:
        """Move on to the next combination; False if that was the last one."""
        while self._ahead:
            name, values = self._ahead.popitem()
            if len(values) > 1:
                self._ahead[name] = values[1:]
                return True
        return False

    def _values(self, name: str, distribution: BaseDistribution) -> list[Any]:
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)
        assert isinstance(distribution, IntDistribution | optuna.distributions.FloatDistribution)
        if distribution.step is None:
            self.endless.append(name)
            return [distribution.low]
        low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
        count = int((Decimal(str(distribution.high)) - low) / step) + 1
        kind = int if isinstance(distribution, IntDistribution) else float
        return [kind(low + k * step) for k in islice(range(count), self._max_values)]


def combinations(ask: Callable[[optuna.Trial], object], max_number: int) -> list[dict[str, Any]]:
    """Every combination of the parameters that `ask` asks a trial for.

    Raises:
        ToprungError: if the combinations are infinitely many, or more than `max_number`.
    """
    walk = _Walk(max_number + 1)
    study = optuna.create_study(sampler=walk)
    found: list[dict[str, Any]] = []
    while not found or walk.advance():
        if len(found) == max_number:
            raise ToprungError(
                f"sampler = 'grid': there are more than {max_number} combinations; use another "
                "sampler, or fix parameters with --set"
            )
        trial = study.ask()
        ask(trial)
        if walk.endless:
            raise ToprungError(
                f"sampler = 'grid': the grid is infinite, because of {', '.join(walk.endless)}: "
                "without a step; give a step or choices, or fix the value with --set"
            )
        found.append(trial.params)
    return found
