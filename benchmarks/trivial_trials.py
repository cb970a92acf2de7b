"""A trial that does nothing but report once, and a clock for sweeps of many of them."""

import os
import random
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback

from trainables import report
from trainables.record import Record

CONCURRENCY = 2
CHECKPOINT = b"0" * 1000


def report_once(trial: dict[str, Any]) -> None:
    """Report what a trial of one epoch does, with a checkpoint of a kilobyte."""
    accuracy = random.Random(str(trial)).random()
    record = asdict(Record(1, 1.0, 1.0, accuracy, 1.0, accuracy, accuracy, 0.01, 0.1))
    best = {f"best_{name}": value for name, value in record.items()}
    figures = {
        **record,
        **best,
        report.SCORE: accuracy,
        report.FINISHED: True,
        report.STEPS: [],
        report.FROZEN_PART: "",
        report.PRECISION: "fp32",
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.pt").write_bytes(CHECKPOINT)
        tune.report(figures, checkpoint=tune.Checkpoint.from_directory(folder))


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
        self._kilobytes: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it need be kept for a restore."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Note the moment."""
        del iteration, trials, info
        self._times.append(time.monotonic())
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


def _resident_kilobytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1000
