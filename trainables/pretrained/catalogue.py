"""Which architectures and pretrained weights torchvision offers, known without importing it.

That import costs seconds, and a config is to be checked in one. So what torchvision says of itself
is kept in <cache>/torchvision-<version>-<format>.json, and written anew when it is not there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toprung.trainables.data.listing.cache import cache_dir
from toprung.trainables.files.atomic_files import atomic_file
from toprung.trainables.system.typed_settings import nearest

FORMAT = 1  # to be raised when the file holds something else than before
DEFAULT = "DEFAULT"
"""torchvision's name for the best weights of an architecture."""


@dataclass(frozen=True)
class OfferedWeights:
    """Pretrained weights of an architecture, and the images that they were made for.

    Attributes:
        url: of the file; its name ends in the first digits of its SHA-256.
        is_default: whether these are what `DEFAULT` means.
        crop_size: height and width in pixels of the centre crop that the network is given.
        resize_size: to how many pixels the shorter side of the picture is resized before.
        interpolation: of the resizing.
        mean: of each channel, by which an image is normalised.
        std: of each channel, likewise.
        min_size: the least height and width in pixels, as torchvision states it.
    """

    url: str
    is_default: bool
    crop_size: int
    resize_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min_size: int


def architectures() -> list[str]:
    """The names of all of torchvision's classifiers, sorted."""
    return list(_catalogue(_file()))


def checked_architecture(name: str, others: Sequence[str] = ()) -> str:
    """The name, if torchvision has a classifier of that name.

    Args:
        name: what a user wrote.
        others: names that would be possible there too, to be told with torchvision's.

    Raises:
        ValueError: there is none; says which names are nearest, or else all of them.
    """
    names = architectures()
    if name not in names:
        choices = [*others, *names]
        hint = nearest(name, choices) or f"; choose from {', '.join(choices)}"
        raise ValueError(f"there is no such architecture{hint}")
    return name


def offered(architecture: str) -> Mapping[str, OfferedWeights]:
    """The weights that an architecture is offered with, by name, torchvision's first ones first.

    Weights that are no whole classifier (VGG16's `IMAGENET1K_FEATURES`) are not among them.
    """
    return _catalogue(_file())[architecture]


def default_name(architecture: str) -> str:
    """The name of the weights that `DEFAULT` means."""
    return next(name for name, weights in offered(architecture).items() if weights.is_default)


def first(architecture: str) -> OfferedWeights:
    """The first weights of an architecture, mostly `IMAGENET1K_V1`."""
    return next(iter(offered(architecture).values()))


def _file() -> Path:
    return cache_dir() / f"torchvision-{version('torchvision')}-{FORMAT}.json"


@lru_cache(maxsize=4)
def _catalogue(file: Path) -> dict[str, dict[str, OfferedWeights]]:
    try:
        return _parsed(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        catalogue = _of_torchvision()
        _write(file, catalogue)
        return catalogue


def _parsed(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, OfferedWeights]]:
    return {
        architecture: {
            name: OfferedWeights(**w | {"mean": tuple(w["mean"]), "std": tuple(w["std"])})
            for name, w in weights.items()
        }
        for architecture, weights in values.items()
    }


def _of_torchvision() -> dict[str, dict[str, OfferedWeights]]:
    """The catalogue, from torchvision itself."""
    from torchvision import models

    def described(enum: Iterable[Any]) -> dict[str, OfferedWeights]:
        return {
            w.name: _described(w, is_default=w is enum.DEFAULT)  # type: ignore[attr-defined]
            for w in enum
            if w.meta["categories"] is not None
        }

    names = models.list_models(module=models)
    return {name: described(models.get_model_weights(name)) for name in names}


def _described(weights: Any, *, is_default: bool) -> OfferedWeights:
    preset = weights.transforms()
    return OfferedWeights(
        url=weights.url,
        is_default=is_default,
        crop_size=preset.crop_size[0],
        resize_size=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        min_size=weights.meta["min_size"][0],
    )


def _write(file: Path, catalogue: Mapping[str, Mapping[str, OfferedWeights]]) -> None:
    """Write the file in one step; without it the next process only takes longer."""
    plain = {
        architecture: {name: asdict(w) for name, w in weights.items()}
        for architecture, weights in catalogue.items()
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as stream:
            stream.write(json.dumps(plain).encode())
    except OSError:
        return
