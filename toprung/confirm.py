"""After the search: its best trials are trained again, in full and with fresh seeds."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from analysis import attributes
from analysis.trials import TrialResult, has_score, rank, read_trials
from toprung.proposals import Proposals
from toprung.settings import SweepSettings
from trainables.config import TrialConfig
from trainables.record import Record

MAX_SHARE = 0.25
"""Of the search's cost: what a confirmation that nobody asked for may cost."""


class Confirmation:
    """Decides what is trained again, and makes its trials.

    Args:
        study: the sweep's study.
        settings: the sweep's.
        proposals: derives the seeds.
        keep: writes an attribute of the study down.
        tell: shows the user a line.
    """

    def __init__(
        self,
        study: optuna.Study,
        settings: SweepSettings,
        proposals: Proposals,
        keep: Callable[[str, Any], None],
        tell: Callable[[str], None],
    ) -> None:
        self._study = study
        self._settings = settings
        self._proposals = proposals
        self._keep = keep
        self._tell = tell
        self._cost: dict[int, tuple[float, float]] = {}
        self._candidates: list[TrialResult] = []
        self._told = f"not confirmed: {'the sweep ended before' if self.wanted else 'not wanted'}"
        self._waiting: Iterator[TrialResult] | None = None
        self._num_begun = 0

    def note(self, number: int, last: Record) -> None:
        """Take note of what a trial of the search has cost, by its last validation."""
        self._cost[number] = last.epoch, last.seconds

    @property
    def wanted(self) -> bool:
        """Whether anything may be trained again when the search is over."""
        return self._settings.confirm != 0

    def next(self) -> tuple[optuna.Trial, TrialConfig, int] | None:
        """The next run: its trial, its config, and the trial that it confirms.

        To be asked when every trial of the search has ended.
        """
        if self._waiting is None:
            self._decide()
        assert self._waiting is not None
        candidate = next(self._waiting, None)
        if candidate is None:
            return None
        self._num_begun += 1
        return (*self._started(candidate), candidate.number)

    def close(self, *, any_run_cut: bool) -> None:
        """Write down what was done, when the sweep has ended."""
        wanted = len(self._candidates) * self._settings.seeds
        self._write(done=0 < self._num_begun == wanted and not any_run_cut)

    def _decide(self) -> None:
        self._waiting = iter(())
        self._study.sampler = optuna.samplers.RandomSampler()  # is asked of each, for nothing
        candidates = _best_configs(self._study, self._settings)
        if not candidates:
            self._told = "not confirmed: no trial has a result"
        else:
            self._choose(candidates)
        self._write(done=False)

    def _choose(self, candidates: list[TrialResult]) -> None:
        share = self._share_of_cost(candidates)
        if self._settings.confirm is None and share >= MAX_SHARE:
            self._told = (
                f"not confirmed: training the best {len(candidates)} again with "
                f"{self._settings.seeds} seeds each would cost about {share:.0%} of the search; "
                f"from a quarter on it has to be asked for (--confirm {len(candidates)})"
            )
        else:
            runs = product(range(self._settings.seeds), candidates)  # every candidate gets its turn
            self._candidates, self._waiting = candidates, (candidate for _, candidate in runs)
            numbers = ", ".join(str(candidate.number) for candidate in candidates)
            trials = f"trial{'s' if len(candidates) > 1 else ''} {numbers}"
            self._told = (
                f"the best of the search ({trials}) trained again in full, with "
                f"{self._settings.seeds} fresh seeds each, for about {share:.0%} of what the "
                "search cost"
            )
            self._tell(f"confirmation: {self._told}")

    def _share_of_cost(self, candidates: list[TrialResult]) -> float:
        """What the runs would cost, as a share of what the search has cost, in seconds."""
        spent = sum(seconds for _, seconds in self._cost.values())
        cost = 0.0
        for candidate in candidates:
            assert candidate.config is not None
            epochs, seconds = self._cost[candidate.number]
            in_full = candidate.config.training.epochs / epochs
            # One that came to its end, by its patience or as an SVM does, takes as long again.
            finished = candidate.ended == attributes.FINISHED
            cost += self._settings.seeds * seconds * (1 if finished else in_full)
        return cost / spent if spent else 1.0

    def _started(self, candidate: TrialResult) -> tuple[optuna.Trial, TrialConfig]:
        """A new trial of the study with the candidate's parameters, and another seed."""
        of_candidate = self._study.get_trials(deepcopy=False)[candidate.number]
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=of_candidate.params,
                distributions=of_candidate.distributions,
                user_attrs={attributes.CONFIRMS: candidate.number},
            )
        )
        added = self._study.get_trials(deepcopy=False)[-1]
        assert candidate.config is not None
        seed = self._proposals.trial_seed(added.number)
        config = candidate.config.model_copy(update={"seed": seed})
        return optuna.Trial(self._study, added._trial_id), config

    def _write(self, done: bool) -> None:
        numbers = [candidate.number for candidate in self._candidates]
        attribute = {"done": done, "told": self._told, "candidates": numbers}
        self._keep(attributes.CONFIRMATION, attribute)


def _best_configs(study: optuna.Study, settings: SweepSettings) -> list[TrialResult]:
    """The best trials so far, of each config only one."""
    scored = [trial for trial in read_trials(study) if has_score(trial)]
    scored.sort(key=lambda trial: rank(trial, settings.metric), reverse=True)
    distinct: dict[str, TrialResult] = {}
    for trial in scored:
        assert trial.config is not None
        distinct.setdefault(trial.config.model_dump_json(exclude={"seed", "labels"}), trial)
    return list(distinct.values())[: settings.num_confirmed]


class SearchOnly(AsyncHyperBandScheduler):  # type: ignore[misc]
    """ASHA for the trials of the search; a run that confirms one is trained in full."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give a trial of the search its bracket."""
        if not _confirms(trial):
            super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare a trial of the search at its rungs."""
        if _confirms(trial):
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take note of the last result of a trial of the search."""
        if not _confirms(trial):
            super().on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial of the search."""
        if not _confirms(trial):
            super().on_trial_remove(tune_controller, trial)


def _confirms(trial: Any) -> bool:
    return trial.config["confirms"] is not None
