"""Images that a new sweep shares with the sweep that it is warm-started from, in another split."""

from toprung.analysis.provenance.splits_file import split_images
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.trainables.data import PreparedData
from toprung.trainables.provenance.overlap import overlap


def shared_with(sweep: str, other: SweepFolder, data: PreparedData) -> str:
    """A warning for the user; empty if no such image makes a figure too optimistic.

    A warm start is meant for the same validation images in both sweeps. It is not meant for test
    images by which the other sweep's configs were trained or selected, nor for training on the
    other sweep's test images.

    Args:
        sweep: the other sweep's name.
        other: the other sweep's folder.
        data: the new sweep's data.
    """
    if not other.splits.exists():
        return ""
    try:
        theirs = split_images(other.splits)
    except SweepFolderError as error:
        return f"warning: warm start from {sweep}: its images cannot be compared: {error}"
    if theirs is None:
        return ""
    names, _, splits = zip(*data.splits, strict=True)
    seen = overlap(names, splits, data.pixel_hashes, theirs)
    found = [seen.in_words("test", "that sweep"), seen.tested_in_words("that sweep")]
    shared = "; ".join(words for words in found if words)
    if not shared:
        return ""
    return f"warning: warm start from {sweep}: {shared}: figures on these images are too optimistic"
