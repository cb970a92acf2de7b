"""The settings that every network has."""

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
      torchvision's networks take the names of pretrained weights as well.
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
        """Check that the network can be built for images of shape (C, H, W), without torch.

        Raises:
            ImpossibleNetworkError: if it cannot.
            ConfigError: if its weights are not available.
        """
        raise NotImplementedError

    def data_settings(self) -> dict[str, Any]:
        """The `data` settings that fit the weights; empty if the weights do not determine any."""
        return {}

    def fetch_weights(self) -> Path | None:
        """The weights file, downloaded if necessary; None if the weights are random.

        To be called before the first trial, so that trials find the file.

        Raises:
            ConfigError: if the file does not exist, cannot be downloaded, or is damaged.
        """
        if self.weights_file is not None and not self.weights_file.is_file():
            raise ConfigError(f"weights {self.weights_file}: there is no such file")
        return self.weights_file

    @property
    def weights_file(self) -> Path | None:
        """The weights file that the user named; None if `weights` is not a file."""
        return Path(self.weights) if self.weights.endswith(SUFFIXES) else None
