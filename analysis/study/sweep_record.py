"""A sweep read from its folder, without Ray: its trials, its winner, the winner's model.

Torch is imported only to load a model, so that reading a sweep is quick.
"""

from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import optuna
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from toprung.analysis.study.confirmation import Confirmation, read_confirmation
from toprung.analysis.study.trials import TrialResult, read_trials, select_best
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.driver import is_leased, still_runs, this_driver
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.folder_format import too_new
from toprung.analysis.sweep_folder.outside import Outside, study_at
from toprung.analysis.sweep_folder.sqlite_file import check_study_file
from toprung.analysis.sweep_folder.study_database import is_postgresql, open_storage, reason
from toprung.analysis.sweep_folder.study_limits import check_size
from toprung.analysis.sweep_folder.study_place import StudyPlace, study_in_file
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.config import Metric, TrialConfig
from toprung.trainables.files.plain_yaml import read_yaml
from toprung.trainables.system.error_text import one_line
from toprung.trainables.system.typed_settings import MAX_TRIALS, Epochs

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from toprung.analysis.models.model import TrainedModel


T = TypeVar("T")


class _StoredSettings(BaseModel):
    """The settings with their bounds, as a `reduction_factor` of 1 would give endless rungs."""

    metric: Metric
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)]
    max_epochs: Epochs | None = None
    grace_epochs: Epochs | None = None
    reduction_factor: Annotated[int, Field(ge=2, le=MAX_TRIALS)] | None = None
    cpus_per_trial: Annotated[PositiveInt, Field(le=MAX_TRIALS)] | None = None
    gpus_per_trial: Annotated[float, Field(ge=0, le=MAX_TRIALS)] | Literal["auto"] | None = None


class _StoredData(BaseModel):
    test_sha256: str | None
    class_names: list[str] = []
    bad_images: list[str] = []
    duplicates: dict[str, int] = {}
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None


class _StoredStorage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: str
    name: str


class _Stored(BaseModel):
    """The keys of `sweep.yaml` that are used; it may have more."""

    id: str | None = None
    settings: _StoredSettings
    data: _StoredData
    storage: _StoredStorage | None = None
    space: str | None = None
    command: list[str] | None = None
    overrides: dict[str, Any] | None = None
    versions: dict[str, str | None] | None = None


