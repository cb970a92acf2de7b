"""Tiny ImageNet: 110,000 labelled pictures of 64x64 in 200 classes (Le and Yang, 2015)."""

from collections import Counter
from pathlib import Path

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.folder import visible
from toprung.trainables.data.listing.image_list import ListedImage, Source, source_of_files
from toprung.trainables.data.named.named_set import find_folder
from toprung.trainables.data.named.split_lists import read_lines

CONTENTS = ("wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt")
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def open_tiny_imagenet(root: Path) -> Source:
    """The images; the folder `val` is the test set, because the images in `test` have no labels.

    The order of the classes is that of `wnids.txt`.

    Raises:
        DataError: The files contradict each other.
    """
    folder = find_folder(root, ["tiny-imagenet-200", ""], CONTENTS)
    class_names = _class_names(folder)
    images = _training_images(folder, class_names) + _test_images(folder, class_names)
    return source_of_files(images, tuple(class_names.values()))


def download_tiny_imagenet(root: Path) -> None:
    """Download and unpack the archive."""
    from torchvision.datasets.utils import download_and_extract_archive

    download_and_extract_archive(URL, root, md5=MD5)


def _class_names(folder: Path) -> dict[str, str]:
    """A mapping from each WordNet ID of `wnids.txt`, in order, to its first word, made unique."""
    wnids = [line for _, line in read_lines(folder / "wnids.txt")]
    parts = [line.partition("\t") for _, line in read_lines(folder / "words.txt")]
    words = {wnid: text.split(",")[0] for wnid, _, text in parts if text}
    names = {wnid: words.get(wnid, wnid) for wnid in wnids}
    uses = Counter(names.values())
    return {wnid: name if uses[name] == 1 else f"{name} ({wnid})" for wnid, name in names.items()}


def _training_images(folder: Path, class_names: dict[str, str]) -> list[ListedImage]:
    return [
        ListedImage(f"train/{wnid}/images/{file.name}", class_name, "train", file)
        for wnid, class_name in class_names.items()
        for file in visible(folder / "train" / wnid / "images")
    ]


def _test_images(folder: Path, class_names: dict[str, str]) -> list[ListedImage]:
    """The images that `val_annotations.txt` lists: file, WordNet ID, box."""
    annotations = folder / "val/val_annotations.txt"
    wnid_of: dict[str, str] = {}
    mistakes = []
    for number, line in read_lines(annotations):
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in class_names:
            mistakes.append(f"line {number}: {wnid!r} is not in wnids.txt")
        elif name in wnid_of:
            mistakes.append(f"line {number}: {name!r} is listed twice")
        wnid_of[name] = wnid
    if mistakes:
        raise DataError(f"The list {str(annotations)!r} has mistakes:{bullets(mistakes)}")
    return [
        ListedImage(f"val/images/{name}", class_names[wnid], "test", folder / "val/images" / name)
        for name, wnid in wnid_of.items()
    ]
