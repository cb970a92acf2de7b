"""From an Optuna trial to a trial's config: the space's draw, the user's settings, the checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from toprung.errors import ToprungError
from toprung.search.grid import combinations
from toprung.search.staged_search import STAGE_LABEL, StagePlan
from toprung.search_spaces import PinnedTrial, SearchSpace, SearchSpaceError
from toprung.settings import SweepSettings
from toprung.trainables.config import TrialConfig, as_plain, flatten
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.system.secrecy import is_secret
from toprung.trainables.system.typed_settings import ConfigError, nearest, parse, setting_paths

NUM_REHEARSALS = 50
"""How many random draws of a space are checked before its sweep starts."""
MAX_GRID = 10_000


@dataclass(frozen=True)
class Rehearsal:
    """Results of random draws of a space: parameters, example configs, impossible networks."""

    parameters: dict[str, optuna.distributions.BaseDistribution]
    configs: tuple[TrialConfig, ...]
    num_impossible: int


class Proposals:
    """Makes trial configs out of Optuna trials, for one space and one sweep.

    A `--set` path that the space asks for as a parameter is pinned wherever it asks for it; any
    other path overrides the setting in every config.
    """

    def __init__(
        self, space: SearchSpace, settings: SweepSettings, overrides: Mapping[str, Any]
    ) -> None:
        self._space = space
        self._settings = settings
        self._overrides = dict(overrides)
        self._parameters: set[str] = set()
        self.rehearsal = self._rehearse()
        searched = self.rehearsal.parameters
        pinned = (self._parameters | set(overrides)) - set(searched)
        self.stages = StagePlan(space.name, settings, searched, pinned)

    def config(self, trial: optuna.Trial, stage: str | None = None) -> TrialConfig:
        """The config of this trial, in this search stage.

        Raises:
            ConfigError: if the space's config, with the user's settings, is invalid.
            SearchSpaceError: if the space raises, or does not use a parameter that it asked for.
            ImpossibleNetworkError: if the network cannot exist for its images.
        """
        values, asked = self._ask(trial)
        self._check_names(asked, values)
        for path, value in self._overrides.items():
            if path not in self._parameters:
                _set(values, path, value)
        if "data" in self._space.defaults:
            _set_default(values, "data/source", self._space.defaults["data"])
        elif "data/source" not in flatten(values):
            raise ToprungError(
                f"search space {self._space.name} names no data; give some (--data): "
                "a named data set (cifar10, digits …), a folder of class folders, or a CSV file"
            )
        if stage is not None:
            _set(values, STAGE_LABEL, stage)
        _set_default(values, "seed", self.trial_seed(trial.number))
        _set_default(values, "training/metric", self._settings.metric)
        _set_default(values, "training/epochs", self._settings.max_epochs)
        config = parse(TrialConfig, values, f"a config of search space {self._space.name}")
        self._check_settings(config)
        _check_secrets(config)
        config.check()
        return config

    @property
    def metric(self) -> str:
        """The metric by which trials are compared."""
        return self._settings.metric

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the space's parameters, in random order by the sweep's seed.

        Raises:
            ToprungError: if the combinations are infinitely many, or more than `MAX_GRID`.
        """
        found = combinations(self._ask, MAX_GRID)
        order = np.random.default_rng(self._settings.seed).permutation(len(found))
        return [found[index] for index in order]

    def trial_seed(self, number: int) -> int:
        """The seed of the trial with this number, derived from the sweep's seed."""
        return int(np.random.SeedSequence([self._settings.seed, number]).generate_state(1)[0])

    def _rehearse(self) -> Rehearsal:
        """Draw configs at random, so that errors are found before anything is started."""
        self._check_paths()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self._settings.seed))
        trials = [study.ask() for _ in range(NUM_REHEARSALS)]
        for trial in trials:
            self._ask(trial)
        self._check_labels()
        configs, impossible, reasons = [], None, set()
        for trial in trials:
            try:
                configs.append(self.config(trial))
            except ImpossibleNetworkError as error:
                impossible = error
                reasons.add(str(error))
        if impossible is not None and not configs and len(reasons) == 1:
            raise impossible
        if not configs:
            raise ImpossibleNetworkError(
                f"search space {self._space.name}: none of {NUM_REHEARSALS} random networks can "
                f"exist; the last error: {impossible}"
            )
        parameters = {name: d for trial in trials for name, d in trial.distributions.items()}
        return Rehearsal(parameters, tuple(configs), NUM_REHEARSALS - len(configs))

    def _ask(self, trial: optuna.Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        """The space's config for this trial, and the parameters that it asked for."""
        pinned = PinnedTrial(trial, self._overrides)
        values = self._space(pinned)  # type: ignore[arg-type]
        self._parameters.update(pinned.asked)
        return values, pinned.asked

    def _check_paths(self) -> None:
        known = set(setting_paths(TrialConfig))
        mistakes = [
            f"--set {path}: there is no such setting or parameter{nearest(path, known)}"
            for path in self._overrides
            if path not in known and not path.startswith("labels/")
        ]
        if mistakes:
            raise ToprungError("\n  ".join(mistakes))

    def _check_labels(self) -> None:
        """Any label may be set, unless the space has labels: then any other must be a typo."""
        known = {name for name in self._parameters if name.startswith("labels/")}
        for path in self._overrides:
            if known and path.startswith("labels/") and path not in known:
                raise ToprungError(
                    f"--set {path}: search space {self._space.name} does not have this label"
                    f"{nearest(path, known)}"
                )

    def _check_names(self, asked: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Check that each parameter is named by the path of its setting in the config."""
        flat = flatten(values)
        for name, value in asked.items():
            if name not in flat:
                hint = nearest(name, set(setting_paths(TrialConfig)))
                problem = f"its config has no setting at that path (or labels/<anything>){hint}"
            elif flat[name] != value:
                problem = f"got {value!r}, but its config has {flat[name]!r} at that path"
            else:
                continue
            raise SearchSpaceError(
                f"search space {self._space.name}: asked for the parameter {name!r}, but {problem}"
            )

    def _check_settings(self, config: TrialConfig) -> None:
        """Check that the sweep and its trials have the same metric and limit of epochs."""
        metric, limit = self._settings.metric, self._settings.max_epochs
        if config.training.metric != metric:
            raise ToprungError(
                f"training/metric = {config.training.metric!r}: the sweep selects by {metric!r}; "
                f"set the sweep's metric (--metric {config.training.metric}) instead"
            )
        if config.training.epochs > limit:
            raise ToprungError(
                f"training/epochs = {config.training.epochs}: is more than max_epochs = {limit}; "
                f"give --max-epochs {config.training.epochs}, or fix it with --set training/epochs"
            )


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {parent} = {values!r} is not a group of settings")
    values[name] = value


def _set_default(values: dict[str, Any], path: str, value: Any) -> None:
    if path not in flatten(values):
        _set(values, path, value)


def _check_secrets(config: TrialConfig) -> None:
    """Refuse a config with a secret: every record of the sweep contains its trials' configs.

    Raises:
        ToprungError: if a value looks like a secret; the message names only its setting.
    """
    for path, value in flatten(as_plain(config)).items():
        if isinstance(value, str) and is_secret(path, value):
            raise ToprungError(
                f"{path}: looks like a secret, and every record of the sweep would keep it; leave "
                "it out of the search space and of --set"
            )
