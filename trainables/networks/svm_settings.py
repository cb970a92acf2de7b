"""The settings of a support vector machine on the features of a pretrained network.

The network itself is in `svm_network`, so that settings can be checked without torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from toprung.trainables.networks.base import NetworkSettings
from toprung.trainables.networks.freeze_policies import FreezePolicy
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.pretrained.catalogue import checked_architecture
from toprung.trainables.system.typed_settings import Settings

if TYPE_CHECKING:
    pass

_FREEZE_POLICY = "nothing_trains"
_USED = {"data", "model", "seed", "labels"}
_USED_OF_TRAINING = {"metric", "epochs"}
"""Every sweep sets the epochs; an SVM is fitted in one."""


class SvmSettings(NetworkSettings):
    """A multiclass support vector machine (Cortes & Vapnik, 1995) on a frozen network's features.

    * `backbone`: a torchvision architecture; its features are what its output layer would be given.
    * `weights`: the backbone's. They must be named; `none` (random features, by the trial's
      seed) is a baseline that nobody should get unasked.
    * `kernel`: of features x and y, `rbf` exp(-gamma |x - y|²), `linear` x·y, `poly`
      (gamma x·y)^degree.
    * `c`: how much a training image on the wrong side of the margin costs.
    * `gamma`: a number, or `scale`, 1 / (number of features · variance of all scaled features),
      or `auto`, 1 / number of features.
    * `scaling`: of each feature, by the training images: to mean 0 and standard deviation 1
      (`standard`), to the range from 0 to 1 (`min_max`), or none.
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
                f"freeze_policy = {self.freeze_policy!r} has no effect: nothing of an SVM's "
                f"backbone is trained; leave it out, or set it to {_FREEZE_POLICY!r}"
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
        """The settings of the network that gives the features."""
        return TorchvisionSettings(architecture=self.backbone, weights=self.weights)

    def data_settings(self) -> dict[str, Any]:
        """The settings of `data` that fit the backbone's weights; none if they are random."""
        return self.backbone_settings().data_settings()

    def fetch_weights(self) -> Path | None:
        """The file of the backbone's weights, downloaded if need be; None if they are random.

        Raises:
            ConfigError: if there is none, if it cannot be downloaded, or if it is damaged.
        """
        return self.backbone_settings().fetch_weights()

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """See whether the backbone can exist for images of this shape (C, H, W), without torch.

        Raises:
            ImpossibleNetworkError: if it cannot.
            ConfigError: if its weights cannot be had.
        """
        self.backbone_settings().check(image_shape)


def refuse_unused(config: Settings, training: Settings) -> None:
    """Refuse what was set of a trial and has no effect on an SVM: it is not trained in steps.

    Raises:
        ValueError: naming every such setting and its value.
    """
    unused = _changed(config, _USED | {"training"})
    unused |= _changed(training, _USED_OF_TRAINING, "training/")
    if unused:
        values = ", ".join(f"{path} = {value}" for path, value in unused.items())
        raise ValueError(
            f"{values}: without effect on model/architecture = 'svm', which is fitted at once "
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
    """Nested settings as what was set of them."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Settings) else repr(value)
