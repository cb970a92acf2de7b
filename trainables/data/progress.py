"""Reporting the progress of a long loop on stderr."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, title: str, *, show: bool) -> Iterator[T]:
    """Yield the items and show progress: a bar on a terminal, or else a first and a last line."""
    if not show:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, total, title)
    else:
        yield from _lines(items, total, title)


def _bar(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    from rich.progress import track

    from toprung.trainables.system.console import PrintableConsole

    yield from track(items, description=title, total=total, console=PrintableConsole(stderr=True))


def _lines(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    start = time.monotonic()
    print(f"{title}: {total} images", file=sys.stderr)
    yield from items
    print(f"{title}: done in {time.monotonic() - start:.1f} s", file=sys.stderr)
