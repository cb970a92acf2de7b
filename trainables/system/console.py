"""Rich's console for text that others wrote: its own escapes work, those in a text are shown."""

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from toprung.trainables.system.printable import printable
from toprung.trainables.system.terminal import PrintableStream


class PrintableConsole(Console):
    """Writes the escapes of its own styles and cursor, and shows those within a text as text."""

    @property
    def file(self) -> IO[str]:
        """Where it writes; past a `PrintableStream`, which would show its own escapes as text."""
        file: Any = super().file
        while isinstance(file, PrintableStream):
            file = file.stream
        return file  # type: ignore[no-any-return]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something that is shown."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
