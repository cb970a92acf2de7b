"""Which checkpoints are kept: of the trials that run, and of the best that have ended."""

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from toprung.analysis.study.trials import TrialResult, has_score, rank, recipe, trial_result
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.settings import SweepSettings
from toprung.storage.retry import Patience
from toprung.tune.callbacks.watcher import WatchedTrial, Watcher


class KeptCheckpoints(Watcher):
    """Removes the checkpoints that nobody will ask for, whenever a trial has ended.

    Kept are those of trials that have not ended, or only by the time budget; of the best
    `keep_checkpoints` of the search; of those that are confirmed, or would be; and of the runs that
    confirm them.

    Args:
        folder: the sweep's.
        settings: the sweep's.
        study: the sweep's.
        patience: knows whether what has happened could be written; if not, it will happen again.
        remove: removes a trial's checkpoint; if not given, it is removed at once.
    """

    def __init__(
        self,
        folder: SweepFolder,
        settings: SweepSettings,
        study: optuna.Study,
        patience: Patience,
        *,
        remove: Callable[[int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._study = study
        self._patience = patience
        self._remove = remove or folder.remove_checkpoint
        self._kept: list[tuple[TrialResult, str]] = []
        there = patience(folder.checkpoints)
        for trial in study.get_trials(deepcopy=False):
            if trial.number in there:
                self._take(trial)
        self._remove_others()

    def on_end(self, trial: WatchedTrial, last: Mapping[str, Any] | None) -> None:
        """Keep this trial's checkpoint if it is one of the best."""
        del last
        if self._patience.lost:
            return
        self._take(self._study.get_trials(deepcopy=False)[trial.number])
        self._remove_others()

    def _take(self, trial: FrozenTrial) -> None:
        result = trial_result(trial)
        goes_on = not trial.state.is_finished() or result.ended == attributes.TIME_BUDGET
        if goes_on or result.confirms is not None:
            return
        if has_score(result) and result.config:
            self._kept.append((result, recipe(result.config)))
        else:
            self._remove(trial.number)

    def _remove_others(self) -> None:
        metric = self._settings.metric
        self._kept.sort(key=lambda kept: rank(kept[0], metric), reverse=True)
        recipes: set[str] = set()
        still = []
        for place, (result, own) in enumerate(self._kept):
            is_confirmed = own not in recipes and len(recipes) < self._settings.num_confirmed
            recipes.add(own)
            if place < self._settings.keep_checkpoints or is_confirmed:
                still.append((result, own))
            else:
                self._remove(result.number)
        self._kept = still
