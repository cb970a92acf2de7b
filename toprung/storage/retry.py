"""Retrying after passing failures: a full disk, a lost connection to a database or a store."""

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
    """The sweep ends because its record could not be written for too long."""

    exit_code = NOT_FINISHED


class Patience:
    """Retries, for ten minutes, actions that fail for lack of disk space or of a connection.

    The trials continue meanwhile until their next report; no decision is made that is not written.

    Args:
        show: shows the user a line.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._ended = threading.Event()
        self.lost: RecordLostError | None = None

    def end(self) -> None:
        """Stop all waiting, now and later: the user wants the sweep to end."""
        self._ended.set()

    def attempt(self, action: Callable[[], None]) -> None:
        """Run the action, or give up silently: the caller that checks `lost` ends the sweep."""
        with suppress(RecordLostError):
            self(action)

    def __call__(self, action: Callable[[], Result]) -> Result:
        """Return the result of the action, retrying as long as it may still succeed.

        Raises:
            RecordLostError: if it has failed for too long, or for a reason that will not pass, or
                the user wants the sweep to end.
        """
        if self.lost:
            raise self.lost
        deadline = monotonic() + MAX_SECONDS
        shown = False
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
                if not shown:
                    self._show(f"waiting, because the sweep's record cannot be written: {problem}")
                shown = True
            else:
                if shown:
                    self._show("the sweep's record can be written again; the sweep continues")
                return result


def _problem(error: OSError | DBAPIError) -> tuple[str, bool]:
    """The problem, in one line, and whether waiting may help."""
    if isinstance(error, StoreError):
        return str(error), error.may_pass
    if isinstance(error, OSError):
        return str(error), error.errno in DISK_IS_FULL
    problem = str(error.orig).partition("\n")[0]
    if isinstance(error.orig, sqlite3.Error):
        return problem, any(words in problem for words in _SQLITE)
    return problem, isinstance(error, OperationalError | InterfaceError)
