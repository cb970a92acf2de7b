"""Whether a new sweep's test images were opened before; with `--fresh-test`, others instead."""

from collections.abc import Iterator, Mapping
from typing import Any

from toprung.analysis.seal.ledger import History
from toprung.analysis.seal.words import earlier_in_words
from toprung.errors import ToprungError
from toprung.trainables.data import DataSettings, PreparedData, drawn_test_sets, prepare
from toprung.trainables.provenance.image_set import ImageSet

_MOST_COPIES = 0.01
"""The largest share of opened images in a fresh test set. It is not 0, because data that have the
same picture several times may have no draw without one."""
_OTHER_SEEDS = 20
"""How many split seeds of earlier openings are tried as well."""


def opened_before(data: PreparedData, history: History) -> str:
    """A line about earlier openings of a sweep's test images; empty if there were none."""
    earlier = history.earlier(_test_images(data), "")
    if not earlier.openings:
        return ""
    return (
        f"{earlier_in_words(earlier)} before: its test figures will be those of one of "
        f"{earlier.models + 1} models. To draw other test images: --fresh-test"
    )


def fresh_test(
    settings: DataSettings, overrides: Mapping[str, Any], history: History
) -> tuple[dict[str, Any], str]:
    """The settings of a test set of which no image was opened before, as far as is known here.

    It is the first fresh one of the disjoint test sets that the split's seed deals out
    (`data/test_draw`); otherwise, the first fresh one for the seeds by which the opened images were
    drawn, because all draws of one seed are disjoint.

    Args:
        settings: the settings of the sweep's data.
        overrides: the settings that the user has fixed, by path.
        history: the known openings.

    Returns:
        Further settings to fix, and a line for the user.

    Raises:
        ToprungError: if there is no such test set, or the user has already fixed the test set.
        DataError: if the data cannot be prepared.
    """
    if fixed := [path for path in ("data/test_draw", "data/digest") if overrides.get(path)]:
        raise ToprungError(
            f"fresh_test: {fixed[0]} is fixed, which already determines the test set"
        )
    first = settings.model_copy(update={"test_draw": 0, "digest": None})
    data = prepare(first, show_progress=True)
    if not data.num_test:
        raise ToprungError("fresh_test: the data have no test set (data/test_fraction = 0)")
    hash_of = {row[0]: one for row, one in zip(data.splits, data.pixel_hashes, strict=True)}
    everything = ImageSet.of(data.pixel_hashes)
    opened = _opened(everything, history)
    drawn = list(_drawn(first, hash_of, opened, history))
    found = next((one for one in drawn if not one[2]), None) or min(drawn, key=lambda one: one[2])
    choice, num_images, num_opened = found
    if num_opened > _MOST_COPIES * num_images:
        raise ToprungError(
            f"fresh_test: {everything.num_in([opened])} of the {len(everything)} images were "
            f"opened before, and each of the {len(drawn)} disjoint test sets that can be drawn "
            f"(data/test_fraction = {settings.test_fraction:g}) contains some of these, the best "
            f"{num_opened} of {num_images}; add images, or draw a smaller share"
        )
    left = everything.num_in([opened]) - num_opened
    same = f"{num_opened} (the same pictures)" if num_opened else "none"
    return {"data/digest": None, **choice}, (
        f"fresh test set ({', '.join(f'{name}={value}' for name, value in choice.items())}): "
        f"{num_images} images, of which {same} were opened before; {left} opened images train, "
        "validate, or are left out"
    )


def _opened(images: ImageSet, history: History) -> ImageSet:
    """All images of the opened test sets that have images in common with these."""
    opened = ImageSet()
    for one in {intent.images for intent in history.openings_of(images)}:
        known = images if one == images.id else history.set_of(one)
        opened = opened if known is None else opened | known
    return opened


def _drawn(
    settings: DataSettings, hash_of: Mapping[str, str], opened: ImageSet, history: History
) -> Iterator[tuple[dict[str, Any], int, int]]:
    """The candidate test sets: the settings to fix, the number of images, and of opened ones."""
    images = ImageSet.of(hash_of.values())
    seeds = [intent.split_seed for intent in history.openings_of(images)]
    others = dict.fromkeys(s for s in seeds if s not in (None, settings.split_seed))
    for seed in (settings.split_seed, *list(others)[:_OTHER_SEEDS]):
        dealt = settings.model_copy(update={"split_seed": seed})
        changed = {} if seed == settings.split_seed else {"data/split_seed": seed}
        for draw, names in drawn_test_sets(dealt):
            hashes = [hash_of[name] for name in names if name in hash_of]  # bad images have none
            yield {**changed, "data/test_draw": draw}, len(hashes), int(opened.holds(hashes).sum())


def _test_images(data: PreparedData) -> ImageSet:
    rows = zip(data.splits, data.pixel_hashes, strict=True)
    return ImageSet.of(pixel_hash for row, pixel_hash in rows if row[2] == "test")
