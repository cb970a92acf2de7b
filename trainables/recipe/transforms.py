"""The transforms of training images, each a settings class that builds its torch module.

To add one, add a settings class here, and its name to `Transform` below. Torch and kornia are
imported only to build one, so that a config can be checked without them.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from toprung.trainables.system.typed_settings import Settings

if TYPE_CHECKING:
    from torch import nn

ImageShape = tuple[int, int, int]


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("must be (lowest, highest)")
    return interval


Above0UpTo1 = Annotated[float, Field(gt=0, le=1)]
AreaRange = Annotated[tuple[Above0UpTo1, Above0UpTo1], AfterValidator(_ordered)]
FactorRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]


class _Transform(Settings):
    """A transform, applied to each image with probability `p`, drawn separately for each image."""

    kornia_class: ClassVar[str]
    needs_colour: ClassVar[bool] = False

    p: Above0UpTo1 = 1.0

    def check(self, image_shape: ImageShape) -> None:
        """Check that the transform can be applied to images of shape (C, H, W), without torch.

        Raises:
            ValueError: if it cannot; the message says why.
        """
        if self.needs_colour and image_shape[0] != 3:
            raise ValueError(f"needs colour: 3 channels, but the images have {image_shape[0]}")

    def build(self, image_shape: ImageShape) -> "nn.Module":  # noqa: ARG002
        """Build the module images_BCHW → images_BCHW, which transforms every image at random."""
        from kornia import augmentation

        module: nn.Module = getattr(augmentation, self.kornia_class)(**self._arguments(), p=1.0)
        return module

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the kornia class, except the probability."""
        return {}


class HorizontalFlip(_Transform):
    """A flip that exchanges left and right."""

    kornia_class = "RandomHorizontalFlip"

    name: Literal["horizontal_flip"] = "horizontal_flip"
    p: Above0UpTo1 = 0.5


class VerticalFlip(_Transform):
    """A flip that exchanges top and bottom."""

    kornia_class = "RandomVerticalFlip"

    name: Literal["vertical_flip"] = "vertical_flip"
    p: Above0UpTo1 = 0.5


class Rotation(_Transform):
    """A rotation by -degrees..degrees about the centre; pixels from outside the image are black."""

    kornia_class = "RandomRotation"

    name: Literal["rotation"] = "rotation"
    degrees: Annotated[float, Field(gt=0, le=180)]

    def _arguments(self) -> dict[str, Any]:
        return {"degrees": (-self.degrees, self.degrees)}


class Affine(_Transform):
    """Rotation, translation, scaling and shear in one; pixels from outside the image are black.

    * `degrees`: the largest angle of the rotation, in either direction.
    * `translate`: the largest translation, as a fraction of the image's width and height.
    * `scale`: the smallest and the largest factor.
    * `shear`: the largest shear along x, in degrees, in either direction.
    """

    kornia_class = "RandomAffine"

    name: Literal["affine"] = "affine"
    degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Annotated[float, Field(ge=0, le=1)] = 0.0
    scale: FactorRange = (1.0, 1.0)
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0

    @model_validator(mode="after")
    def _has_an_effect(self) -> "Affine":
        if not (self.degrees or self.translate or self.shear) and self.scale == (1, 1):
            raise ValueError(
                "affine has no effect: set at least one of degrees, translate, scale and shear"
            )
        return self

    def _arguments(self) -> dict[str, Any]:
        return {
            "degrees": (-self.degrees, self.degrees),
            "translate": (self.translate, self.translate),
            "scale": self.scale,
            "shear": (-self.shear, self.shear),
        }


class Crop(_Transform):
    """A square of `size` pixels at a random position, resized back to the image's size."""

    name: Literal["crop"] = "crop"
    size: PositiveInt

    def check(self, image_shape: ImageShape) -> None:
        """Check that the square fits into the images."""
        _, height, width = image_shape
        if self.size > min(height, width):
            raise ValueError(
                f"size = {self.size}: must be at most {min(height, width)}, "
                f"because the images are {height}x{width}"
            )

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """Build the module; see `_Transform.build`."""
        from kornia.augmentation import RandomCrop
        from torch import nn

        back = nn.Upsample(image_shape[1:], mode="bilinear")
        return nn.Sequential(RandomCrop((self.size, self.size)), back)


class ResizedCrop(_Transform):
    """A crop of random area and aspect ratio, resized back to the image's size (Szegedy, 2015).

    * `scale`: the range of the crop's area, as a fraction of the image's.
    * `ratio`: the range of the crop's width divided by its height.
    """

    name: Literal["resized_crop"] = "resized_crop"
    scale: AreaRange = (0.08, 1.0)
    ratio: FactorRange = (3 / 4, 4 / 3)

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """Build the module; see `_Transform.build`."""
        from kornia.augmentation import RandomResizedCrop

        crop: nn.Module = RandomResizedCrop(
            image_shape[1:], self.scale, self.ratio, align_corners=False
        )
        return crop


