"""Waiting for what comes back: room on the disk, the connection to a database or a store."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from toprung.errors import NOT_FINISHED, ToprungError
from toprung.trainables.files.object_store import StoreError
from toprung.trainables.results.failures import DISK_IS_FULL

Result = TypeVar("Result")

SECONDS_BETWEEN_TRIES = 1.0
MAX_SECONDS = 600.0
_SQLITE = ("database or disk is full", "database is locked", "disk I/O error")


class RecordLostError(ToprungError):
    """The sweep's record could not be written for so long that the sweep ends."""

    exit_code = NOT_FINISHED


class Patience:
    """Tries again what fails for want of room or of a connection, for ten minutes.

    The trials go on meanwhile, as far as their next report. Nothing is decided that is not written.

    Args:
        tell: shows the user a line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._ended = threading.Event()
        self.lost: RecordLostError | None = None

    def end(self) -> None:
        """Wait no more, now and later: the user wants the sweep to end."""
        self._ended.set()

    def attempt(self, action: Callable[[], None]) -> None:
        """Do it, or give up in silence: whoever asks `lost` ends the sweep."""
        with suppress(RecordLostError):
            self(action)

    def __call__(self, action: Callable[[], Result]) -> Result:
        """What the action returns, in the end.

        Raises:
            RecordLostError: if it has failed for too long, or for another cause, or the user wants
                the sweep to end.
        """
        if self.lost:
            raise self.lost
        deadline = monotonic() + MAX_SECONDS
        told = False
        while True:
            try:
                result = action()
            except RecordLostError as error:
                self.lost = error
                raise
            except (OSError, DBAPIError) as error:
                problem, may_pass = _problem(error)
                over = not may_pass or monotonic() > deadline
                if over or self._ended.wait(SECONDS_BETWEEN_TRIES):
                    self.lost = RecordLostError(f"the sweep's record cannot be written: {problem}")
                    raise self.lost from error
                if not told:
                    self._tell(f"waiting, because the sweep's record cannot be written: {problem}")
                told = True
            else:
                if told:
                    self._tell("the sweep's record can be written again; the sweep goes on")
                return result


def _problem(error: OSError | DBAPIError) -> tuple[str, bool]:
    """What is wrong, in a line, and whether waiting may help."""
    if isinstance(error, StoreError):
        return str(error), error.may_pass
    if isinstance(error, OSError):
        return str(error), error.errno in DISK_IS_FULL
    problem = str(error.orig).partition("\n")[0]
    if isinstance(error.orig, sqlite3.Error):
        return problem, any(words in problem for words in _SQLITE)
    return problem, isinstance(error, OperationalError | InterfaceError)
