"""What the settings of every network have in common."""

from pathlib import Path
from typing import Any

from pydantic import field_validator, model_validator

from toprung.trainables.networks.freeze_policies import FreezePolicy
from toprung.trainables.pretrained.weights import SUFFIXES
from toprung.trainables.system.typed_settings import ConfigError, Settings

NO_WEIGHTS = "none"


class ImpossibleNetworkError(ValueError):
    """A network that cannot exist for its images; the message says why."""


class NetworkSettings(Settings):
    """Which weights a network starts from, and which of them train.

    * `weights`: `none` (random), or a file with a state dict (`.pth`, `.pt`, `.safetensors`);
      torchvision's networks know further names.
    * `freeze_policy`: see `toprung.trainables.networks.freeze_policies`.
    """

    weights: str = NO_WEIGHTS
    freeze_policy: FreezePolicy = "nothing_frozen"

    @field_validator("weights")
    @classmethod
    def _file_is_absolute(cls, weights: str) -> str:
        is_file = weights.endswith(SUFFIXES)
        return str(Path(weights).expanduser().absolute()) if is_file else weights

    @model_validator(mode="after")
    def _from_scratch_means_random_weights(self) -> "NetworkSettings":
        if self.freeze_policy == "from_scratch" and self.weights != NO_WEIGHTS:
            raise ValueError(
                f"freeze_policy = 'from_scratch' trains random weights, but weights = "
                f"{self.weights!r}; set weights to {NO_WEIGHTS!r}, or choose another freeze_policy"
            )
        return self

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """See whether the network can exist for images of this shape (C, H, W), without torch.

        Raises:
            ImpossibleNetworkError: if it cannot.
            ConfigError: if its weights cannot be had.
        """
        raise NotImplementedError

    def data_settings(self) -> dict[str, Any]:
        """The settings of `data` that fit the weights; none if they do not say."""
        return {}

    def fetch_weights(self) -> Path | None:
        """The file of the weights, downloaded if need be; None if they are random.

        To be called before any trial, so that trials find the file.

        Raises:
            ConfigError: if there is none, if it cannot be downloaded, or if it is damaged.
        """
        if self.weights_file is not None and not self.weights_file.is_file():
            raise ConfigError(f"weights {self.weights_file}: there is no such file")
        return self.weights_file

    @property
    def weights_file(self) -> Path | None:
        """The file that the user named, if one was."""
        return Path(self.weights) if self.weights.endswith(SUFFIXES) else None
