"""What a sweep's folder tells, read without Ray: its trials, its winner, the winner's model.

Torch is imported only where a model is loaded, so that looking at a sweep is quick.
"""

from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import yaml

from analysis import attributes
from analysis.confirmation import Confirmation, read_confirmation
from analysis.driver import still_runs
from analysis.folder import SweepFolder, SweepFolderError
from analysis.study_place import StudyPlace, study_in_file
from analysis.trials import TrialResult, read_trials, select_best

if TYPE_CHECKING:
    from analysis.model import TrainedModel


class SweepRecord:
    """One sweep, finished or still running, as its folder tells of it.

    Args:
        path: its folder.

    Raises:
        SweepFolderError: if the folder holds no sweep.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = SweepFolder(Path(path).absolute())
        if not self.folder.settings.is_file():
            usual = Path("sweeps") / path
            hint = f"; did you mean {usual}?" if SweepFolder(usual).settings.is_file() else ""
            raise SweepFolderError(f"{path}: holds no sweep (no sweep.yaml){hint}")
        if self.study_place.file and not self.study_place.file.is_file():
            raise SweepFolderError(f"{path}: holds no sweep (no study.db)")

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

    @property
    def study_place(self) -> StudyPlace:
        """Where the study is: in the sweep's folder, unless `sweep.yaml` names a storage."""
        storage = self.description.get("storage")
        return StudyPlace(**storage) if storage else study_in_file(self.folder.study)

    @cached_property
    def study(self) -> optuna.Study:
        """The Optuna study, for whatever one wants to ask of it.

        Raises:
            SweepFolderError: if it cannot be read.
        """
        place = self.study_place
        try:
            return optuna.load_study(study_name=place.name, storage=place.url)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            where = place.file or f"study {place.name} in {place.url}"
            raise SweepFolderError(f"{where}: cannot be read: {reason}") from None

    def close(self) -> None:
        """Let go of the study's database; what is asked for next opens it again."""
        study = self.__dict__.pop("study", None)
        if study is not None:
            study._storage.remove_session()
            study._storage._backend.engine.dispose()

    @property
    def metric(self) -> str:
        """What trials are selected by."""
        metric: str = self.description["settings"]["metric"]
        return metric

    @property
    def ended(self) -> str:
        """How the sweep ended, or that it is running: a word of `analysis.attributes`."""
        attrs = self.study.user_attrs
        ended: str = attrs.get(attributes.SWEEP_ENDED, attributes.RUNNING)
        if ended != attributes.RUNNING:
            return ended
        runs = still_runs(self.folder.lock, attrs.get(attributes.OWNER, {}))
        return attributes.RUNNING if runs else attributes.KILLED

    @property
    def is_partial(self) -> bool:
        """Whether the sweep has not come to its end, so that its winner may still change."""
        return self.ended in (attributes.RUNNING, attributes.INTERRUPTED, attributes.KILLED)

    def trials(self) -> list[TrialResult]:
        """Every trial of the search so far, in the order of starting."""
        return [trial for trial in self._all_trials() if trial.confirms is None]

    def _all_trials(self) -> list[TrialResult]:
        """Those of the search, and the runs that confirm the best of them."""
        trials = read_trials(self.study)
        if self.ended == attributes.RUNNING:
            return trials
        cut = {attributes.RUNNING: attributes.INTERRUPTED}
        return [replace(trial, ended=cut.get(trial.ended, trial.ended)) for trial in trials]

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
