"""From the name of a source to its images."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from trainables.data.built_in import BUILT_INS
from trainables.data.csv_file import list_csv
from trainables.data.errors import DataError
from trainables.data.folder import list_folder
from trainables.data.image_list import ListedImage
from trainables.settings import nearest


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        identity: Text that differs whenever an image may differ; made without reading any image.
        list_images: All images, with their labels and, where the source has them, splits.
    """

    identity: str
    list_images: Callable[[], list[ListedImage]]


def find_source(name: str) -> Source:
    """The built-in data set, folder or CSV file that `name` means.

    Raises:
        DataError: It is none of them, or what it lists is wrong.
    """
    if name in BUILT_INS:
        built_in = BUILT_INS[name]
        return Source(f"{name} {version(built_in.package)}", built_in.list_images)
    images = _list_files(name)
    return Source(_identity(images), lambda: images)


def absolute(name: str) -> str:
    """The source's name as it is valid from any working folder."""
    return name if name in BUILT_INS else str(Path(name).expanduser().absolute())


def _list_files(name: str) -> list[ListedImage]:
    try:
        path = Path(absolute(name))
        if path.is_dir():
            return list_folder(path)
        if path.is_file() and path.suffix.lower() == ".csv":
            return list_csv(path)
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # RuntimeError: the user of ~user is unknown
        raise DataError(f"The source {name!r} cannot be read: {error}.") from error
    if exists:
        raise DataError(f"The source {name!r} is a file, but neither a folder nor a .csv file.")
    raise DataError(
        f"The source {name!r} is neither a built-in data set ({', '.join(BUILT_INS)}) nor an "
        f"existing folder or .csv file{nearest(name, set(BUILT_INS))}."
    )


def _identity(images: list[ListedImage]) -> str:
    in_order = sorted(images, key=lambda image: image.name)
    return "\n".join(json.dumps(_file_facts(image)) for image in in_order)


def _file_facts(image: ListedImage) -> list[str | int | None]:
    assert isinstance(image.content, Path)
    facts = [image.name, image.class_name, image.split, str(image.content)]
    try:
        status = image.content.stat()
    except OSError:
        return [*facts, None]  # reported as a bad image when it is read
    return [*facts, status.st_size, status.st_mtime_ns]
