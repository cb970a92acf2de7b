"""The settings of torchvision's classifiers: which one, from which weights, with which head.

The torch module is built in `torchvision`, so that settings can be checked without importing torch.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from toprung.trainables.data.settings import IMAGENET_MEAN
from toprung.trainables.networks.base import NO_WEIGHTS, ImpossibleNetworkError, NetworkSettings
from toprung.trainables.networks.cnn_settings import Activation, Probability, Width
from toprung.trainables.networks.limits import check_size
from toprung.trainables.pretrained.catalogue import (
    DEFAULT,
    OfferedWeights,
    checked_architecture,
    default_name,
    first,
    offered,
)
from toprung.trainables.pretrained.weights import SUFFIXES, fetch
from toprung.trainables.system.typed_settings import nearest

_OTHER_ARCHITECTURES = ["cnn", "svm"]
_TRUE_MIN_SIZES = {"efficientnet_v2": 1, "swin": 4}
"""The sizes that these families need; torchvision states those that they were trained with."""
_MOST_FEATURES = 7392
"""The features of RegNetY-128GF; no other network has more."""
_MAX_SIDE = 2048
"""Pixels. The first layers of most of these networks then output some 2**28 values for an image."""
_MAXVIT_UNIT = 224
"""MaxViT halves its map five times, and splits the last four into windows of 7x7: 32 * 7 pixels."""
_MAXVIT_SLACK = 3
"""By how many pixels an image may be smaller, as halving rounds up."""


class TorchvisionSettings(NetworkSettings):
    """One of torchvision's classifiers, its output layer replaced by a new head.

    * `architecture`: torchvision's name of the classifier.
    * `weights`: `none` (random), torchvision's name of pretrained weights (`DEFAULT` is the best),
      or a file with the network's state dict, for ImageNet's 1000 classes or those of the data.
    * `head_hidden`: the width of a hidden layer in the head; None for no hidden layer.
    * `head_activation`: the activation after the hidden layer.
    * `head_dropout`: the dropout probability before the output layer, after any dropout that
      torchvision's network has.
    * `head_initialisation`: torch's default, or Xavier normal weights (Glorot & Bengio, 2010) and
      biases of zero.

    With neither a hidden layer nor dropout, the network's state dict has torchvision's keys.
    """

    architecture: str
    head_hidden: Width | None = None
    head_activation: Activation = "relu"
    head_dropout: Probability = 0.0
    head_initialisation: Literal["default", "xavier"] = "default"

    @field_validator("architecture")
    @classmethod
    def _is_offered(cls, name: str) -> str:
        return checked_architecture(name, _OTHER_ARCHITECTURES)

    @model_validator(mode="after")
    def _weights_are_offered(self) -> "TorchvisionSettings":
        names = [NO_WEIGHTS, DEFAULT, *offered(self.architecture)]
        if self.weights not in names and self.weights_file is None:
            raise ValueError(
                f"weights = {self.weights!r}: {self.architecture} has no such weights; choose from "
                f"{', '.join(names)}, or a file ({', '.join(SUFFIXES)})"
                f"{nearest(self.weights, names)}"
            )
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "TorchvisionSettings":
        if self.head_hidden is None and self.head_activation != "relu":
            raise ValueError(
                f"head_activation = {self.head_activation!r} has no effect: head_hidden is None"
            )
        return self

    @property
    def is_pretrained(self) -> bool:
        """Whether the network starts from weights that are not random."""
        return self.weights != NO_WEIGHTS

    @property
    def offered_weights(self) -> OfferedWeights | None:
        """The weights as torchvision describes them; None if they are random.

        A file is taken to be like the first weights that torchvision offers for the architecture.
        """
        if not self.is_pretrained:
            return None
        if self.weights_file:
            return first(self.architecture)
        name = default_name(self.architecture) if self.weights == DEFAULT else self.weights
        return offered(self.architecture)[name]

    def data_settings(self) -> dict[str, Any]:
        """The `data` settings that fit the weights; empty if they are random."""
        weights = self.offered_weights
        if weights is None:
            return {}
        return {
            "image_size": weights.crop_size,
            "resize": "centre_crop",
            "crop_fraction": weights.crop_size / weights.resize_size,
            "interpolation": weights.interpolation,
            "normalisation": "imagenet",
        }

    def fetch_weights(self) -> Path | None:
        """The weights file; see `NetworkSettings.fetch_weights`."""
        if self.weights_file is None and self.offered_weights:
            return fetch(self.offered_weights)
        return super().fetch_weights()

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Check that the network can be built for images of shape (C, H, W), without torch.

        Weights that have to be downloaded are left to `fetch_weights`.

        Raises:
            ImpossibleNetworkError: if it cannot.
            ConfigError: if its weights file does not exist.
        """
        self.check_shape(image_shape, num_classes=1)
        if self.weights_file:
            self.fetch_weights()

    def check_shape(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Check that the network can be built for these images (C, H, W) and classes.

        The weights are not looked at.

        Raises:
            ImpossibleNetworkError: if it cannot.
        """
        channels, height, width = image_shape
        if channels not in (1, len(IMAGENET_MEAN)):
            raise ImpossibleNetworkError(
                f"{self.architecture} takes images of 1 or 3 channels, these have {channels}"
            )
        if max(height, width) > _MAX_SIDE:
            raise ImpossibleNetworkError(
                f"{self.architecture} takes images of at most {_MAX_SIDE}x{_MAX_SIDE} pixels here; "
                f"these are {height}x{width}"
            )
        if rule := self._broken_size_rule(height, width):
            raise ImpossibleNetworkError(
                f"{self.architecture} takes images {rule}; these are {height}x{width}"
            )
        hidden = self.head_hidden or 0
        # Everything below the head is torchvision's, and within the limits.
        check_size(_MOST_FEATURES * (hidden or num_classes) + hidden * num_classes)

    def _broken_size_rule(self, height: int, width: int) -> str | None:
        """The rule that an image of this size breaks; None if there is none."""
        if self.architecture.startswith("vit_"):
            patch = int(self.architecture.rpartition("_")[2])
            if height != width or height % patch:
                return f"that are square, of a multiple of its patches' {patch} pixels"
            return None
        if self.architecture.startswith("maxvit_"):
            if height != width or -height % _MAXVIT_UNIT > _MAXVIT_SLACK:
                return f"that are square, of a multiple of {_MAXVIT_UNIT} pixels"
            return None
        least = next(
            (size for name, size in _TRUE_MIN_SIZES.items() if self.architecture.startswith(name)),
            first(self.architecture).min_size,
        )
        return f"of at least {least}x{least} pixels" if min(height, width) < least else None
