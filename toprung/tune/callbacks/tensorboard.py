"""TensorBoard: each trial's scalars while it runs, and its best value in the HParams tab."""

import json
from collections.abc import Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import DONE

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.storage.event_file import EventFile, steps_of
from toprung.storage.retry import Patience
from toprung.trainables.config import flatten
from toprung.trainables.results import columns
from toprung.trainables.system.printable import printable_line
from toprung.tune.callbacks.not_pickled import NotPickled

_SCALARS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "val_mean_class_accuracy": "mean_class_accuracy/validation",
    "lr": "lr",
}


class TensorBoardCallback(NotPickled, Callback):  # type: ignore[misc]
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
        self._best: dict[str, dict[str, float]] = {}
        self._written: dict[int, set[int]] = {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Write one validation's scalars."""
        del iteration, trials, info
        # Trials are closed with their last report, before the study is told that they have ended:
        # if the driver is killed then, the resumed sweep will not hear of this trial again.
        if columns.FAILURE in result:
            self._close(trial)
        if columns.VALIDATION not in result:
            return
        scalars = {tag: result[name] for name, tag in _SCALARS.items()}
        steps = [
            (result[columns.VALIDATION], scalars),
            *(_tagged(step) for step in result[columns.STEPS]),
        ]
        written = self._validations(trial.config["number"])
        if result[columns.VALIDATION] not in written:
            self._patience.attempt(lambda: self._file(trial).add_scalars(*steps))
            written.add(result[columns.VALIDATION])
        best = columns.best_record_of(result)
        self._best[trial.trial_id] = {
            "best/accuracy": best.val_accuracy,
            "best/loss": best.val_loss,
            "best/epoch": best.epoch,
        }
        if result.get(DONE) or result[columns.FINISHED]:
            self._close(trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Write the trial's line of the HParams tab."""
        del iteration, trials, info
        self._close(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """As for a trial that completes: what it reached is worth seeing."""
        del iteration, trials, info
        self._close(trial)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close what is still open: trials that were cut short."""
        del info
        for trial in trials:
            self._close(trial)

    def _validations(self, number: int) -> set[int]:
        """Those that a trial's event files have."""
        if number not in self._written:
            folder = self._folder.tensorboard / self._folder.trial_name(number)
            self._patience.attempt(lambda: self._folder.complete(folder))
            self._written[number] = steps_of(_SCALARS["val_loss"], folder)
        return self._written[number]

    def _file(self, trial: Trial) -> EventFile:
        if trial.trial_id not in self._files:
            folder = self._folder.tensorboard_of(trial.config["number"])
            self._files[trial.trial_id] = EventFile(folder)
        return self._files[trial.trial_id]

    def _close(self, trial: Trial) -> None:
        best = self._best.pop(trial.trial_id, None)
        if best is None:
            return
        flat = flatten(json.loads(trial.config["config"]))
        values = {
            printable_line(name): _plain(flat[name]) for name in self._parameters if name in flat
        }
        self._patience.attempt(lambda: self._file(trial).add_hparams(values, best))
        self._files.pop(trial.trial_id, None)
        self._written.pop(trial.config["number"], None)


def _tagged(step: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """A logged step's number, and its figures by their tags."""
    figures = {f"steps/{name}": value for name, value in step.items() if name != "step"}
    return int(step["step"]), figures


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | int | float):
        return value
    return printable_line(value) if isinstance(value, str) else json.dumps(value)
