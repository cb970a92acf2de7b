"""Test figures of several models on the same images, entirely or in part."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from toprung.analysis.seal.evidence import Seal
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.words import optimism_in_words
from toprung.trainables.provenance.image_set import ImageSet


@dataclass
class _Shared:
    """Results whose test images overlap, directly or through other results.

    Attributes:
        keys: ids and digests of the test sets.
        sets: the images of the test sets, as far as they are known.
        results: the results.
        models: the digests of all models that were tested on any of these images.
        sweeps: the names of the sweeps with a result here.
    """

    keys: set[str] = field(default_factory=set)
    sets: list[ImageSet] = field(default_factory=list)
    results: list[TestResult] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    sweeps: dict[str, None] = field(default_factory=dict)

    def overlaps(self, other: "_Shared") -> bool:
        """Whether both have an image in common."""
        return bool(self.keys & other.keys) or any(one.num_in(other.sets) for one in self.sets)

    def take(self, other: "_Shared") -> None:
        """Merge another group into this one."""
        self.keys |= other.keys
        self.sets += other.sets
        self.results += other.results
        self.models |= other.models
        self.sweeps |= other.sweeps


def reuse_among(seals: Iterable[tuple[str, Seal]]) -> list[str]:
    """A sentence for each group of models with test figures on the same images.

    Args:
        seals: the name and the openings of each sweep to be compared.
    """
    groups: list[_Shared] = []
    for name, seal in seals:
        for result in seal.results:
            new = _of_one(name, seal, result)
            for group in [group for group in groups if group.overlaps(new)]:
                new.take(group)
                groups.remove(group)
            groups.append(new)
    return [_in_words(group) for group in groups if len(group.models) > 1]


def _of_one(name: str, seal: Seal, result: TestResult) -> _Shared:
    images = seal.history.set_of(result.images)
    opened = seal.history.openings_of(images) if images is not None else []
    return _Shared(
        {result.test_data_sha256, *([result.images] if result.images else [])},
        [images] if images is not None else [],
        [result],
        {result.weights_sha256, *(intent.weights_sha256 for intent in opened)},
        {name: None},
    )


def _in_words(group: _Shared) -> str:
    best = max(group.results, key=lambda result: result.accuracy)
    return (
        f"test figures of {', '.join(sorted(group.sweeps))}: {len(group.models)} models have been "
        "opened on these test images, or on some of them; "
        f"{optimism_in_words(best.accuracy, best.num_images, len(group.models))}"
    )
