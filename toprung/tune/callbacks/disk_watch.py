"""Says when the sweep's disk is full: trials then wait for room to write their checkpoints."""

import shutil
from collections.abc import Callable
from time import monotonic

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.tune.callbacks.mirror import Mirror
from toprung.tune.callbacks.watcher import TrialStates, Watcher

SECONDS_BETWEEN_LOOKS = 5.0
_FOR_THE_REST = 2**20
"""Bytes for all that is not a checkpoint."""


class DiskWatch(Watcher):
    """Looks from time to time whether there is room for a checkpoint.

    Args:
        folder: the sweep's.
        tell: shows the user a line.
        mirror: knows whether the store is away, if the sweep lies in one.
    """

    def __init__(
        self, folder: SweepFolder, tell: Callable[[str], None], mirror: Mirror | None = None
    ) -> None:
        self._folder = folder
        self._tell = tell
        self._looked = monotonic()
        self._mirror = mirror
        self.is_full = False

    @property
    def trials_wait(self) -> bool:
        """Whether trials wait for room, or for the store, to write their checkpoints."""
        return self.is_full or (self._mirror is not None and self._mirror.is_store_away)

    def on_step(self, trials: TrialStates) -> None:
        """Say that the disk is full, or that it no longer is."""
        if monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = monotonic()
        was_full, self.is_full = self.is_full, self._has_no_room(trials)
        if self.is_full and not was_full:
            self._tell(f"the disk of {self._folder.path} is full: trials wait, ten minutes each")
        elif was_full and not self.is_full:
            self._tell("there is room on the disk again")

    def _has_no_room(self, trials: TrialStates) -> bool:
        files = map(self._folder.checkpoint_file, trials.running())
        largest = max((file.stat().st_size for file in files if file.exists()), default=0)
        return shutil.disk_usage(self._folder.path).free < largest + _FOR_THE_REST
