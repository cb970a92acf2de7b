"""Redacts the tracebacks of uncaught errors, which go to a terminal or to a job's log."""

import sys
import threading
from traceback import format_exception
from types import TracebackType

from toprung.trainables.system.secrecy import redacted


def show_without_secrets() -> None:
    """From now on, show the tracebacks of uncaught errors without secrets."""
    sys.excepthook = _show
    threading.excepthook = _show_of_thread


def _show(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    print(redacted("".join(format_exception(kind, error, place))), end="", file=sys.stderr)


def _show_of_thread(raised: threading.ExceptHookArgs) -> None:
    if (
        raised.exc_value is not None and raised.exc_type is not SystemExit
    ):  # which ends a thread normally
        _show(raised.exc_type, raised.exc_value, raised.exc_traceback)
