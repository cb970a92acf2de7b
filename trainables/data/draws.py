"""The disjoint test sets that can be drawn from a source, by the names of their images."""

from collections.abc import Iterator
from pathlib import Path

from toprung.trainables.data.classes import first_classes
from toprung.trainables.data.listing.cache import Cache
from toprung.trainables.data.listing.errors import NoSuchDrawError
from toprung.trainables.data.settings import MAX_DRAWS, DataSettings
from toprung.trainables.data.sources import find_source
from toprung.trainables.data.splits import assign_splits


def drawn_test_sets(
    settings: DataSettings, *, cache_dir: Path | None = None
) -> Iterator[tuple[int, frozenset[str]]]:
    """Each draw (`data/test_draw`) with the names of its test images; no image is read.

    Args:
        settings: The data settings; their own `test_draw` is ignored.
        cache_dir: The cache folder; by default, the result of the function `cache_dir`.

    Raises:
        DataError: The source does not exist, or its images cannot be split at all.
    """
    source = find_source(settings, Cache(cache_dir))
    used = first_classes(source.list_images(), source.class_order, settings.num_classes)
    has_others = settings.test_fraction > 0 and not settings.swap_train_and_test
    for draw in range(MAX_DRAWS if has_others else 1):
        try:
            images = assign_splits(used, settings.model_copy(update={"test_draw": draw}))
        except NoSuchDrawError:
            return
        yield draw, frozenset(image.name for image in images if image.split == "test")
