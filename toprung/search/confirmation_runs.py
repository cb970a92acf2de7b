"""Confirmation: after the search, its best trials are trained again, in full, with fresh seeds."""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import optuna
from optuna.trial import TrialState

from toprung import events
from toprung.analysis.study.confirmation import runs_of
from toprung.analysis.study.trials import TrialResult, best_configs, read_trials
from toprung.analysis.sweep_folder import attributes
from toprung.search.proposals import Proposals
from toprung.settings import SweepSettings
from toprung.storage.optuna_internals import running_trial
from toprung.trainables.config import TrialConfig
from toprung.trainables.results.records import Record

MAX_SHARE = 0.25
"""The largest cost of a confirmation that was not asked for, as a share of the search's cost."""


class Confirmation:
    """Decides which trials are confirmed, and creates the runs.

    Args:
        study: the sweep's study.
        settings: the sweep's settings.
        proposals: derives the seeds.
        keep: writes an event, with the study attributes that it changes.
        show: shows the user a line.
        decided: the study's attribute for a confirmation decided before the sweep was resumed.
    """

    def __init__(
        self,
        study: optuna.Study,
        settings: SweepSettings,
        proposals: Proposals,
        *,
        keep: Callable[[Mapping[str, Any], Mapping[str, Any]], None],
        show: Callable[[str], None],
        decided: Mapping[str, Any] | None = None,
    ) -> None:
        self._study = study
        self._settings = settings
        self._proposals = proposals
        self._keep = keep
        self._show = show
        self._cost: dict[int, tuple[float, float]] = {}
        self._candidates: list[TrialResult] = []
        self._summary = (
            f"not confirmed: {'the sweep ended before' if self.wanted else 'not asked for'}"
        )
        self._waiting: deque[TrialResult] | None = None
        for trial in study.get_trials(deepcopy=False):
            if attributes.LAST in trial.user_attrs:
                self.note(trial.number, Record(**trial.user_attrs[attributes.LAST]))
        if decided:
            by_number = {trial.number: trial for trial in read_trials(study)}
            self._summary = decided["told"]
            self._prepare([by_number[number] for number in decided["candidates"]])

    def note(self, number: int, last: Record) -> None:
        """Record the epochs and seconds that a trial has taken, as of its last validation."""
        self._cost[number] = last.epoch, last.seconds

    @property
    def wanted(self) -> bool:
        """Whether trials may be confirmed when the search is over."""
        return self._settings.confirm != 0

    def next(self) -> tuple[optuna.Trial, TrialConfig, int] | None:
        """The next run: its trial, its config, and the number of the trial that it confirms.

        To be called once every trial of the search has ended; None if no run is left.
        """
        if self._waiting is None:
            self._decide()
        if not self._waiting:
            return None
        candidate = self._waiting.popleft()
        return (*self._started(candidate), candidate.number)

    def result(self, *, any_run_cut: bool) -> dict[str, Any]:
        """The confirmation as attributes of the study, when the sweep has ended."""
        all_begun = bool(self._candidates) and not self._waiting
        return self._attribute(done=all_begun and not any_run_cut)

    def _decide(self) -> None:
        best = best_configs(read_trials(self._study), self._settings.metric)
        candidates = best[: self._settings.num_confirmed]
        if not candidates:
            self._summary = "not confirmed: no trial has a result"
        elif not self._choose(candidates):
            candidates = []
        self._prepare(candidates)
        numbers = [candidate.number for candidate in candidates]
        self._keep(events.confirmation(numbers), self._attribute(done=False))

    def _prepare(self, candidates: list[TrialResult]) -> None:
        """Queue the runs that do not exist yet, round-robin over the candidates."""
        runs = [trial for trial in read_trials(self._study) if trial.confirms is not None]
        self._candidates = candidates
        self._waiting = deque(
            candidate
            for number, candidate in product(range(self._settings.seeds), candidates)
            if number >= len(runs_of(candidate, runs))
        )

    def _choose(self, candidates: list[TrialResult]) -> bool:
        """Whether to confirm these; keeps the decision in words, and shows it if positive."""
        share = self._share_of_cost(candidates)
        if self._settings.confirm is None and share >= MAX_SHARE:
            self._summary = (
                f"not confirmed: training the best {len(candidates)} again with "
                f"{self._settings.seeds} seeds each would cost about {share:.0%} of the search; "
                f"from {MAX_SHARE:.0%} on, only if asked for (--confirm {len(candidates)})"
            )
            return False
        numbers = ", ".join(str(candidate.number) for candidate in candidates)
        trials = f"trial{'s' if len(candidates) > 1 else ''} {numbers}"
        self._summary = (
            f"the best of the search ({trials}) trained again in full, with "
            f"{self._settings.seeds} fresh seeds each, for about {share:.0%} of what the "
            "search cost"
        )
        self._show(f"confirmation: {self._summary}")
        return True

    def _share_of_cost(self, candidates: list[TrialResult]) -> float:
        """The cost of the runs as a share of the search's cost, both in seconds."""
        of_search = {trial.number for trial in read_trials(self._study) if trial.confirms is None}
        spent = sum(seconds for number, (_, seconds) in self._cost.items() if number in of_search)
        cost = 0.0
        for candidate in candidates:
            assert candidate.config is not None
            epochs, seconds = self._cost[candidate.number]
            in_full = candidate.config.training.epochs / epochs
            # A trial that finished, also before its last epoch, takes as long again.
            finished = candidate.ended == attributes.FINISHED
            cost += self._settings.seeds * seconds * (1 if finished else in_full)
        return cost / spent if spent else 1.0

    def _started(self, candidate: TrialResult) -> tuple[optuna.Trial, TrialConfig]:
        """Add a trial to the study with the candidate's parameters and a fresh seed."""
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
        return running_trial(self._study, added), config

    def _attribute(self, *, done: bool) -> dict[str, Any]:
        numbers = [candidate.number for candidate in self._candidates]
        decided = self._waiting is not None
        state = {"done": done, "decided": decided, "told": self._summary, "candidates": numbers}
        return {attributes.CONFIRMATION: state}
