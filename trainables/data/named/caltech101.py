"""Caltech-101: 8,677 pictures of 101 classes (Fei-Fei et al., 2004)."""

from pathlib import Path

from toprung.trainables.data.listing.folder import list_classes
from toprung.trainables.data.listing.image_list import Source, source_of_files
from toprung.trainables.data.named.named_set import find_folder
from toprung.trainables.data.named.split_lists import find_lists, list_split_files

IMAGES = "101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"  # random images, which are not a class


def open_caltech101(root: Path) -> Source:
    """The images, without the background class.

    If there are files `train.txt` and `test.txt` beside the image folder, or in `root`, only the
    images that they list are used; otherwise there is no split.
    """
    folder = find_folder(root, ["caltech101", ""], [IMAGES])
    lists = find_lists([folder, root], {"train": "train.txt", "test": "test.txt"})
    if lists:
        images = list_split_files(lists, folder / IMAGES, "<class>/<file>")
    else:
        images = list_classes(folder / IMAGES, folder / IMAGES, None)
    return source_of_files([image for image in images if image.class_name != BACKGROUND])


def download_caltech101(root: Path) -> None:
    """Download and unpack the archive, which contains no lists."""
    from torchvision.datasets import Caltech101

    Caltech101(root, download=True)
