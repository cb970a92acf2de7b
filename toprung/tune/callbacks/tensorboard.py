"""TensorBoard: each trial's scalars while it runs, and its best value in the HParams tab."""

import json
from collections.abc import Mapping
from typing import Any

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.storage.event_file import EventFile, steps_of
from toprung.storage.retry import Patience
from toprung.trainables.config import flatten
from toprung.trainables.results import columns
from toprung.trainables.system.printable import printable_line
from toprung.tune.callbacks.watcher import WatchedTrial, Watcher

_DONE = "done"
"""Tune's key of whether this report is the last of its trial."""
_SCALARS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "val_mean_class_accuracy": "mean_class_accuracy/validation",
    "lr": "lr",
}


class TensorBoardCallback(Watcher):
    """Writes straight into the sweep's folder. The steps are validations, each written once.

    Args:
        folder: the sweep's folder.
        parameters: the paths of what is searched: the columns of the HParams tab.
        patience: waits where the disk is full.
    """

    def __init__(self, folder: SweepFolder, parameters: list[str], patience: Patience) -> None:
        self._folder = folder
        self._parameters = parameters
        self._patience = patience
        self._files: dict[str, EventFile] = {}
        self._best: dict[str, tuple[WatchedTrial, dict[str, float]]] = {}
        self._written: dict[int, set[int]] = {}

    def on_report(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        """Write one validation's scalars."""
        # Trials are closed with their last report, before the study is told that they have ended:
        # if the driver is killed then, the resumed sweep will not hear of this trial again.
        if columns.FAILURE in report:
            self._close(trial)
        if columns.VALIDATION not in report:
            return
        scalars = {tag: report[name] for name, tag in _SCALARS.items()}
        steps = [
            (report[columns.VALIDATION], scalars),
            *(_tagged(step) for step in report[columns.STEPS]),
        ]
        written = self._validations(trial.number)
        if report[columns.VALIDATION] not in written:
            self._patience.attempt(lambda: self._file(trial).add_scalars(*steps))
            written.add(report[columns.VALIDATION])
        best = columns.best_record_of(report)
        figures = {
            "best/accuracy": best.val_accuracy,
            "best/loss": best.val_loss,
            "best/epoch": best.epoch,
        }
        self._best[trial.trial_id] = trial, figures
        if report.get(_DONE) or report[columns.FINISHED]:
            self._close(trial)

    def on_end(self, trial: WatchedTrial, last: Mapping[str, Any] | None) -> None:
        """Write the trial's line of the HParams tab; what a failed one reached is worth seeing."""
        del last
        self._close(trial)

    def on_close(self) -> None:
        """Close what is still open: trials that were interrupted."""
        for trial, _ in list(self._best.values()):
            self._close(trial)

    def _validations(self, number: int) -> set[int]:
        """Those that a trial's event files have."""
        if number not in self._written:
            folder = self._folder.tensorboard / self._folder.trial_name(number)
            self._patience.attempt(lambda: self._folder.complete(folder))
            self._written[number] = steps_of(_SCALARS["val_loss"], folder)
        return self._written[number]

    def _file(self, trial: WatchedTrial) -> EventFile:
        if trial.trial_id not in self._files:
            folder = self._folder.tensorboard_of(trial.number)
            self._files[trial.trial_id] = EventFile(folder)
        return self._files[trial.trial_id]

    def _close(self, trial: WatchedTrial) -> None:
        if trial.trial_id not in self._best:
            return
        _, best = self._best.pop(trial.trial_id)
        flat = flatten(json.loads(trial.config))
        values = {
            printable_line(name): _plain(flat[name]) for name in self._parameters if name in flat
        }
        self._patience.attempt(lambda: self._file(trial).add_hparams(values, best))
        self._files.pop(trial.trial_id, None)
        self._written.pop(trial.number, None)


def _tagged(step: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """A logged step's number, and its figures by their tags."""
    figures = {f"steps/{name}": value for name, value in step.items() if name != "step"}
    return int(step["step"]), figures


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | int | float):
        return value
    return printable_line(value) if isinstance(value, str) else json.dumps(value)
