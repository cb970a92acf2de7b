"""Listing images in class folders, with or without a folder for each split above them."""

import mimetypes
from collections.abc import Iterator
from pathlib import Path

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.image_list import SPLIT_WORDS, ListedImage, Split
from toprung.trainables.system.typed_settings import nearest

Identity = tuple[int, int]
JUNK = {"thumbs.db", "desktop.ini", "__macosx"}


def list_folder(root: Path) -> list[ListedImage]:
    """All files in the class folders of `root`, or in those of its `train`, `val`, `test`.

    Raises:
        DataError: There are no class folders, some are empty, or images lie outside them.
    """
    folders = sub_folders(root)
    if any(folder.name.lower() in SPLIT_WORDS for folder in folders):
        splits = _split_folders(root, folders)
        return [image for split in splits for image in list_classes(root, splits[split], split)]
    return list_classes(root, root, None)


def _split_folders(root: Path, folders: list[Path]) -> dict[Split, Path]:
    splits: dict[Split, Path] = {}
    for folder in folders:
        split = SPLIT_WORDS.get(folder.name.lower())
        if split is None:
            raise DataError(
                f"The folder {str(folder)!r} is beside train, val or test folders, but is not one "
                f"of them{nearest(folder.name, set(SPLIT_WORDS))}. Rename it or move it elsewhere."
            )
        if split in splits:
            raise DataError(
                f"The folder {str(root)!r} has two {split} sets: {splits[split].name!r} and "
                f"{folder.name!r}; keep one."
            )
        splits[split] = folder
    if "train" not in splits:
        names = " and ".join(repr(folder.name) for folder in folders)
        raise DataError(f"The folder {str(root)!r} has {names}, but no 'train' folder.")
    return splits


def list_classes(root: Path, folder: Path, split: Split | None) -> list[ListedImage]:
    """All files in the class folders of `folder`, named by their paths below `root`.

    Raises:
        DataError: There are no class folders, some are empty, or images lie outside them.
    """
    _refuse_loose_images(folder)
    above = {_identity(root), _identity(folder)}
    files = {path: list(_files_below(path, set(above))) for path in sub_folders(folder)}
    if not files:
        raise DataError(
            f"The folder {str(folder)!r} has no class folders; expected one folder for each class, "
            "with its images inside."
        )
    if empty := [path for path, found in files.items() if not found]:
        raise DataError(f"These class folders have no images:{bullets(map(str, empty))}")
    depth = len(root.parts)
    return [
        ListedImage("/".join(file.parts[depth:]), path.name, split, file)
        for path, found in files.items()
        for file in found
    ]


def _refuse_loose_images(folder: Path) -> None:
    loose = [path for path in visible(folder) if not path.is_dir() and _looks_like_image(path)]
    if loose:
        raise DataError(
            f"These images lie outside the class folders of {str(folder)!r}:"
            f"{bullets(path.name for path in loose)}"
        )


def _looks_like_image(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0]
    return kind is not None and kind.startswith("image/")


def _files_below(folder: Path, entered: set[Identity]) -> Iterator[Path]:
    # Each real folder is entered once, and no folder above: loops of links come to an end.
    ahead = [folder]
    while ahead:
        path = ahead.pop()
        if not path.is_dir():
            yield path
        elif (identity := _identity(path)) not in entered:
            entered.add(identity)
            ahead += reversed(visible(path))


def _identity(folder: Path) -> Identity:
    """A value equal for all links to a folder; faster to find than its real path if it is deep."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones and those of operating systems."""
    return [path for path in visible(folder) if path.is_dir()]


def visible(folder: Path) -> list[Path]:
    """The content of a folder, sorted, without hidden files and those of operating systems."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"The folder {str(folder)!r} cannot be read: {error.strerror}.") from error
    return [p for p in paths if not p.name.startswith(".") and p.name.lower() not in JUNK]
