"""iNaturalist 12K: 12,000 pictures of 10 classes of living things, a subset of iNaturalist."""

from pathlib import Path

from toprung.trainables.data.listing.folder import list_classes
from toprung.trainables.data.listing.image_list import Source, source_of_files
from toprung.trainables.data.named.named_set import find_folder


def open_inaturalist12k(root: Path) -> Source:
    """The images; the folder `val` is the test set, and validation images are drawn from `train`.

    The data set has no other labelled images for testing, and studies use it in this way.
    """
    folder = find_folder(root, ["inaturalist_12K", ""], ["train", "val"])
    training = list_classes(folder, folder / "train", "train")
    return source_of_files(training + list_classes(folder, folder / "val", "test"))
