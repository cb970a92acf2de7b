"""Says when trials wait and none runs: a sweep never pends in silence."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from ray.tune import Callback

from toprung.cluster.room import room
from toprung.ray_parts import NotPickled
from toprung.settings import SweepSettings

SECONDS_TO_WAIT = 30.0


class RoomWatch(NotPickled, Callback):  # type: ignore[misc]
    """Looks how long there has been a trial that waits, and none that runs.

    Args:
        settings: the sweep's, settled.
        tell: shows the user a line.
        look: says what is asked for and what is free.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        settings: SweepSettings,
        tell: Callable[[str], None],
        look: Callable[[SweepSettings], str] = room,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._look = look
        self._clock = clock
        self._since = clock()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Say so every half a minute."""
        del iteration, info
        states = {trial.status for trial in trials}
        if "RUNNING" in states or "PENDING" not in states:
            self._since = self._clock()
        elif self._clock() - self._since > SECONDS_TO_WAIT:
            self._since = self._clock()
            waited = f"no trial could begin for {SECONDS_TO_WAIT:g} s"
            self._tell(f"{waited}: {self._look(self._settings)}")
