"""Text files that list the images of a split, one per line."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.image_list import ListedImage, Split

ListFiles = Mapping[Split, Path]


def list_split_files(lists: ListFiles, folder: Path, form: str) -> list[ListedImage]:
    """The images in the lists; anything after a path on its line is ignored.

    Args:
        lists: The file for each split.
        folder: The folder to which the paths in the lists are relative.
        form: The form of a path, such as `<class>/<file>`; the class is the folder's name.

    Raises:
        DataError: A list cannot be read, or has wrong paths or an image twice.
    """
    images: dict[str, ListedImage] = {}
    mistakes = []
    for split, file in lists.items():
        for number, line in read_lines(file):
            name = PurePosixPath(line.split()[0])
            if len(name.parts) != form.count("/") + 1 or name.is_absolute() or ".." in name.parts:
                mistakes.append(f"{file}, line {number}: {str(name)!r} is not {form}")
            elif str(name) in images:
                mistakes.append(f"{file}, line {number}: {str(name)!r} is listed twice")
            images[str(name)] = ListedImage(str(name), name.parent.name, split, folder / name)
    if mistakes:
        raise DataError(f"The lists of images have mistakes:{bullets(mistakes)}")
    return list(images.values())


def find_lists(folders: list[Path], names: Mapping[Split, str]) -> ListFiles | None:
    """The lists in the first folder that has any of them; None if no folder has.

    Raises:
        DataError: That folder has only some of the lists.
    """
    for folder in folders:
        files: ListFiles = {split: folder / name for split, name in names.items()}
        missing = [file for file in files.values() if not file.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            raise DataError(
                f"The folder {str(folder)!r} does not have all lists of the official split; "
                f"missing:{bullets(file.name for file in missing)}"
            )
    return None


def read_lines(file: Path) -> list[tuple[int, str]]:
    """The number and the text of each line that is not empty.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The list {str(file)!r} cannot be read: {error}.") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
