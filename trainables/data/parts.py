"""The two stores of a source: its training and validation images, and its test images.

They are separate so that the process of a trial never opens a test image.
"""

import shutil
from dataclasses import dataclass
from typing import Literal

from toprung.trainables.data.build import build_store, publish
from toprung.trainables.data.classes import first_classes
from toprung.trainables.data.listing.cache import Cache, digest_of
from toprung.trainables.data.listing.errors import BadImage, BadImagesError, DataError
from toprung.trainables.data.listing.image_list import ListedImage, Source, Split
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.data.sources import find_source
from toprung.trainables.data.splits import assign_splits
from toprung.trainables.data.store import FORMAT, Store, find_store

PartName = Literal["training", "test"]
PARTS: dict[PartName, tuple[Split, ...]] = {"training": ("train", "validation"), "test": ("test",)}
DECIDES_CONTENT = {
    "num_classes",
    "validation_fraction",
    "test_fraction",
    "test_draw",
    "swap_train_and_test",
    "split_seed",
    "skip_bad_images",
}


@dataclass(frozen=True)
class Part:
    """An existing store, its digest, and the files left out; without images, both are None."""

    store: Store | None
    digest: str | None
    bad_images: tuple[BadImage, ...]


class DataParts:
    """The two parts of the data that `settings` describe; each is built when first requested.

    Raises:
        DataError: There is no such source, or its list of images has mistakes.
    """

    def __init__(self, settings: DataSettings, cache: Cache, *, show_progress: bool) -> None:
        self._settings = settings
        self._cache = cache
        self._show_progress = show_progress
        self._source: Source = find_source(settings, cache)

    def training(self) -> Part:
        """The training and validation images.

        Raises:
            DataError: They differ from the pinned digest, or cannot be stored.
        """
        part, pinned = self._part("training"), self._settings.digest
        if pinned not in (None, part.digest):
            raise DataError(
                f"The data of {self._settings.source!r} have changed since data/digest was pinned: "
                f"it is {pinned}, but now it would be {part.digest}. Images were changed, renamed, "
                "added or removed, or the settings that split them. Set data/digest to null to use "
                "the data as they are."
            )
        return part

    def test(self) -> Part:
        """The test images.

        Raises:
            DataError: They cannot be stored.
        """
        return self._part("test")

    def both(self) -> tuple[Part, Part]:
        """The training part and the test part.

        Raises:
            DataError: See `training` and `test`; bad images of both are reported together.
        """
        bad_images: list[BadImage] = []
        parts: list[Part] = []
        for build in (self.training, self.test):
            try:
                parts.append(build())
            except BadImagesError as error:
                bad_images += error.bad_images
        if bad_images:
            raise BadImagesError(bad_images)
        training, test = parts
        return training, test

    def _part(self, name: PartName) -> Part:
        key = self._key(name)
        part = self._find(key)
        if part is None:
            with self._cache.locked(key):
                # Another process may have built it while this one waited for the lock.
                part = self._find(key) or self._build(key, name)
        return part

    def _key(self, name: PartName) -> str:
        settings = self._settings.model_dump(include=DECIDES_CONTENT)
        return digest_of([FORMAT, self._source.identity, name, settings])

    def _find(self, key: str) -> Part | None:
        scan = self._cache.read_scan(key)
        if scan is None:
            return None
        bad_images = tuple(BadImage(*bad) for bad in scan["bad_images"])
        if scan["digest"] is None:
            return Part(None, None, bad_images)
        store = find_store(self._cache.stores, scan["digest"], self._settings)
        return Part(store, scan["digest"], bad_images) if store.exists else None

    def _build(self, key: str, name: PartName) -> Part:
        source, settings = self._source, self._settings
        used = first_classes(source.list_images(), source.class_order, settings.num_classes)
        images = assign_splits(used, settings)
        class_names = sorted({image.class_name for image in images})
        wanted = [image for image in images if image.split in PARTS[name]]
        part = self._store(key, wanted, class_names) if wanted else Part(None, None, ())
        bad_images = [(image.name, image.reason) for image in part.bad_images]
        self._cache.write_scan(key, {"digest": part.digest, "bad_images": bad_images})
        return part

    def _store(self, key: str, images: list[ListedImage], class_names: list[str]) -> Part:
        temp = self._cache.temp_folder(key)
        try:
            digest, bad_images = build_store(
                temp, images, class_names, self._settings, show_progress=self._show_progress
            )
            store = find_store(self._cache.stores, digest, self._settings)
            publish(temp, store.folder)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        return Part(store, digest, tuple(bad_images))
