"""The architectures and pretrained weights that torchvision offers, without importing it.

The import takes seconds, but a config should be checked in one second. So the catalogue is kept in
<cache>/torchvision-<version>-<format>.json, and built from torchvision if that file is missing.
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

FORMAT = 1  # to be increased when the content of the file changes
DEFAULT = "DEFAULT"
"""torchvision's name for the best weights of an architecture."""


@dataclass(frozen=True)
class OfferedWeights:
    """Pretrained weights of an architecture, and the preprocessing that they were trained with.

    Attributes:
        url: the URL of the file, whose name ends in the first digits of its SHA-256.
        is_default: whether `DEFAULT` means these weights.
        crop_size: height and width in pixels of the centre crop that the network gets.
        resize_size: the length in pixels to which the image's shorter side is resized first.
        interpolation: the interpolation of the resizing.
        mean: the mean of each channel, for normalisation.
        std: the standard deviation of each channel, for normalisation.
        min_size: the smallest height and width in pixels, as torchvision states it.
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
        name: the name that a user wrote.
        others: other valid names, to be listed in the message with torchvision's.

    Raises:
        ValueError: if there is none; the message lists the nearest names, or else all names.
    """
    names = architectures()
    if name not in names:
        choices = [*others, *names]
        hint = nearest(name, choices) or f"; choose from {', '.join(choices)}"
        raise ValueError(f"there is no such architecture{hint}")
    return name


def offered(architecture: str) -> Mapping[str, OfferedWeights]:
    """The pretrained weights of an architecture by name, in torchvision's order.

    Weights that are not a whole classifier (VGG16's `IMAGENET1K_FEATURES`) are left out.
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
    """Build the catalogue from torchvision itself."""
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
    """Write the file in one step; if that fails, the next process only takes longer."""
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
