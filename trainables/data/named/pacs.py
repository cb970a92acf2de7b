"""PACS: pictures of 7 classes in four domains (Li et al., 2017)."""

from pathlib import Path

from toprung.trainables.data.listing.folder import list_classes
from toprung.trainables.data.listing.image_list import Source, Split, source_of_files
from toprung.trainables.data.named.named_set import find_folder
from toprung.trainables.data.named.split_lists import find_lists, list_split_files

PLACES = ("", "PACS", "kfold", "PACS/kfold", "pacs_data")
PLACES_OF_LISTS = (*PLACES, "pacs_label", "splits")


def open_pacs(domain: str, root: Path) -> Source:
    """The images of one domain.

    With the official lists, `<domain>_train_kfold.txt` is the training set and
    `<domain>_crossval_kfold.txt` the test set; without them there is no split.
    """
    folder = find_folder(root, PLACES, [domain])
    names: dict[Split, str] = {
        "train": f"{domain}_train_kfold.txt",
        "test": f"{domain}_crossval_kfold.txt",
    }
    lists = find_lists([root / place for place in PLACES_OF_LISTS], names)
    if lists:
        return source_of_files(list_split_files(lists, folder, f"{domain}/<class>/<file>"))
    return source_of_files(list_classes(folder, folder / domain, None))
