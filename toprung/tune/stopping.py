"""When and why a sweep ends: its time, a signal, trials that all fail, a record that is lost."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

from ray.tune.stopper import Stopper

from toprung.analysis.sweep_folder import attributes
from toprung.errors import NOT_FINISHED
from toprung.settings import SweepSettings
from toprung.storage.retry import Patience
from toprung.trainables.results import columns
from toprung.tune.callbacks.not_pickled import NotPickled
from toprung.tune.searcher import StudySearcher

MAX_SECONDS_TO_END = 10.0
"""For how long Ray may take to end after a signal; all that matters is written by then."""


class Ending(NotPickled, Stopper):  # type: ignore[misc]
    """Ends the sweep when its time is used up, when a signal asks for it, or when it is hopeless.

    If a confirmation was asked for, the time is that of the search alone: its trials end with their
    next validation, and the best of them are confirmed.

    Args:
        settings: the sweep's.
        searcher: knows the trials.
        patience: knows whether the record can be written.
        tell: shows the user a line.
        kill_ray: kills what is left of a Ray that has lost a process.
        seconds_used: before the sweep was resumed.
    """

    def __init__(
        self,
        settings: SweepSettings,
        searcher: StudySearcher,
        patience: Patience,
        tell: Callable[[str], None],
        *,
        kill_ray: Callable[[], None],
        seconds_used: float = 0.0,
    ) -> None:
        budget = settings.time_budget
        self._deadline = monotonic() + budget - seconds_used if budget else None
        self._confirms = bool(settings.confirm)
        self._searcher = searcher
        self._patience = patience
        self._tell = tell
        self._kill_ray = kill_ray
        self._returned = threading.Event()
        self.interrupted = self.ray_is_lost = False
        self.ended = attributes.FINISHED

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial, as the search is to end and the sweep is not."""
        return columns.REPLAYED not in result and self._searcher.is_cut_off(trial_id)

    def stop_all(self) -> bool:
        """Whether to end the sweep now; `ended` keeps why."""
        if self.interrupted or self._patience.lost:
            self.ended = attributes.INTERRUPTED
            return True
        if verdict := self._searcher.verdict:
            if self.ended != attributes.GAVE_UP:
                self._tell(f"giving up: {verdict}")
            self.ended = attributes.GAVE_UP
            return True
        if self._deadline is None or monotonic() < self._deadline:
            return False
        if self._confirms:
            if self._searcher.cut_off():
                self.ended = attributes.TIME_BUDGET
            return False
        self.ended = attributes.TIME_BUDGET
        return True

    def interrupt(self) -> None:
        """End the sweep in order, as soon as it can."""
        self.interrupted = True
        # Not from a signal's handler: what it interrupts may hold the lock that is needed.
        threading.Thread(target=self._end_anyhow, daemon=True, name="end anyhow").start()

    def lose_ray(self, told: str) -> None:
        """End the sweep, because Ray has lost a process; what it had to do in the end is left."""
        self.ray_is_lost = True
        self._tell(told)
        self.interrupt()

    def _end_anyhow(self) -> None:
        """End the process where Ray does not: it may have got the signal as well, and be gone."""
        self._patience.end()
        if not self._returned.wait(MAX_SECONDS_TO_END):
            if not self.ray_is_lost:
                self._tell("interrupted; resume with: toprung resume (Ray had not ended in time)")
            self._kill_ray()
            os._exit(NOT_FINISHED)

    def close(self) -> None:
        """The sweep has ended."""
        self._returned.set()


@contextmanager
def signals_set(ending: Ending) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the sweep in order; the second ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        restore()
        ending.interrupt()

    for number in signals:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        restore()