class SweepRecord:
    """One sweep, finished or still running, read from its folder.

    Args:
        path: the folder of the sweep.
        trust: whether everything that its files name outside the folder may be used, because the
            user said so or this process created the sweep (see
            `toprung.analysis.sweep_folder.outside`).

    Raises:
        SweepFolderError: if the folder does not hold a sweep, or its study is in a database that
            the user has not agreed to.
    """

    def __init__(self, path: str | Path, *, trust: bool = False) -> None:
        self.folder = SweepFolder(Path(path).absolute())
        self.folder.check()
        self._trust = trust
        self._storage: RDBStorage | None = None
        if not self.folder.settings.is_file():
            usual = Path("sweeps") / path
            hint = f"; did you mean {usual}?" if SweepFolder(usual).settings.is_file() else ""
            raise SweepFolderError(f"{path}: holds no sweep (no sweep.yaml){hint}")
        if self.study_place.file and not self.study_place.file.is_file():
            raise SweepFolderError(f"{path}: holds no sweep (no study.db)")

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {ended}" for ended, count in self.counts().items())
        return f"{type(self).__name__}({self.folder.address!r}: {counts or 'no trials yet'})"

    @property
    def name(self) -> str:
        """The name of the sweep, which is the name of its folder."""
        return self.folder.path.name

    @cached_property
    def description(self) -> dict[str, Any]:
        """The description of the sweep: settings, space, data, versions (`sweep.yaml`).

        Raises:
            SweepFolderError: if it cannot be read, or has the format of a newer Toprung.
        """
        try:
            content: dict[str, Any] = read_yaml(self.folder.settings.read_text("utf-8"))
            if not isinstance(content, dict):
                raise ValueError("must be a mapping of names to values")
            if not (newer := too_new(content)):
                typed(_Stored, content)
        except Exception as error:  # PyYAML raises errors of many types for invalid values
            why = one_line(error) if isinstance(error, ValueError) else repr(error)
            raise SweepFolderError(f"{self.folder.settings}: cannot be read: {why}") from None
        if newer:
            raise SweepFolderError(f"{self.folder.settings}: {newer}")
        return content

    def forget_description(self) -> None:
        """Read `sweep.yaml` again on the next access, because it was changed."""
        self.__dict__.pop("description", None)

    @property
    def id(self) -> str | None:
        """The id of the sweep in the user's records; None if an older version created it."""
        sweep_id: str | None = self.description.get("id")
        return sweep_id

    @property
    def outside(self) -> Outside:
        """What the sweep may use outside its folder."""
        return Outside(self.folder.address, self.id, trust=self._trust)

    @property
    def study_place(self) -> StudyPlace:
        """The location of the study: in the sweep's folder, unless `sweep.yaml` names a storage.

        Raises:
            SweepFolderError: if the storage is not PostgreSQL, or the user has not agreed to it.
        """
        storage = self.description.get("storage")
        if not storage:
            return study_in_file(self.folder.study)
        if not is_postgresql(storage["url"]):  # other kinds would create or change a file
            raise SweepFolderError(
                f"{self.folder.settings}: storage = {storage['url']!r}: must be a URL such as "
                "postgresql://USER@HOST/DATABASE"
            )
        place = StudyPlace(**storage)
        self.outside.confirm(study_at(place))
        return place

    @cached_property
    def study(self) -> optuna.Study:
        """The Optuna study of the sweep.

        Raises:
            SweepFolderError: if it cannot be read.
        """
        place = self.study_place
        try:
            if place.file is not None:
                check_study_file(place.file)  # before Optuna creates a study in an empty file
                check_size(place.file)
            self._storage = open_storage(place)
            return optuna.load_study(study_name=place.name, storage=self._storage)
        except Exception as error:
            where = place.file or f"study {place.name} in {place.url}"
            raise SweepFolderError(f"{where}: cannot be read: {reason(error)}") from None

    def close(self) -> None:
        """Close the study's database; the next access opens it again."""
        if self.__dict__.pop("study", None) is not None:
            assert self._storage is not None
            self._storage.remove_session()
            self._storage.engine.dispose()

    @property
    def metric(self) -> str:
        """The metric by which trials are selected."""
        metric: str = self.description["settings"]["metric"]
        return metric

    @property
    def ended(self) -> str:
        """How the sweep ended, or that it is running: one of the words in `attributes`."""
        ended = self._attribute(attributes.SWEEP_ENDED, str) or attributes.RUNNING
        if ended != attributes.RUNNING:
            return ended
        return attributes.RUNNING if self._still_runs() else attributes.KILLED

    def _still_runs(self) -> bool:
        owner = self._attribute(attributes.OWNER, dict[str, Any]) or {}
        if self.folder.store is None:
            return still_runs(self.folder.lock, owner)
        return still_runs(self.folder.lock, this_driver()) or is_leased(self.folder.lease)

    def _attribute(self, name: str, kind: type[T]) -> T | None:
        """The study's attribute of this name; None if it has none."""
        try:
            value = self.study.user_attrs.get(name)
            return None if value is None else typed(kind, value)
        except SweepFolderError:
            raise
        except Exception as error:  # for a damaged file, SQLAlchemy raises any error
            where = self.study_place.file or self.study_place.url
            raise SweepFolderError(f"{where}: its {name} is damaged: {error}") from None

    @property
    def is_partial(self) -> bool:
        """Whether the sweep has not ended, so that its winner may still change."""
        return self.ended in (attributes.RUNNING, attributes.INTERRUPTED, attributes.KILLED)

    def trials(self) -> list[TrialResult]:
        """Every trial of the search so far, in the order of starting."""
        return [trial for trial in self._all_trials() if trial.confirms is None]

    def _all_trials(self) -> list[TrialResult]:
        """The trials of the search, and the runs that confirm the best of them."""
        trials = read_trials(self.study)
        if self.ended == attributes.RUNNING:
            return trials
        actual = {attributes.RUNNING: attributes.INTERRUPTED}
        return [replace(trial, ended=actual.get(trial.ended, trial.ended)) for trial in trials]

    def confirmation(self) -> Confirmation | None:
        """How the winner was confirmed; None if the search has not ended."""
        stored = self._attribute(attributes.CONFIRMATION, dict[str, Any])
        return read_confirmation(stored, self._all_trials(), self.metric) if stored else None

    def trial(self, number: int) -> TrialResult:
        """One trial or confirmation run, by its number.

        Raises:
            SweepFolderError: if there is no trial with this number.
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
        `toprung.analysis.study.confirmation`).

        Raises:
            SweepFolderError: if no trial was validated; states why the first trial failed.
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
        """The best model of a trial (of the winner, if no trial is given)."""
        from toprung.analysis.models.model import model_from_checkpoint

        number = self.best().number if trial is None else self.trial(trial).number
        return model_from_checkpoint(self.folder.checkpoint(number), self.outside)

    def configs(self) -> list[TrialConfig]:
        """The config of every trial and every confirmation run."""
        return [trial.config for trial in self._all_trials() if trial.config is not None]


def open_model(path: Path, *, trust: bool = False) -> "TrainedModel":
    """The model in an export's folder, or the model of the winner in a sweep's folder.

    Args:
        path: the folder.
        trust: whether everything that a sweep's files name may be used; an export names nothing.

    Raises:
        SweepFolderError: if the folder is neither a sweep nor an export, or cannot be read.
        ConfigError: if the export's `trial.yaml` is invalid.
    """
    from toprung.analysis.models.model import load_model

    is_sweep = SweepFolder(path).settings.is_file()
    return SweepRecord(path, trust=trust).model() if is_sweep else load_model(path)