class Perspective(_Transform):
    """A change of perspective: each corner moves inward by up to `distortion` of half the side."""

    kornia_class = "RandomPerspective"

    name: Literal["perspective"] = "perspective"
    distortion: Above0UpTo1 = 0.5
    p: Above0UpTo1 = 0.5

    def _arguments(self) -> dict[str, Any]:
        return {"distortion_scale": self.distortion}


class _Jitter(_Transform):
    """A random factor in max(0, 1 - factor)..1 + factor, as in torchvision's ColorJitter."""

    kornia_class = "ColorJitter"

    factor: PositiveFloat

    @property
    def _factors(self) -> tuple[float, float]:
        return max(0.0, 1 - self.factor), 1 + self.factor


class Brightness(_Jitter):
    """Multiplies the image by a random factor."""

    name: Literal["brightness"] = "brightness"

    def _arguments(self) -> dict[str, Any]:
        return {"brightness": self._factors}


class Contrast(_Jitter):
    """Multiplies each pixel's difference from the image's mean grey by a random factor."""

    name: Literal["contrast"] = "contrast"

    def _arguments(self) -> dict[str, Any]:
        return {"contrast": self._factors}


class Saturation(_Jitter):
    """Multiplies each pixel's difference from its own grey by a random factor."""

    needs_colour = True

    name: Literal["saturation"] = "saturation"

    def _arguments(self) -> dict[str, Any]:
        return {"saturation": self._factors}


class Hue(_Transform):
    """Shifts the hue by -shift..shift, in turns of the colour wheel."""

    kornia_class = "ColorJitter"
    needs_colour = True

    name: Literal["hue"] = "hue"
    shift: Annotated[float, Field(gt=0, le=0.5)]

    def _arguments(self) -> dict[str, Any]:
        return {"hue": (-self.shift, self.shift)}


class Sharpness(_Transform):
    """Sharpens by exactly `factor`: 0 blurs, 1 leaves the image as it is, 2 is twice as sharp."""

    kornia_class = "RandomSharpness"

    name: Literal["sharpness"] = "sharpness"
    factor: NonNegativeFloat
    p: Above0UpTo1 = 0.5

    def check(self, image_shape: ImageShape) -> None:
        """Check that the 3x3 filter fits into the images."""
        if min(image_shape[1:]) < 3:
            raise ValueError(
                f"needs images of at least 3x3 pixels; these are {image_shape[1]}x{image_shape[2]}"
            )

    def _arguments(self) -> dict[str, Any]:
        return {"sharpness": (self.factor, self.factor)}


class Grayscale(_Transform):
    """Removes the colour; the number of channels stays the same."""

    kornia_class = "RandomGrayscale"
    needs_colour = True

    name: Literal["grayscale"] = "grayscale"
    p: Above0UpTo1 = 0.1


class Erasing(_Transform):
    """Fills a random rectangle with grey (Zhong et al., 2020).

    * `scale`: the range of the rectangle's area, as a fraction of the image's.
    * `ratio`: the range of its aspect ratio.
    """

    kornia_class = "RandomErasing"

    name: Literal["erasing"] = "erasing"
    scale: AreaRange = (0.02, 0.33)
    ratio: FactorRange = (0.3, 3.3)
    p: Above0UpTo1 = 0.5

    def _arguments(self) -> dict[str, Any]:
        return {"scale": self.scale, "ratio": self.ratio, "value": 0.5}


class TrivialAugment(_Transform):
    """One random operation of random strength (Müller & Hutter, 2021, "wide").

    Greyscale images never get the colour operation.
    """

    name: Literal["trivial_augment"] = "trivial_augment"

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """Build the module; see `_Transform.build`."""
        from toprung.trainables.recipe.auto_augment import AutoAugment, trivial_augment_limits

        return AutoAugment(image_shape, trivial_augment_limits())


class RandAugment(_Transform):
    """`num_ops` random operations, all of the same strength (Cubuk et al., 2020).

    `magnitude` is the strength, from 0 to 30. Greyscale images never get the colour operation.
    """

    name: Literal["rand_augment"] = "rand_augment"
    num_ops: Annotated[PositiveInt, Field(le=100)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """Build the module; see `_Transform.build`."""
        from toprung.trainables.recipe.auto_augment import AutoAugment, rand_augment_limits

        limits = rand_augment_limits(image_shape)
        return AutoAugment(image_shape, limits, self.num_ops, self.magnitude)


Transform = Annotated[
    HorizontalFlip
    | VerticalFlip
    | Rotation
    | Affine
    | Crop
    | ResizedCrop
    | Perspective
    | Brightness
    | Contrast
    | Saturation
    | Hue
    | Sharpness
    | Grayscale
    | Erasing
    | TrivialAugment
    | RandAugment,
    Field(discriminator="name"),
]
