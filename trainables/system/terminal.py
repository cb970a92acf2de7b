"""The door to the terminal: what this process writes to stdout and stderr is printable."""

import sys
from typing import Any

from toprung.trainables.system.printable import printable


class PrintableStream:
    """A text stream that writes what is printable of a text, see `printable`.

    It has no `buffer`, through which bytes would go by it. Only a `PrintableConsole` may: the
    escapes that it writes are its own.

    Args:
        stream: where the text goes.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, and return how long it was."""
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
    """From now on, let stdout and stderr show nothing but what is printable."""
    if not isinstance(sys.stdout, PrintableStream):
        sys.stdout = PrintableStream(sys.stdout)
    if not isinstance(sys.stderr, PrintableStream):
        sys.stderr = PrintableStream(sys.stderr)
