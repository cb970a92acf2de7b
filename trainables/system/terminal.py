"""Terminal output: everything that this process writes to stdout and stderr is printable."""

import sys
from typing import Any

from toprung.trainables.system.printable import printable


class PrintableStream:
    """A text stream that makes every character visible; see `printable`.

    It has no `buffer`, through which bytes would bypass it. Only a `PrintableConsole` may bypass
    it, because it writes escapes of its own.

    Args:
        stream: the stream to write to.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, and return its length."""
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError("a PrintableStream has no buffer")
        return getattr(self.stream, name)


def print_only_printable() -> None:
    """From now on, make every character that is written to stdout and stderr visible."""
    if not isinstance(sys.stdout, PrintableStream):
        sys.stdout = PrintableStream(sys.stdout)
    if not isinstance(sys.stderr, PrintableStream):
        sys.stderr = PrintableStream(sys.stderr)
