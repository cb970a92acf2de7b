"""The transforms of training images, each a settings class that builds its module.

A new one: a class beside its siblings, and its name in `Transform` below.
Torch and kornia are imported where something is built, so that a config can be checked without
them.
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
    """One transform; it is applied to each image with probability `p`, drawn for each anew."""

    kornia_class: ClassVar[str]
    needs_colour: ClassVar[bool] = False

    p: Above0UpTo1 = 1.0

    def check(self, image_shape: ImageShape) -> None:
        """See whether it can be applied to images of this shape (C, H, W), without torch.

        Raises:
            ValueError: if it cannot; says why.
        """
        if self.needs_colour and image_shape[0] != 3:
            raise ValueError(f"needs colour: 3 channels, but the images have {image_shape[0]}")

    def build(self, image_shape: ImageShape) -> "nn.Module":  # noqa: ARG002
        """The module images_BCHW → images_BCHW that transforms every image, each differently."""
        from kornia import augmentation

        module: nn.Module = getattr(augmentation, self.kornia_class)(**self._arguments(), p=1.0)
        return module

    def _arguments(self) -> dict[str, Any]:
        """Those of the kornia class, but for the probability."""
        return {}


class HorizontalFlip(_Transform):
    """Left becomes right."""

    kornia_class = "RandomHorizontalFlip"

    name: Literal["horizontal_flip"] = "horizontal_flip"
    p: Above0UpTo1 = 0.5


class VerticalFlip(_Transform):
    """Top becomes bottom."""

    kornia_class = "RandomVerticalFlip"

    name: Literal["vertical_flip"] = "vertical_flip"
    p: Above0UpTo1 = 0.5


class Rotation(_Transform):
    """A rotation by -degrees..degrees about the centre; what comes into the image is black."""

    kornia_class = "RandomRotation"

    name: Literal["rotation"] = "rotation"
    degrees: Annotated[float, Field(gt=0, le=180)]

    def _arguments(self) -> dict[str, Any]:
        return {"degrees": (-self.degrees, self.degrees)}


class Affine(_Transform):
    """Rotation, translation, scaling and shear in one; what comes into the image is black.

    * `degrees`: of the rotation, either way.
    * `translate`: of the image's width and height, either way.
    * `scale`: the least and the greatest factor.
    * `shear`: along x, in degrees, either way.
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
    """A square of `size` pixels at a random place, resized back to the image's size."""

    name: Literal["crop"] = "crop"
    size: PositiveInt

    def check(self, image_shape: ImageShape) -> None:
        """See whether the square fits into the images."""
        _, height, width = image_shape
        if self.size > min(height, width):
            raise ValueError(
                f"size = {self.size}: must be at most {min(height, width)}, "
                f"for the images are {height}x{width}"
            )

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """The module."""
        from kornia.augmentation import RandomCrop
        from torch import nn

        back = nn.Upsample(image_shape[1:], mode="bilinear")
        return nn.Sequential(RandomCrop((self.size, self.size)), back)


class ResizedCrop(_Transform):
    """A crop of random area and aspect ratio, resized back to the image's size (Szegedy, 2015).

    * `scale`: its area, as a fraction of the image's.
    * `ratio`: its width over its height.
    """

    name: Literal["resized_crop"] = "resized_crop"
    scale: AreaRange = (0.08, 1.0)
    ratio: FactorRange = (3 / 4, 4 / 3)

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """The module."""
        from kornia.augmentation import RandomResizedCrop

        crop: nn.Module = RandomResizedCrop(
            image_shape[1:], self.scale, self.ratio, align_corners=False
        )
        return crop


class Perspective(_Transform):
    """A view from aside: each corner moves inward, by up to `distortion` of half the side."""

    kornia_class = "RandomPerspective"

    name: Literal["perspective"] = "perspective"
    distortion: Above0UpTo1 = 0.5
    p: Above0UpTo1 = 0.5

    def _arguments(self) -> dict[str, Any]:
        return {"distortion_scale": self.distortion}


class _Jitter(_Transform):
    """A factor from max(0, 1 - factor)..1 + factor, as torchvision's ColorJitter draws it."""

    kornia_class = "ColorJitter"

    factor: PositiveFloat

    @property
    def _factors(self) -> tuple[float, float]:
        return max(0.0, 1 - self.factor), 1 + self.factor


class Brightness(_Jitter):
    """The image times a random factor."""

    name: Literal["brightness"] = "brightness"

    def _arguments(self) -> dict[str, Any]:
        return {"brightness": self._factors}


class Contrast(_Jitter):
    """The distance to the image's mean grey times a random factor."""

    name: Literal["contrast"] = "contrast"

    def _arguments(self) -> dict[str, Any]:
        return {"contrast": self._factors}


class Saturation(_Jitter):
    """The distance of each pixel to its grey times a random factor."""

    needs_colour = True

    name: Literal["saturation"] = "saturation"

    def _arguments(self) -> dict[str, Any]:
        return {"saturation": self._factors}


class Hue(_Transform):
    """The hue moved by -shift..shift, in turns of the colour wheel."""

    kornia_class = "ColorJitter"
    needs_colour = True

    name: Literal["hue"] = "hue"
    shift: Annotated[float, Field(gt=0, le=0.5)]

    def _arguments(self) -> dict[str, Any]:
        return {"hue": (-self.shift, self.shift)}


class Sharpness(_Transform):
    """Sharpened by exactly `factor`: 0 is blurred, 1 the image itself, 2 twice as sharp."""

    kornia_class = "RandomSharpness"

    name: Literal["sharpness"] = "sharpness"
    factor: NonNegativeFloat
    p: Above0UpTo1 = 0.5

    def check(self, image_shape: ImageShape) -> None:
        """See whether its 3x3 filter fits into the images."""
        if min(image_shape[1:]) < 3:
            raise ValueError(
                f"needs images of at least 3x3 pixels, they are {image_shape[1]}x{image_shape[2]}"
            )

    def _arguments(self) -> dict[str, Any]:
        return {"sharpness": (self.factor, self.factor)}


class Grayscale(_Transform):
    """Without colour, in as many channels as before."""

    kornia_class = "RandomGrayscale"
    needs_colour = True

    name: Literal["grayscale"] = "grayscale"
    p: Above0UpTo1 = 0.1


class Erasing(_Transform):
    """A random rectangle becomes grey (Zhong et al., 2020).

    * `scale`: its area, as a fraction of the image's.
    * `ratio`: its aspect ratio.
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

    Grey images go without the operation on colours.
    """

    name: Literal["trivial_augment"] = "trivial_augment"

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """The module."""
        from toprung.trainables.recipe.auto_augment import AutoAugment, trivial_augment_limits

        return AutoAugment(image_shape, trivial_augment_limits())


class RandAugment(_Transform):
    """`num_ops` random operations, all of one strength (Cubuk et al., 2020).

    `magnitude` is the strength, from 0 to 30. Grey images go without the operation on colours.
    """

    name: Literal["rand_augment"] = "rand_augment"
    num_ops: Annotated[PositiveInt, Field(le=100)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9

    def build(self, image_shape: ImageShape) -> "nn.Module":
        """The module."""
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
