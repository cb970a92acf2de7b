"""The settings of a support vector machine on the features of a pretrained network.

The torch module is in `svm`, so that settings can be checked without importing torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from toprung.trainables.networks.base import NetworkSettings
from toprung.trainables.networks.freeze_policies import FreezePolicy
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.pretrained.catalogue import checked_architecture
from toprung.trainables.system.typed_settings import Settings

_FREEZE_POLICY = "nothing_trains"
_USED = {"data", "model", "seed", "labels"}
_USED_OF_TRAINING = {"metric", "epochs"}
"""Every sweep sets the epochs; an SVM is fitted in one epoch."""


class SvmSettings(NetworkSettings):
    """A multiclass support vector machine (Cortes & Vapnik, 1995) on a frozen network's features.

    * `backbone`: a torchvision architecture; its features are the inputs of its output layer.
    * `weights`: the backbone's weights. They must be named; `none` (random features, from the
      trial's seed) is a baseline that nobody should get by default.
    * `kernel`: for features x and y, `rbf` exp(-gamma |x - y|²), `linear` x·y, `poly`
      (gamma x·y)^degree.
    * `c`: the penalty for a training image on the wrong side of the margin.
    * `gamma`: a number, or `scale`, 1 / (number of features · variance of all scaled features),
      or `auto`, 1 / number of features.
    * `scaling`: how each feature is scaled, over the training images: to mean 0 and standard
      deviation 1 (`standard`), to the range from 0 to 1 (`min_max`), or not at all (`none`).
    * `freeze_policy`: always `nothing_trains`.
    """

    architecture: Literal["svm"] = "svm"
    freeze_policy: FreezePolicy = _FREEZE_POLICY
    backbone: str
    weights: str
    kernel: Literal["rbf", "linear", "poly"] = "rbf"
    degree: Annotated[PositiveInt, Field(le=100)] = 3
    c: PositiveFloat = 1.0
    gamma: Literal["scale", "auto"] | PositiveFloat = "scale"
    scaling: Literal["none", "standard", "min_max"] = "standard"

    @field_validator("backbone")
    @classmethod
    def _is_offered(cls, name: str) -> str:
        return checked_architecture(name)

    @model_validator(mode="after")
    def _weights_are_offered(self) -> "SvmSettings":
        self.backbone_settings()
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "SvmSettings":
        if self.freeze_policy != _FREEZE_POLICY:
            raise ValueError(
                f"freeze_policy = {self.freeze_policy!r} has no effect: the backbone of an SVM "
                f"is never trained; leave it out, or set it to {_FREEZE_POLICY!r}"
            )
        if self.kernel != "poly" and self.degree != 3:
            raise ValueError(
                f"degree = {self.degree} has no effect: kernel = {self.kernel!r}; "
                "only the kernel 'poly' has a degree"
            )
        if self.kernel == "linear" and self.gamma != "scale":
            raise ValueError(
                f"gamma = {self.gamma!r} has no effect: kernel = 'linear'; "
                "only the kernels 'rbf' and 'poly' have a gamma"
            )
        return self

    def backbone_settings(self) -> TorchvisionSettings:
        """The settings of the network that computes the features."""
        return TorchvisionSettings(architecture=self.backbone, weights=self.weights)

    def data_settings(self) -> dict[str, Any]:
        """The `data` settings that fit the backbone's weights; empty if they are random."""
        return self.backbone_settings().data_settings()

    def fetch_weights(self) -> Path | None:
        """The file of the backbone's weights, downloaded if necessary; None if they are random.

        Raises:
            ConfigError: if the file does not exist, cannot be downloaded, or is damaged.
        """
        return self.backbone_settings().fetch_weights()

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Check that the backbone can be built for images of shape (C, H, W), without torch.

        Raises:
            ImpossibleNetworkError: if it cannot.
            ConfigError: if its weights are not available.
        """
        self.backbone_settings().check(image_shape)


def refuse_unused(config: Settings, training: Settings) -> None:
    """Refuse settings that have no effect on an SVM, which is not trained in steps.

    Raises:
        ValueError: naming every such setting and its value.
    """
    unused = _changed(config, _USED | {"training"})
    unused |= _changed(training, _USED_OF_TRAINING, "training/")
    if unused:
        values = ", ".join(f"{path} = {value}" for path, value in unused.items())
        raise ValueError(
            f"{values}: no effect with model/architecture = 'svm', which is fitted at once "
            "and not trained in steps; leave out"
        )


def _changed(settings: Settings, used: set[str], prefix: str = "") -> dict[str, Any]:
    """The settings outside `used` that differ from their defaults, by path."""
    return {
        prefix + name: _brief(getattr(settings, name))
        for name, field in type(settings).model_fields.items()
        if name not in used
        and getattr(settings, name) != field.get_default(call_default_factory=True)
    }


def _brief(value: Any) -> Any:
    """The value as shown; of nested settings, only those that were set."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Settings) else repr(value)
