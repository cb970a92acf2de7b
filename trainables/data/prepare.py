"""Preparing a sweep's data: done by the driver, once, before any trial."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from toprung.trainables.data.duplicates import Duplicates, SplitRow
from toprung.trainables.data.listing.cache import Cache
from toprung.trainables.data.listing.errors import BadImage
from toprung.trainables.data.listing.files import write_csv
from toprung.trainables.data.listing.image_list import SPLITS
from toprung.trainables.data.parts import DataParts
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.data.sources import located
from toprung.trainables.data.store import Store


@dataclass(frozen=True)
class PreparedData:
    """The facts about its data that a sweep records.

    Attributes:
        settings: The data settings, with paths made absolute and the digest pinned.
        class_names: The names of the classes, sorted.
        num_train: The number of training images.
        num_validation: The number of validation images.
        num_test: The number of test images.
        test_digest: The digest of the test images; None without a test set.
        splits: The name, class and split of every image.
        hashes: The SHA-256 of each image's file, in the same order.
        pixel_hashes: Each image's `toprung.trainables.provenance.pixel_hash`, in the same order.
        bad_images: Files left out because they cannot be decoded.
    """

    settings: DataSettings
    class_names: tuple[str, ...]
    num_train: int
    num_validation: int
    num_test: int
    test_digest: str | None
    splits: tuple[SplitRow, ...]
    hashes: tuple[str, ...]
    pixel_hashes: tuple[str, ...]
    bad_images: tuple[BadImage, ...]

    @cached_property
    def duplicates(self) -> Duplicates:
        """The images that occur more than once."""
        return Duplicates(self.splits, self.hashes, self.pixel_hashes)

    def write_splits(self, path: Path) -> None:
        """Write the splits as CSV: image, label, split, sha256 (of the file), pixel_sha256."""
        hashed = zip(self.splits, self.hashes, self.pixel_hashes, strict=True)
        rows = ((*row, *hashes) for row, *hashes in hashed)
        write_csv(path, ("image", "label", "split", "sha256", "pixel_sha256"), rows)


def prepare(
    settings: DataSettings, *, cache_dir: Path | None = None, show_progress: bool = False
) -> PreparedData:
    """Find, split and decode the images, once; later calls reuse the result.

    Args:
        settings: The data settings; if `digest` is set, the data must still have that digest.
        cache_dir: The cache folder; by default, the result of the function `cache_dir`.
        show_progress: Report the progress of the decoding on stderr.

    Raises:
        DataError: For anything wrong with the data that the user can fix.
    """
    parts = DataParts(settings, Cache(cache_dir), show_progress=show_progress)
    training, test = parts.both()
    assert training.store is not None  # a source without training images is refused
    stores = [part.store for part in (training, test) if part.store]
    rows = tuple(row for store in stores for row in _split_rows(store))
    counts = {split: sum(row[2] == split for row in rows) for split in SPLITS}
    return PreparedData(
        settings=located(settings).model_copy(update={"digest": training.digest}),
        class_names=tuple(training.store.meta["class_names"]),
        num_train=counts["train"],
        num_validation=counts["validation"],
        num_test=counts["test"],
        test_digest=test.digest,
        splits=rows,
        hashes=tuple(chain.from_iterable(store.hashes() for store in stores)),
        pixel_hashes=tuple(chain.from_iterable(store.pixel_hashes() for store in stores)),
        bad_images=training.bad_images + test.bad_images,
    )


def _split_rows(store: Store) -> tuple[SplitRow, ...]:
    class_names = store.meta["class_names"]
    labels, splits = store.array("labels").tolist(), store.array("splits").tolist()
    return tuple(
        (name, class_names[label], SPLITS[split])
        for name, label, split in zip(store.names(), labels, splits, strict=True)
    )
