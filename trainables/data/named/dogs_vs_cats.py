"""Dogs vs. cats: 25,000 labelled pictures of a Kaggle competition (Elson et al., 2007)."""

import re
from pathlib import Path

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.folder import visible
from toprung.trainables.data.listing.image_list import ListedImage, Source, source_of_files
from toprung.trainables.data.named.named_set import find_folder

NAME = re.compile(r"(cat|dog)\.\d+\.jpg")


def open_dogs_vs_cats(root: Path) -> Source:
    """The images in the folder `train`, named `cat.0.jpg` and so on; there is no split.

    The test images of the competition have no labels and are not used.

    Raises:
        DataError: The folder has other files.
    """
    folder = find_folder(root, ["dogs-vs-cats", ""], ["train"])
    files = visible(folder / "train")
    matches = {file: NAME.fullmatch(file.name) for file in files}
    if strange := [file.name for file, match in matches.items() if match is None]:
        raise DataError(
            f"The files in {str(folder / 'train')!r} must be named like cat.0.jpg or dog.0.jpg, "
            f"but there are:{bullets(strange)}"
        )
    return source_of_files(
        [
            ListedImage(f"train/{file.name}", match[1], None, file)
            for file, match in matches.items()
            if match
        ]
    )
