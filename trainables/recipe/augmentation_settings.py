"""The settings of augmentation: how training images are changed.

Neither torch nor kornia is imported, so that a config can be checked without them. What is done to
a batch is in `augment`.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from toprung.trainables.recipe.transforms import Above0UpTo1, ImageShape, Transform
from toprung.trainables.system.typed_settings import ConfigError, Settings

DEFAULT_MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}
"""What the two papers use on ImageNet."""
MAX_STORED_VIEWS = 1000
"""More than a trial has epochs that could draw them."""
MAX_TRANSFORMS = 100


class AugmentationSettings(Settings):
    """How training images are changed, each time anew.

    * `transforms`: one after the other. Each has its own probability `p`.
    * `probability`: that of the whole list, for each image on its own.
    * `mix`: each image of a batch with another one of it, and their classes alike: `mixup` (Zhang
      et al., 2018) or `cutmix` (Yun et al., 2019).
    * `mix_alpha`: both parameters of the Beta distribution of the first one's share; .2 for
      mixup and 1 for cutmix if not given.
    * `stored_views`: where the first part of the network is frozen, what it gives for so many
      augmented views of each image is computed once (see `training/store_frozen`), and each epoch
      draws one of them for each image. Without it, augmented images are new in each epoch, and
      their way through the frozen part is computed each time.
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
                f"stored_views = {self.stored_views} cannot be had with mix = {self.mix!r}, which "
                "mixes other images each time"
            )
        return self

    @property
    def share_alpha(self) -> float:
        """Both parameters of the Beta distribution; only with `mix`."""
        return DEFAULT_MIX_ALPHA[self.mix] if self.mix_alpha is None else self.mix_alpha

    def check(self, image_shape: ImageShape) -> None:
        """See whether images of this shape (C, H, W) can be augmented so, without torch.

        Raises:
            ConfigError: with every transform that cannot be applied, and why.
        """
        mistakes = []
        for number, transform in enumerate(self.transforms):
            try:
                transform.check(image_shape)
            except ValueError as error:
                mistakes.append(f"augmentation/transforms/{number} ({transform.name}): {error}")
        if mistakes:
            raise ConfigError("\n  ".join(mistakes))
