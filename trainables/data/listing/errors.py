"""Errors in the data that a user can fix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toprung.trainables.system.printable import printable_line

MAX_SHOWN = 20


class DataError(ValueError):
    """An error in the data; its message names the setting or file, its value and the rule."""


class NoSuchDrawError(DataError):
    """There are too few images for the requested number of disjoint test sets."""


def bullets(lines: Iterable[str]) -> str:
    """A bulleted list of at most 20 lines, and the number of the others."""
    all_lines = list(map(printable_line, lines))
    shown = [f"\n  - {line}" for line in all_lines[:MAX_SHOWN]]
    if len(all_lines) > MAX_SHOWN:
        shown.append(f"\n  and {len(all_lines) - MAX_SHOWN} more")
    return "".join(shown)


@dataclass(frozen=True)
class BadImage:
    """A file that cannot be decoded, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return printable_line(f"{self.name}: {self.reason}")


class BadImagesError(DataError):
    """Some files cannot be decoded; all of them are in `bad_images`."""

    def __init__(self, bad_images: Sequence[BadImage]) -> None:
        self.bad_images = tuple(bad_images)
        super().__init__(
            f"{len(bad_images)} of the files cannot be decoded; fix or remove them, or set "
            "data/skip_bad_images to true (--skip-bad-images) to leave them out:"
            f"{bullets(map(str, bad_images))}"
        )

    def __reduce__(self) -> tuple[type["BadImagesError"], tuple[tuple[BadImage, ...]]]:
        # By default exceptions are pickled with their message; Ray pickles its workers' exceptions.
        return BadImagesError, (self.bad_images,)
