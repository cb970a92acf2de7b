"""Writes down what trials report."""

import json
from collections.abc import Mapping
from typing import Any

from ray.tune.utils.util import SafeFallbackEncoder

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.storage.append import append, cut_torn_line
from toprung.storage.retry import Patience
from toprung.trainables.results import columns
from toprung.tune.callbacks.watcher import WatchedTrial, Watcher


class ResultLog(Watcher):
    """Writes each trial's `result.json`, straight into the sweep's folder.

    Ray's own logger writes to a folder of its session, from where snapshots copy. What a resumed
    trial repeats of its reports is there already.

    Args:
        folder: the sweep's.
        patience: waits where the disk is full.
    """

    def __init__(self, folder: SweepFolder, patience: Patience) -> None:
        self._folder = folder
        self._patience = patience
        self._last: dict[int, tuple[int, bool]] = {}

    def on_report(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        """Append the report as a line."""
        number = trial.number
        self._patience.attempt(lambda: self._note_last_of(number))
        last, failed = self._last.get(number, (0, False))
        fails = columns.FAILURE in report
        validation = report.get(columns.VALIDATION, last)
        if validation < last or (validation == last and fails <= failed):
            return
        told = {name: value for name, value in report.items() if name != columns.REPLAYED}
        line = json.dumps(told, cls=SafeFallbackEncoder) + "\n"
        path = self._folder.result_log(number)
        self._patience.attempt(lambda: append(path, line.encode("utf-8")))
        self._last[number] = validation, fails

    def _note_last_of(self, number: int) -> None:
        """Take note of the last validation in a trial's file, and whether it failed after it."""
        if number not in self._last:
            path = self._folder.result_log(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                cut_torn_line(path)
            known = [
                (said.get(columns.VALIDATION, 0), columns.FAILURE in said)
                for said in self._folder.reports(number)
            ]
            validations = [validation for validation, _ in known]
            failed = bool(known) and known[-1][1]
            self._last[number] = max(validations, default=0), failed
