"""Augmenting a batch of training images.

Every random choice is drawn from torch's CPU generator, whatever device the images are on, so
that the same seed gives the same images everywhere and a resumed trial continues exactly.

Shape letters: B batch, C channels, H height, W width, K classes.
"""

import math

import torch
from torch import Tensor, nn

from toprung.trainables.recipe.augmentation_settings import AugmentationSettings


class Augmenter:
    """Transforms and mixes training images; the random choices differ from image to image.

    Args:
        settings: the transforms, and how images are mixed.
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes in the soft targets of mixed images.

    Raises:
        ConfigError: for transforms that cannot be applied to images of this shape.
    """

    def __init__(
        self, settings: AugmentationSettings, image_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        settings.check(image_shape)
        self._settings = settings
        self._num_classes = num_classes
        # These modules are never moved to a device: kornia would draw from that device's generator.
        steps = [Sometimes(step.p, step.build(image_shape)) for step in settings.transforms]
        self._transform = Sometimes(settings.probability, nn.Sequential(*steps))

    @property
    def changes_nothing(self) -> bool:
        """Whether there are neither transforms nor mixing."""
        return not self._settings.transforms and self._settings.mix == "none"

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images_BCHW: pixel values from 0 to 1, on any device.
            targets_B: class numbers.

        Returns:
            New images and their targets: `targets_B` itself, or soft targets BK if images were
            mixed. Without transforms and mixing, the arguments themselves.
        """
        if self._settings.transforms:
            images_BCHW = self._transform(images_BCHW)
        if self._settings.mix == "none":
            return images_BCHW, targets_B
        return self._mixed(images_BCHW, targets_B)

    def _mixed(self, images_BCHW: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self._settings.share_alpha
        share = torch.distributions.Beta(alpha, alpha).sample().item()
        partners_B = torch.randperm(len(images_BCHW)).to(images_BCHW.device)
        if self._settings.mix == "mixup":
            images_BCHW = share * images_BCHW + (1 - share) * images_BCHW[partners_B]
        else:
            images_BCHW, share = _cut_and_pasted(images_BCHW, partners_B, share)
        targets_BK = nn.functional.one_hot(targets_B, self._num_classes).to(images_BCHW.dtype)
        return images_BCHW, share * targets_BK + (1 - share) * targets_BK[partners_B]


class Sometimes(nn.Module):
    """Applies a module to each image with probability `p`, and computes only the drawn images.

    kornia's crops have one probability for the whole batch, and its other transforms also compute
    the images that they then discard.
    """

    def __init__(self, p: float, module: nn.Module) -> None:
        super().__init__()
        self.p = p
        self.module = module

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Transform the images that are drawn; return the others unchanged."""
        drawn = (torch.rand(len(images_BCHW)) < self.p).nonzero().squeeze(1)
        if len(drawn) == 0:
            return images_BCHW
        if len(drawn) == len(images_BCHW):
            transformed: Tensor = self.module(images_BCHW)
            return transformed
        drawn = drawn.to(images_BCHW.device)
        return images_BCHW.index_copy(0, drawn, self.module(images_BCHW[drawn]))


def _cut_and_pasted(images_BCHW: Tensor, partners_B: Tensor, share: float) -> tuple[Tensor, float]:
    """Paste a rectangle of its partner into each image.

    As in the paper (Yun et al., 2019), the rectangle's centre is anywhere in the image, so that
    the image's edge may clip it.

    Returns:
        The new images, and the share of each that is still its own.
    """
    height, width = images_BCHW.shape[2:]
    top, bottom = _stretch(height, math.sqrt(1 - share))
    left, right = _stretch(width, math.sqrt(1 - share))
    mixed_BCHW = images_BCHW.clone()
    mixed_BCHW[:, :, top:bottom, left:right] = images_BCHW[partners_B, :, top:bottom, left:right]
    return mixed_BCHW, 1 - (bottom - top) * (right - left) / (height * width)


def _stretch(length: int, fraction: float) -> tuple[int, int]:
    """Start and end of an interval of `fraction` of a side, around a random pixel, clipped."""
    centre = int(torch.randint(length, ()))
    half = int(length * fraction) // 2
    return max(centre - half, 0), min(centre + half, length)
