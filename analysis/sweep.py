"""A sweep's folder, read without Ray: its trials, its winner, its sealed test set.

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
from analysis.comparison import Group, compare
from analysis.folder import STUDY_NAME, SweepFolder, SweepFolderError
from analysis.openings import TestResult, read_openings
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
            raise SweepFolderError(f"{path}: holds no sweep (no sweep.yaml or no study.db)")

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
        """Every trial so far, in the order of starting."""
        return read_trials(self.study)

    def trial(self, number: int) -> TrialResult:
        """One trial by its number.

        Raises:
            SweepFolderError: if there is none of this number.
        """
        for trial in self.trials():
            if trial.number == number:
                return trial
        raise SweepFolderError(f"{self.name}: there is no trial {number}")

    def counts(self) -> dict[str, int]:
        """How many trials ended in each way, or are running."""
        return dict(Counter(trial.ended for trial in self.trials()))

    def best(self) -> TrialResult:
        """The trial with the best validation (see `select_best` for ties).

        Raises:
            SweepFolderError: if no trial was validated; says why the first one failed.
        """
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
        return compare(self.trials(), by, self.metric, read_openings(self.folder.sealed_test))

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
        from analysis.sealed_test import open_test_set

        if self.ended == attributes.RUNNING and not force:
            raise SweepFolderError(
                f"{self.name}: has not ended, so its winner may change; the test set stays shut. "
                "Force it (--force) if the sweep was killed"
            )
        winner = self.best().number
        number = winner if trial is None else trial
        return open_test_set(
            self.folder,
            number,
            self.model(number),
            test_data_sha256=self.description["data"]["test_sha256"],
            is_winner=number == winner,
            force=force,
        )

    def export(self, to: str | Path | None = None, trial: int | None = None) -> Path:
        """Export the best model of a trial (the winner).

        To `best/` in the sweep's folder, or `exports/<trial>` for another trial than the winner,
        if no folder is given.

        Raises:
            SweepFolderError: if the folder cannot be written, or holds something else.
        """
        from analysis.export import export_model

        winner = self.best()
        result = winner if trial is None else self.trial(trial)
        home = self.folder.best if result == winner else self.folder.export_of(result.number)
        model = self.model(result.number)
        openings = read_openings(self.folder.sealed_test)
        test = next((o for o in openings if o.weights_sha256 == model.digest), None)
        about = {"name": self.name, "seed": self.description["settings"]["seed"]}
        return export_model(Path(to or home), model, result, test, about)
