"""Settings and names in the words of a model card."""

import re

from toprung.trainables.config import TrialConfig
from toprung.trainables.networks.base import NO_WEIGHTS
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings

_MAX_NAME = 80


def weights_in_words(config: TrialConfig) -> str:
    """The weights that training started from; only the name of a file, without its path."""
    settings = config.model
    if settings.weights == NO_WEIGHTS:
        return "none (random)"
    if settings.weights_file:
        return short(settings.weights_file.name)
    if isinstance(settings, SvmSettings):
        settings = settings.backbone_settings()
    offered = settings.offered_weights if isinstance(settings, TorchvisionSettings) else None
    return f"{settings.weights} of torchvision" + (f" ({offered.url})" if offered else "")


def augmentation_in_words(config: TrialConfig) -> str:
    """How training images were augmented."""
    names: list[str] = [transform.name for transform in config.augmentation.transforms]
    if config.augmentation.mix != "none":
        names.append(config.augmentation.mix)
    return ", ".join(names) or "none"


def numbers(values: tuple[float, ...]) -> str:
    """Numbers with six digits, separated by commas."""
    return ", ".join(f"{value:.6g}" for value in values)


def short(name: str) -> str:
    """A name, or the beginning of a long one."""
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def slug(name: str) -> str:
    """The name of a data set or a tag in the form that model hubs require."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "data"
