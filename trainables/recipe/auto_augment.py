"""The operations of TrivialAugment and RandAugment, drawn separately for each image.

kornia's own classes draw one operation for a whole batch, and shear by up to 54 degrees.

Shape letters: B batch, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from kornia import enhance
from kornia.geometry import transform
from torch import Tensor, nn

MAX_MAGNITUDE = 30


@dataclass(frozen=True)
class Limits:
    """The parameters of the operations at full strength.

    Attributes:
        shear: pixels along one axis for each pixel along the other.
        translation_xy: pixels along x and y.
        degrees: the angle of the rotation.
        enhancement: brightness, colour, contrast and sharpness are multiplied by 1 ± this.
        lost_bits: how many of a pixel's 8 bits posterizing removes.
    """

    shear: float
    translation_xy: tuple[float, float]
    degrees: float
    enhancement: float
    lost_bits: int


def trivial_augment_limits() -> Limits:
    """The wide space of TrivialAugment (Müller & Hutter, 2021)."""
    return Limits(0.99, (32, 32), 135, 0.99, 6)


def rand_augment_limits(image_shape: tuple[int, int, int]) -> Limits:
    """The limits of RandAugment (Cubuk et al., 2020), with torchvision's values."""
    _, height, width = image_shape
    return Limits(0.3, (150 / 331 * width, 150 / 331 * height), 30, 0.9, 4)


Operation = Callable[[Tensor, Tensor, Limits], Tensor]
"""(images_BCHW, strengths_B from -1 to 1, limits) → images_BCHW."""


def _identity(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:  # noqa: ARG001
    return images_BCHW


def _auto_contrast(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:  # noqa: ARG001
    low, high = images_BCHW.amin((2, 3), keepdim=True), images_BCHW.amax((2, 3), keepdim=True)
    # A channel of one value has no contrast to stretch.
    return torch.where(high > low, (images_BCHW - low) / (high - low), images_BCHW)


def _equalize(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:  # noqa: ARG001
    return enhance.equalize(images_BCHW)


def _rotate(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    return transform.rotate(images_BCHW, strengths_B * limits.degrees)


def _solarize(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:  # noqa: ARG001
    # The threshold has 256 levels, as in the papers: at strength 0 white stays white.
    thresholds_B111 = (1 - strengths_B.abs())[:, None, None, None] * 256 / 255
    return torch.where(images_BCHW < thresholds_B111, images_BCHW, 1 - images_BCHW)


def _posterize(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    return enhance.posterize(images_BCHW, 8 - (strengths_B.abs() * limits.lost_bits).round().int())


def _color(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    factors_B = 1 + strengths_B * limits.enhancement
    return enhance.adjust_saturation_with_gray_subtraction(images_BCHW, factors_B)


def _contrast(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    factors_B = 1 + strengths_B * limits.enhancement
    return enhance.adjust_contrast_with_mean_subtraction(images_BCHW, factors_B)


def _brightness(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    factors_B = 1 + strengths_B * limits.enhancement
    return enhance.adjust_brightness_accumulative(images_BCHW, factors_B)


def _sharpness(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    return enhance.sharpness(images_BCHW, 1 + strengths_B * limits.enhancement)


def _shear_x(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    return transform.shear(images_BCHW, _along_x(strengths_B * limits.shear))


def _shear_y(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    return transform.shear(images_BCHW, _along_x(strengths_B * limits.shear).flip(1))


def _translate_x(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    return transform.translate(images_BCHW, _along_x(strengths_B * limits.translation_xy[0]))


def _translate_y(images_BCHW: Tensor, strengths_B: Tensor, limits: Limits) -> Tensor:
    moves_B = strengths_B * limits.translation_xy[1]
    return transform.translate(images_BCHW, _along_x(moves_B).flip(1))


def _along_x(values_B: Tensor) -> Tensor:
    """(values, 0) for each image."""
    return torch.stack([values_B, torch.zeros_like(values_B)], dim=1)


OPERATIONS: tuple[Operation, ...] = (
    _identity,
    _auto_contrast,
    _equalize,
    _rotate,
    _solarize,
    _posterize,
    _color,
    _contrast,
    _brightness,
    _sharpness,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
)
"""The fourteen operations that both papers use."""


class AutoAugment(nn.Module):
    """Random operations on each image: images_BCHW with values from 0 to 1 → images_BCHW.

    Args:
        image_shape: (C, H, W) of the images; greyscale images never get the colour operation.
        limits: the parameters of the operations at full strength.
        num_ops: how many operations are applied to each image, one after the other.
        magnitude: the strength of all operations, from 0 to 30; random for each image if None.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        limits: Limits,
        num_ops: int = 1,
        magnitude: int | None = None,
    ) -> None:
        super().__init__()
        self.operations = [op for op in OPERATIONS if image_shape[0] == 3 or op is not _color]
        self.limits = limits
        self.num_ops = num_ops
        self.magnitude = magnitude

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Apply random operations, drawn separately for each image."""
        for _ in range(self.num_ops):
            images_BCHW = self._one_operation_each(images_BCHW)
        return images_BCHW

    def _one_operation_each(self, images_BCHW: Tensor) -> Tensor:
        chosen_B = torch.randint(len(self.operations), (len(images_BCHW),))
        strengths_B = self._strengths(len(images_BCHW))
        result_BCHW = images_BCHW.clone()
        for number, operation in enumerate(self.operations):
            indices = (chosen_B == number).nonzero().squeeze(1)
            if len(indices) > 0:
                strengths = strengths_B[indices].to(images_BCHW.device)
                indices = indices.to(images_BCHW.device)
                result_BCHW[indices] = operation(images_BCHW[indices], strengths, self.limits)
        return result_BCHW

    def _strengths(self, num_images: int) -> Tensor:
        signs_B = torch.randint(2, (num_images,)) * 2 - 1
        if self.magnitude is not None:
            return signs_B * self.magnitude / MAX_MAGNITUDE
        return signs_B * torch.randint(MAX_MAGNITUDE + 1, (num_images,)) / MAX_MAGNITUDE
