"""Trials that do nothing but report, and a clock for sweeps of many of them."""

import json
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback

from toprung.trainables.results.columns import to_report
from toprung.trainables.results.records import Record, Validation

CONCURRENCY = 2
CHECKPOINT = b"0" * 1000
EPOCH_SECONDS = 0.01


def report_once(trial: dict[str, Any]) -> None:
    """Report what a trial of one epoch does, with a checkpoint of a kilobyte."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.pt").write_bytes(CHECKPOINT)
        figures = report_of(1, 1, random.Random(str(trial)).random())
        tune.report(figures, checkpoint=tune.Checkpoint.from_directory(folder))


def report_often(trial: dict[str, Any]) -> None:
    """Sleep and report, once for each of the trial's epochs, and train nothing."""
    epochs = json.loads(trial["config"])["training"]["epochs"]
    accuracy = random.Random(str(trial)).random()
    for epoch in range(1, epochs + 1):
        time.sleep(EPOCH_SECONDS)
        tune.report(report_of(epoch, epochs, accuracy))


def report_of(epoch: int, epochs: int, accuracy: float) -> dict[str, Any]:
    """What a trial of so many epochs tells of this one, its best yet."""
    record = Record(epoch, epoch, 1.0, accuracy, 1.0, accuracy, accuracy, 0.01, epoch / 10)
    validation = Validation(record, record, epoch == epochs, nothing_to_save)
    return to_report(validation, "val_accuracy")


def nothing_to_save(folder: Path) -> None:
    """Keep no checkpoint."""


@dataclass(frozen=True)
class Costs:
    """What a sweep of trivial trials cost.

    `per_trial_ms` is the time between the first and the last result, for each trial in each of
    the `CONCURRENCY` places; `growth_kb` is the growth of the driver's memory per trial after the
    first fifth of them; `start_s` is the time from the call of `fit` to the first result, and
    `tail_s` from the last result to its return.
    """

    per_trial_ms: float
    growth_kb: float
    start_s: float
    tail_s: float


class Clock(Callback):  # type: ignore[misc]
    """Takes the time, and the driver's memory, at each trial's result."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._times: list[float] = []
        self._cpu_times: list[float] = []
        self._kilobytes: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it need be kept for a restore."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Note the moment."""
        del iteration, trials, info
        self._times.append(time.monotonic())
        self._cpu_times.append(time.process_time())
        self._kilobytes.append(_resident_kilobytes())

    def costs(self) -> Costs:
        """What the sweep cost whose `fit` has just returned."""
        times, kilobytes = self._times, self._kilobytes
        warm = len(times) // 5
        return Costs(
            per_trial_ms=1000 * CONCURRENCY * (times[-1] - times[0]) / (len(times) - 1),
            growth_kb=(kilobytes[-1] - kilobytes[warm]) / (len(times) - 1 - warm),
            start_s=times[0] - self._started,
            tail_s=time.monotonic() - times[-1],
        )

    def rates(self) -> dict[str, float]:
        """Results per second, and the driver's CPU milliseconds for each, without the first fifth.

        In that fifth the trials' processes are still starting.
        """
        warm = len(self._times) // 5
        num_results = len(self._times) - 1 - warm
        return {
            "per_second": num_results / (self._times[-1] - self._times[warm]),
            "cpu_ms": 1000 * (self._cpu_times[-1] - self._cpu_times[warm]) / num_results,
            "growth_kb": (self._kilobytes[-1] - self._kilobytes[warm]) / num_results,
        }


def _resident_kilobytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1000
