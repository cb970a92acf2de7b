"""The books of a sweep: its in-memory study and, after each change of that, its database."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from toprung import events
from toprung.analysis.sweep_folder import attributes
from toprung.storage.retry import RecordLostError
from toprung.trainables.system.secrecy import redacted


class StudyBooks:
    """Keeps the study and its database in step; each entry is one transaction.

    Args:
        study: the in-memory study.
        write: brings the study's database up to date.
    """

    def __init__(self, study: optuna.Study, write: events.WriteStudy) -> None:
        self.study = study
        self._write_study = write

    def frozen(self, trial: optuna.Trial) -> FrozenTrial:
        """The trial as the study has it now."""
        return self.study.get_trials(deepcopy=False)[trial.number]

    def any_waits(self) -> bool:
        """Whether the study has enqueued trials that have not been asked for."""
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def record(
        self,
        happened: Sequence[Mapping[str, Any]],
        trials: Sequence[FrozenTrial] = (),
        study_attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write events, and the trials and attributes of the study that they have changed."""
        # Tune would take an error from here for one of the trial. `Ending` ends the sweep.
        with suppress(RecordLostError):
            self._write_study(happened, trials, study_attributes)

    def record_trial(self, happened: Sequence[Mapping[str, Any]], trial: optuna.Trial) -> None:
        """Write events of a trial, and the trial as it is now."""
        self.record(happened, [self.frozen(trial)])

    def end(
        self,
        trial: optuna.Trial,
        state: TrialState,
        *,
        ended: str,
        reason: str = "",
        value: float | None = None,
        happened: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """End a trial in the study and the database.

        Args:
            trial: the trial.
            state: its state in the study.
            ended: how it ended, one of the words in `attributes`.
            reason: why it failed or was refused; secrets in it are hidden.
            value: its score, if it has one.
            happened: events before its end that are not written yet.
        """
        reason = redacted(reason)
        trial.set_user_attr(attributes.ENDED, ended)
        if reason:
            trial.set_user_attr(attributes.REASON, reason)
        self.study.tell(trial, values=value, state=state)
        self.record_trial([*happened, events.ended(trial.number, ended, reason)], trial)
