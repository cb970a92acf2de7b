"""A sweep's folder, read without Ray: its trials, its winner, its sealed test set.

Torch is imported only where a model is loaded, so that looking at a sweep is quick.
"""

import os
import socket
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import yaml

from analysis import attributes
from analysis.comparison import Group, compare, openings_of
from analysis.confirmation import Confirmation, read_confirmation
from analysis.folder import STUDY_NAME, SweepFolder, SweepFolderError
from analysis.openings import TestResult, read_openings
from analysis.trials import TrialResult, read_trials, select_best

if TYPE_CHECKING:
    from analysis.model import TrainedModel
    from analysis.report.page import Report


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


class Sweep:
    """One sweep, finished or still running.

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
        return f"Sweep({str(self.folder.path)!r}: {counts or 'no trials yet'})"

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

    def compare(self, *by: str) -> list[Group]:
        """The trials grouped by the values of settings, such as `model/freeze_policy`.

        The best group comes first; see `analysis.comparison.Group`.

        Raises:
            SweepFolderError: if no trial has a result, or none has such a setting.
        """
        return compare(self.trials(), by, self.metric, openings_of(self))

    def model(self, trial: int | None = None) -> "TrainedModel":
        """The best model of a trial (of the winner, if none is named)."""
        from analysis.model import model_from_checkpoint

        number = self.best().number if trial is None else self.trial(trial).number
        return model_from_checkpoint(self.folder.checkpoint(number))

    def test(self, trial: int | None = None, *, force: bool = False) -> TestResult:
        """Open the sealed test set for the winner, and write the opening down.

        The winner's result, once there, is returned without opening the set again. Another
        trial's needs `force`, and is marked.

        Raises:
            SweepFolderError: if the model is not the winner's and `force` is not given, if the
                set was opened for another model before and `force` is not given, if there is none,
                if the test images have changed, or if the sweep is still choosing its winner.
        """
        from analysis.exporting.export import trial_of_export
        from analysis.sealed_test import open_test_set

        running = self.ended == attributes.RUNNING
        if running and not force:
            raise SweepFolderError(
                f"{self.name}: has not ended, so its winner may change; the test set stays shut. "
                "Force it (--force) if the sweep was killed"
            )
        winner = self.best().number
        number = winner if trial is None else trial
        result = open_test_set(
            self.folder,
            number,
            self.model(number),
            test_data_sha256=self.description["data"]["test_sha256"],
            is_winner=number == winner and not running,
            force=force,
        )
        if number == winner and trial_of_export(self.folder.best) == winner:
            self.export()  # its figures and its card now tell of the test
        return result

    def export(
        self,
        to: str | Path | None = None,
        trial: int | None = None,
        *,
        formats: Collection[str] = (),
        force: bool = False,
    ) -> Path:
        """Export the best model of a trial (the winner), with a model card.

        To `best/` in the sweep's folder, or `exports/<trial>` for another trial than the winner,
        if no folder is given. `formats=["onnx"]` adds `model.onnx`, checked to predict the same.

        Another model's export is written over in the sweep's own folders; in a folder that is
        given only with `force`.

        Raises:
            SweepFolderError: if the folder cannot be written, holds something else or, without
                `force`, another model; for an unknown format, one whose packages are not
                installed, or one in which the model would not predict the same.
        """
        from analysis.exporting.card_facts import Exported
        from analysis.exporting.export import export_model

        winner = self.best()
        result = winner if trial is None else self.trial(trial)
        home = self.folder.best if result == winner else self.folder.export_of(result.number)
        place = home if to is None else Path(to)
        model = self.model(result.number)
        openings = read_openings(self.folder.sealed_test)
        test = next((o for o in openings if o.weights_sha256 == model.digest), None)
        replace = force or place.resolve() == home.resolve()
        exported = Exported(self, result, model, test)
        return export_model(place, exported, formats, replace=replace)

    def report(
        self, to: str | Path | None = None, *, by: Sequence[str] = (), before: bool = False
    ) -> "Report":
        """Write the report: one page for a browser, its pictures, its figures as JSON.

        To `report/` in the sweep's folder, if no folder is given.

        Args:
            to: the folder.
            by: paths of settings, such as `model/freeze_policy`, whose values are to be compared;
                the report's own choice if empty.
            before: show also what the winner's network said before it was trained.

        Returns:
            Where the page is, and what could not be drawn of it.

        Raises:
            SweepFolderError: if the folder cannot be written, or holds something else; if there is
                no such setting.
        """
        from analysis.report.page import write_report
        from analysis.results import Results

        return write_report(Results(self, by, before=before), Path(to or self.folder.report))


def open_model(path: Path) -> "TrainedModel":
    """The model of an export's folder, or the winner's of a sweep's folder.

    Raises:
        SweepFolderError: if it is neither, or cannot be read.
        ConfigError: if the export's `trial.yaml` has mistakes.
    """
    from analysis.model import load_model

    return Sweep(path).model() if SweepFolder(path).settings.is_file() else load_model(path)
