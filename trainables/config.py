"""The config of a trial: one value that describes it completely, validated as a whole, in YAML."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    model_validator,
)

from toprung.trainables.data import DataSettings
from toprung.trainables.files.plain_yaml import YamlError, read_yaml, write_yaml
from toprung.trainables.files.untrusted_files import MAX_TEXT_BYTES
from toprung.trainables.networks.base import NetworkSettings
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.networks.freeze_policies import ALL_TRAINS, rules_of
from toprung.trainables.networks.svm_settings import SvmSettings, refuse_unused
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.recipe.augmentation_settings import AugmentationSettings
from toprung.trainables.recipe.losses import CrossEntropy, Loss
from toprung.trainables.recipe.lr_schedules import Constant, LrSchedule
from toprung.trainables.recipe.optimizers import AdamW, Optimizer
from toprung.trainables.system.typed_settings import ConfigError, Epochs, Settings, parse, shown

Metric = Literal["val_accuracy", "val_mean_class_accuracy", "val_loss"]
METRICS: dict[str, str] = {
    "val_accuracy": "max",
    "val_mean_class_accuracy": "max",
    "val_loss": "min",
}
"""The metrics by which a trial can be selected, and whether they are maximised or minimised."""
MAX_BATCH_SIZE = 1_000_000
"""Images of a batch, or validations of an epoch. You et al., 2020 (LAMB) used 65,536 images."""


def _kind_of_model(model: Any) -> str:
    """The tag of the settings class that a model's architecture belongs to."""
    if isinstance(model, Mapping):
        name = model.get("architecture", "cnn")
    else:
        name = getattr(model, "architecture", "cnn")  # anything else is reported as a wrong CNN
    return name if name in ("cnn", "svm") else "torchvision"


ModelSettings = Annotated[
    Annotated[CnnSettings, Tag("cnn")]
    | Annotated[SvmSettings, Tag("svm")]
    | Annotated[TorchvisionSettings, Tag("torchvision")],
    Discriminator(_kind_of_model),
]
_MODEL: TypeAdapter[NetworkSettings] = TypeAdapter(ModelSettings)


class TrainingSettings(Settings):
    """How and for how long a trial trains, and by which metric its best epoch is kept.

    `patience_epochs` ends a trial whose metric has not improved for that many epochs. Without
    `shuffle`, every epoch has the order of the first. `log_steps` logs the loss, the norm of the
    gradient and the norm of the update of some steps; it copies the weights before each logged one.

    `precision` is the precision of the network in training and validation: `fp32`, 32-bit floats;
    `bf16`, bfloat16 for convolutions and matrix products (weights, loss and optimizer stay fp32),
    refused if the hardware does not compute in it; `auto`, the faster of the two: bf16 if the
    hardware has it, but fp32 for networks with depthwise convolutions on a CPU. Each is
    reproducible. The test set and an exported model are always evaluated in fp32.

    `store_frozen`: the outputs of a network's frozen first part for the images are computed once on
    a machine and shared by all trials. The losses are the same up to rounding.
    """

    epochs: Epochs = 8
    batch_size: Annotated[PositiveInt, Field(le=MAX_BATCH_SIZE)] = 64
    shuffle: bool = True
    metric: Metric = "val_accuracy"
    validations_per_epoch: Annotated[PositiveInt, Field(le=MAX_BATCH_SIZE)] = 1
    patience_epochs: Epochs | None = None
    gradient_clip_norm: PositiveFloat | None = None
    log_steps: bool = False
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    store_frozen: bool = True


