"""Where everything lies in a sweep's folder: the only file that knows the names.

sweep.yaml        what was asked for: settings, space, data, versions
search_space.py   the space's own source
study.db          the Optuna study: what was tried, what each trial scored, how it ended
decisions.jsonl   what was decided, in order, a line each
driver.lock       held by the process that runs the sweep
splits.csv        which image is in which split, and the hash of its content
duplicates.csv    the images that are there more than once, if there are any
trials/           a folder per trial: its reports, its checkpoint; and what Ray Tune writes
tensorboard/      scalars and hyperparameters, a folder per trial
best/             the export of the winner
exports/          exports of other trials, where asked for
sealed_test.json  every opening of the test set
test_predictions/ what each model that was opened said of the test images, and some of them
report/           the report and its pictures
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.report import CHECKPOINT_FILE

RAY_EXPERIMENT = "trials"


class SweepFolderError(ValueError):
    """A folder that is not the sweep, export or result that was asked for."""


@dataclass(frozen=True)
class SweepFolder:
    """The paths in one sweep's folder."""

    path: Path

    @property
    def settings(self) -> Path:
        """What was asked for."""
        return self.path / "sweep.yaml"

    @property
    def search_space(self) -> Path:
        """The source of the search space."""
        return self.path / "search_space.py"

    @property
    def study(self) -> Path:
        """The Optuna study's SQLite file."""
        return self.path / "study.db"

    @property
    def decisions(self) -> Path:
        """What was decided, in order, a JSON object per line."""
        return self.path / "decisions.jsonl"

    @property
    def lock(self) -> Path:
        """The file that the process which runs the sweep holds locked."""
        return self.path / "driver.lock"

    @property
    def splits(self) -> Path:
        """Which image is in which split."""
        return self.path / "splits.csv"

    @property
    def duplicates(self) -> Path:
        """The images that are there more than once; missing if there are none."""
        return self.path / "duplicates.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's log folder."""
        return self.path / "tensorboard"

    @property
    def best(self) -> Path:
        """The export of the winner."""
        return self.path / "best"

    def export_of(self, number: int) -> Path:
        """The export of a trial that is not the winner."""
        return self.path / "exports" / self.trial_name(number)

    @property
    def any_trial_reported(self) -> bool:
        """Whether Ray has written a result of any trial."""
        return any((self.path / RAY_EXPERIMENT).glob("*/result.json"))

    @property
    def sealed_test(self) -> Path:
        """The record of every opening of the test set."""
        return self.path / "sealed_test.json"

    def test_predictions(self, number: int) -> Path:
        """What a trial's model said of the test images, and some of these."""
        return self.path / "test_predictions" / f"{self.trial_name(number)}.npz"

    @property
    def report(self) -> Path:
        """The folder of the report and its pictures."""
        return self.path / "report"

    def result_log(self, number: int) -> Path:
        """A trial's reports, one JSON object per line."""
        return self.trial(number) / "result.json"

    def reports(self, number: int) -> list[dict[str, Any]]:
        """What a trial has reported so far, in order; half-written lines are left out."""
        return _reports(self.result_log(number))

    @staticmethod
    def trial_name(number: int) -> str:
        """The name of a trial's folders."""
        return f"trial_{number:05d}"

    def trial(self, number: int) -> Path:
        """A trial's folder."""
        return self.path / RAY_EXPERIMENT / self.trial_name(number)

    def checkpoint_file(self, number: int) -> Path:
        """Where the one checkpoint of a trial is, if it has one."""
        return self.trial(number) / CHECKPOINT_FILE

    def checkpoint(self, number: int) -> Path:
        """The folder of a trial's checkpoint, which holds the trial's best weights too.

        Raises:
            SweepFolderError: if the trial has none, or it has not been kept.
        """
        if not self.checkpoint_file(number).exists():
            raise SweepFolderError(
                f"trial {number} of {self.path}: has no checkpoint; it was removed, or not kept "
                "(--keep-checkpoints). Its config is there: toprung best"
            )
        return self.trial(number)


def _reports(results: Path) -> list[dict[str, Any]]:
    # What is no text is no whole line either.
    lines = results.read_text("utf-8", "replace").splitlines() if results.exists() else []
    return [report for line in lines if (report := _plain(line))]


def _plain(line: str) -> dict[str, Any]:
    """A report; nothing of the line that a killed process left half-written."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}
