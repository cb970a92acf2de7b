"""What a sweep's folder tells, read without Ray: its trials, its winner, the winner's model.

Torch is imported only where a model is loaded, so that looking at a sweep is quick.
"""

import os
import socket
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import yaml

from analysis import attributes
from analysis.confirmation import Confirmation, read_confirmation
from analysis.folder import STUDY_NAME, SweepFolder, SweepFolderError
from analysis.trials import TrialResult, read_trials, select_best

if TYPE_CHECKING:
    from analysis.model import TrainedModel


def _is_gone(owner: dict[str, Any]) -> bool:
    """Whether the process that runs a sweep ran on this machine and does not any more."""
    if owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class SweepRecord:
    """One sweep, finished or still running, as its folder tells of it.

    Args:
        path: its folder.

    Raises:
        SweepFolderError: if the folder holds no sweep.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = SweepFolder(Path(path).absolute())
        if not (self.folder.settings.is_file() and self.folder.study.is_file()):
            usual = Path("sweeps") / path
            hint = f"; did you mean {usual}?" if SweepFolder(usual).settings.is_file() else ""
            raise SweepFolderError(f"{path}: holds no sweep (no sweep.yaml or no study.db){hint}")

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {ended}" for ended, count in self.counts().items())
        return f"{type(self).__name__}({str(self.folder.path)!r}: {counts or 'no trials yet'})"

    @property
    def name(self) -> str:
        """The sweep's name: that of its folder."""
        return self.folder.path.name

    @cached_property
    def description(self) -> dict[str, Any]:
        """What was asked for: settings, space, data, versions (`sweep.yaml`).

        Raises:
            SweepFolderError: if it cannot be read.
        """
        try:
            content: dict[str, Any] = yaml.safe_load(self.folder.settings.read_text("utf-8"))
            content["settings"]["metric"]
        except (OSError, yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError) as error:
            raise SweepFolderError(f"{self.folder.settings}: cannot be read: {error!r}") from None
        return content

    @cached_property
    def study(self) -> optuna.Study:
        """The Optuna study, for whatever one wants to ask of it.

        Raises:
            SweepFolderError: if it cannot be read.
        """
        try:
            return optuna.load_study(study_name=STUDY_NAME, storage=self.folder.study_url)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise SweepFolderError(f"{self.folder.study}: cannot be read: {reason}") from None

    @property
    def metric(self) -> str:
        """What trials are selected by."""
        metric: str = self.description["settings"]["metric"]
        return metric

    @property
    def ended(self) -> str:
        """How the sweep ended: `finished`, `time budget`, `interrupted`, `killed`; or `running`."""
        attrs = self.study.user_attrs
        gone = _is_gone(attrs.get(attributes.OWNER, {}))
        ended: str = attrs.get(
            attributes.SWEEP_ENDED, attributes.KILLED if gone else attributes.RUNNING
        )
        return ended

    def trials(self) -> list[TrialResult]:
        """Every trial of the search so far, in the order of starting."""
        return [trial for trial in self._all_trials() if trial.confirms is None]

    def _all_trials(self) -> list[TrialResult]:
        """Those of the search, and the runs that confirm the best of them."""
        return read_trials(self.study)

    def confirmation(self) -> Confirmation | None:
        """What was done to confirm the winner; None where the search has not ended."""
        attribute = self.study.user_attrs.get(attributes.CONFIRMATION)
        return attribute and read_confirmation(attribute, self._all_trials(), self.metric)

    def trial(self, number: int) -> TrialResult:
        """One trial, or run that confirms one, by its number.

        Raises:
            SweepFolderError: if there is none of this number.
        """
        for trial in self._all_trials():
            if trial.number == number:
                return trial
        raise SweepFolderError(f"{self.name}: there is no trial {number}")

    def counts(self) -> dict[str, int]:
        """How many trials ended in each way, or are running."""
        return dict(Counter(trial.ended for trial in self.trials()))

    def best(self) -> TrialResult:
        """The winner: the trial with the best validation (see `select_best` for ties).

        If trials were confirmed, it is the best run of the candidate with the best mean (see
        `analysis.confirmation`).

        Raises:
            SweepFolderError: if no trial was validated; says why the first one failed.
        """
        confirmation = self.confirmation()
        if confirmation and confirmation.chosen:
            return confirmation.chosen.best
        trials = self.trials()
        best = select_best(trials, self.metric)
        if best is None:
            reasons = [trial.reason for trial in trials if trial.reason]
            because = f"; the first reason: {reasons[0]}" if reasons else ""
            raise SweepFolderError(f"{self.name}: no trial has a validation result{because}")
        return best

    def model(self, trial: int | None = None) -> "TrainedModel":
        """The best model of a trial (of the winner, if none is named)."""
        from analysis.model import model_from_checkpoint

        number = self.best().number if trial is None else self.trial(trial).number
        return model_from_checkpoint(self.folder.checkpoint(number))


def open_model(path: Path) -> "TrainedModel":
    """The model of an export's folder, or the winner's of a sweep's folder.

    Raises:
        SweepFolderError: if it is neither, or cannot be read.
        ConfigError: if the export's `trial.yaml` has mistakes.
    """
    from analysis.model import load_model

    return SweepRecord(path).model() if SweepFolder(path).settings.is_file() else load_model(path)