class TrialConfig(Settings):
    """One trial: data, model, loss, optimizer, LR schedule, augmentation, training and seed.

    An image size and normalisation that `data` leaves out are those of the pretrained weights' own
    preprocessing.

    `labels` are names that a search space gives to groups of settings (`labels/network: good`).
    They do not affect the training, but can be searched, shown and used for comparisons.
    """

    data: DataSettings
    model: ModelSettings = CnnSettings()
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    lr_schedule: LrSchedule = Constant()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    labels: dict[str, bool | int | float | str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _data_as_the_weights_want(cls, values: Any) -> Any:
        """Fill in data settings that were left out from the pretrained weights' preprocessing."""
        try:
            model = _MODEL.validate_python(values["model"])
            data = _given(values["data"])
        except (ValueError, TypeError, KeyError):
            return values  # the mistake is reported together with all others
        wanted = model.data_settings()
        if data.get("resize", "centre_crop") != "centre_crop":
            wanted.pop("crop_fraction", None)
        if data.get("channels") == 1:
            wanted.pop("normalisation", None)
        return {**values, "data": {**wanted, **data}}

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "TrialConfig":
        if isinstance(self.model, SvmSettings):
            refuse_unused(self, self.training)
        epochs = self.training.epochs
        if any(rule.epochs_per_stage >= epochs for rule in rules_of(self.model.freeze_policy)):
            raise ValueError(
                f"model/freeze_policy = {self.model.freeze_policy!r} never unfreezes anything in "
                f"training/epochs = {epochs}"
            )
        self._views_can_be_stored()
        floor = getattr(self.lr_schedule, "min_lr", 0.0)
        if floor > self.optimizer.lr:
            raise ValueError(
                f"lr_schedule/min_lr = {floor:g} is above optimizer/lr = {self.optimizer.lr:g}"
            )
        mix = self.augmentation.mix
        if mix != "none" and not self.loss.takes_soft_targets:
            raise ValueError(
                f"loss/name = {self.loss.name!r} needs one class per image, but augmentation/mix = "
                f"{mix!r} makes targets of two classes; use cross_entropy, or mix none"
            )
        return self

    def _views_can_be_stored(self) -> None:
        policy, views = self.model.freeze_policy, self.augmentation.stored_views
        if views is None:
            return
        if not self.training.store_frozen:
            raise ValueError(
                f"augmentation/stored_views = {views} has no effect: training/store_frozen = false"
            )
        if policy in ALL_TRAINS:
            raise ValueError(
                f"augmentation/stored_views = {views} has no effect: with model/freeze_policy = "
                f"{policy!r} nothing is frozen"
            )

    def check(self) -> None:
        """Check that the model and the augmentation fit the images, without torch.

        Raises:
            ImpossibleNetworkError: for a network that cannot be built for its images.
            ConfigError: for weights that are not available, or transforms that do not fit.
        """
        self.model.check(self.image_shape)
        self.augmentation.check(self.image_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of one image as the model gets it."""
        return self.data.channels, *self.data.height_width


def _given(settings: Any) -> dict[str, Any]:
    """The settings that were set, without defaults."""
    if isinstance(settings, Settings):
        return settings.model_dump(exclude_unset=True)
    return dict(settings)


def load_config(path: Path) -> TrialConfig:
    """Read a trial's config from a YAML file.

    Raises:
        ConfigError: for a file that is not YAML, or listing all mistakes in it at once.
    """
    try:
        _refuse_named_pipe(path)
        with path.open("rb") as file:
            values = read_yaml(file.read(MAX_TEXT_BYTES + 1).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: cannot be read: {error}") from None
    except YamlError as error:
        raise ConfigError(f"config {path}: is not YAML: {error}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"config {path}: must be a mapping of settings, is {shown(values)}")
    return parse(TrialConfig, values, f"config {path}")


def _refuse_named_pipe(path: Path) -> None:
    """Refuse a pipe, which may never be readable; but a shell's `<(...)` always has a writer."""
    if path.is_fifo() and path.parts[:2] not in (("/", "dev"), ("/", "proc")):
        raise OSError(errno.EINVAL, "is a pipe; give a file", str(path))


def dump_config(config: TrialConfig) -> str:
    """The config as YAML, from which `load_config` reads an equal config."""
    return write_yaml(as_plain(config))


def as_plain(config: TrialConfig) -> dict[str, Any]:
    """The config as nested plain values: dicts, lists, numbers, strings."""
    plain: dict[str, Any] = config.model_dump(mode="json")
    return plain


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as a flat mapping from paths (`optimizer/lr`) to values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
