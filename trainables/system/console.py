"""Rich's console for untrusted text: its own escapes work, those within a text are made visible."""

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from toprung.trainables.system.printable import printable
from toprung.trainables.system.terminal import PrintableStream


class PrintableConsole(Console):
    """Writes the escapes of its own styles and cursor, and makes those within a text visible."""

    @property
    def file(self) -> IO[str]:
        """The output stream; not a `PrintableStream`, which would make its own escapes visible."""
        file: Any = super().file
        while isinstance(file, PrintableStream):
            file = file.stream
        return file  # type: ignore[no-any-return]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, with every character of a text visible."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
