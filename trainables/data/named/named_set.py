"""The description of a data set known by name, and finding its folder below a root."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.image_list import Source


@dataclass(frozen=True)
class NamedSet:
    """A data set known by name.

    Attributes:
        open: Returns the images whose files are below a root; raises `MissingFilesError`.
        website: The website from which a user gets the files by hand.
        download: Downloads the files below a root and verifies their checksum; imports torchvision.
            None if no checksum is known.
        folder: The folder that the download creates there.
    """

    open: Callable[[Path], Source]
    website: str
    download: Callable[[Path], None] | None = None
    folder: str = ""


class MissingFilesError(DataError):
    """The files of a data set are not below the root; the message says what was looked for."""


def find_folder(root: Path, places: Sequence[str], contents: Sequence[str]) -> Path:
    """The first of the folders `places` below `root` that has all the `contents`.

    Raises:
        MissingFilesError: Listing what each folder lacks.
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
