"""What is known of a data set that has a name, and how its folder is found below a root."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.image_list import Source


@dataclass(frozen=True)
class NamedSet:
    """A data set known by name.

    Attributes:
        open: From the root below which its files lie to its images; raises `MissingFilesError`.
        website: Where a user gets it by hand.
        download: Downloads it below a root, checked by its checksum; imports torchvision. None
            where no checksum is known.
        folder: The folder that the download makes there.
    """

    open: Callable[[Path], Source]
    website: str
    download: Callable[[Path], None] | None = None
    folder: str = ""


class MissingFilesError(DataError):
    """The files of a data set are not below the root; the message says what was looked for."""


def find_folder(root: Path, places: Sequence[str], contents: Sequence[str]) -> Path:
    """The first of the `places` below `root` that has all the `contents`.

    Raises:
        MissingFilesError: With what each place lacks.
    """
    folders = [root / place for place in places]
    lacking = [_lacking(folder, contents) for folder in folders]
    for folder, names in zip(folders, lacking, strict=True):
        if not names:
            return folder
    lines = [
        f"{folder}: {'lacks ' + ', '.join(names) if folder.is_dir() else 'is not there'}"
        for folder, names in zip(folders, lacking, strict=True)
    ]
    raise MissingFilesError(f"Looked for a folder with {', '.join(contents)}:{bullets(lines)}")


def _lacking(folder: Path, contents: Sequence[str]) -> list[str]:
    return [name for name in contents if not (folder / name).exists()]
