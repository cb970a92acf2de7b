"""The settings of augmentation: how training images are changed.

Neither torch nor kornia is imported, so that a config can be checked without them. `augmenter`
applies the settings to a batch.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from toprung.trainables.recipe.transforms import Above0UpTo1, ImageShape, Transform
from toprung.trainables.system.typed_settings import ConfigError, Settings

DEFAULT_MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}
"""The values that the two papers use on ImageNet."""
MAX_STORED_VIEWS = 1000
"""More than the epochs of a trial, each of which draws one view."""
MAX_TRANSFORMS = 100


class AugmentationSettings(Settings):
    """How training images are changed; the random choices are drawn anew in each epoch.

    * `transforms`: a list of transforms, applied in order, each with its own probability `p`.
    * `probability`: the probability that the whole list is applied, drawn for each image.
    * `mix`: combines each image of a batch, and its class, with another image of the batch:
      `mixup` (Zhang et al., 2018) or `cutmix` (Yun et al., 2019).
    * `mix_alpha`: both parameters of the Beta distribution from which the first image's share is
      drawn; .2 for mixup and 1 for cutmix if not given.
    * `stored_views`: a number of augmented views of each image. If the first part of the network
      is frozen, its outputs for these views are computed once (see `training/store_frozen`), and
      each epoch draws one view for each image. Without it, every epoch augments the images anew,
      and computes the outputs of the frozen part again.
    """

    transforms: Annotated[tuple[Transform, ...], Field(max_length=MAX_TRANSFORMS)] = ()
    probability: Above0UpTo1 = 1.0
    mix: Literal["none", "mixup", "cutmix"] = "none"
    mix_alpha: PositiveFloat | None = None
    stored_views: Annotated[PositiveInt, Field(le=MAX_STORED_VIEWS)] | None = None

    @model_validator(mode="after")
    def _everything_has_an_effect(self) -> "AugmentationSettings":
        if self.mix_alpha is not None and self.mix == "none":
            raise ValueError(f"mix_alpha = {self.mix_alpha} has no effect: mix = 'none'")
        if self.probability < 1 and not self.transforms:
            raise ValueError(f"probability = {self.probability} has no effect: transforms is empty")
        if self.stored_views is not None and not self.transforms:
            raise ValueError(
                f"stored_views = {self.stored_views} has no effect: transforms is empty"
            )
        if self.stored_views is not None and self.mix != "none":
            raise ValueError(
                f"stored_views = {self.stored_views} cannot be combined with mix = {self.mix!r}, "
                "which mixes different images each time"
            )
        return self

    @property
    def share_alpha(self) -> float:
        """Both parameters of the Beta distribution; only with `mix`."""
        return DEFAULT_MIX_ALPHA[self.mix] if self.mix_alpha is None else self.mix_alpha

    def check(self, image_shape: ImageShape) -> None:
        """Check that images of this shape (C, H, W) can be augmented, without torch.

        Raises:
            ConfigError: naming every transform that cannot be applied, and why.
        """
        mistakes = []
        for number, transform in enumerate(self.transforms):
            try:
                transform.check(image_shape)
            except ValueError as error:
                mistakes.append(f"augmentation/transforms/{number} ({transform.name}): {error}")
        if mistakes:
            raise ConfigError("\n  ".join(mistakes))
