"""What one trial is: a value that says everything, checked whole, kept as YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt

from trainables.cnn import CnnSettings
from trainables.data import DataSettings
from trainables.losses import CrossEntropy, Loss
from trainables.lr_schedules import Constant, LrSchedule
from trainables.optimizers import AdamW, Optimizer
from trainables.settings import ConfigError, Settings, parse

METRICS = {"val_accuracy": "max", "val_loss": "min"}
"""What a trial can be selected by, and which way is better."""

ModelSettings = CnnSettings


class TrainingSettings(Settings):
    """How long and how a trial trains, and by which metric its best epoch is kept.

    `patience_epochs` ends a trial whose metric has not improved for so long.
    """

    epochs: PositiveInt = 8
    batch_size: PositiveInt = 64
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    validations_per_epoch: PositiveInt = 1
    patience_epochs: PositiveInt | None = None
    gradient_clip_norm: PositiveFloat | None = None


class TrialConfig(Settings):
    """One trial: data, model, loss, optimizer, LR schedule, training and seed.

    `labels` are names that a search space gives to bundles of settings (`labels/network: good`);
    they change nothing in the training, but can be searched, shown and compared by.
    """

    data: DataSettings
    model: ModelSettings = CnnSettings()
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    lr_schedule: LrSchedule = Constant()
    training: TrainingSettings = TrainingSettings()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    labels: dict[str, bool | int | float | str] = Field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of one image as the model gets it."""
        return self.data.channels, *self.data.height_width


def load_config(path: Path) -> TrialConfig:
    """Read a trial's config from a YAML file.

    Raises:
        ConfigError: for a file that cannot be read as YAML, or with all its mistakes at once.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"config {path}: is not YAML: {error}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"config {path}: must be a mapping of settings, is {values!r}")
    return parse(TrialConfig, values, f"config {path}")


def dump_config(config: TrialConfig) -> str:
    """The config as YAML, which `load_config` reads back as an equal value."""
    return yaml.safe_dump(as_plain(config), sort_keys=False, allow_unicode=True)


def as_plain(config: TrialConfig) -> dict[str, Any]:
    """The config as nested plain values: dicts, lists, numbers, strings."""
    plain: dict[str, Any] = config.model_dump(mode="json")
    return plain


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one mapping from paths (`optimizer/lr`) to values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
