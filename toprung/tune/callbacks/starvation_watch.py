"""Says when trials wait and none runs: a sweep never pends in silence."""

from collections.abc import Callable
from time import monotonic

from toprung.cluster.placement.free_resources import why_none_begins
from toprung.cluster.placement.packing import Packing
from toprung.settings import SweepSettings
from toprung.tune.callbacks.watcher import TrialStates, Watcher

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_WAIT = 30.0


class RoomWatch(Watcher):
    """Looks how long there has been a trial that waits, and none that runs.

    Args:
        packing: knows what a trial asks for now.
        tell: shows the user a line.
        look: says why a trial that asks for so much has not begun.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        packing: Packing,
        tell: Callable[[str], None],
        look: Callable[[SweepSettings], str] = why_none_begins,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._packing = packing
        self._tell = tell
        self._look = look
        self._clock = clock
        self._since = self._looked = clock()

    def on_step(self, trials: TrialStates) -> None:
        """Say so every half a minute."""
        now = self._clock()
        if now - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        if trials.running() or not trials.any_waits():
            self._since = now
        elif now - self._since > SECONDS_TO_WAIT:
            self._since = now
            why = self._look(self._packing.settings)
            self._tell(f"no trial has begun for {SECONDS_TO_WAIT:g} s: {why}")
