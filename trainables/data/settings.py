"""What can be set about the data."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from trainables.settings import Settings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DataSettings(Settings):
    """Which images a sweep trains on, how they are split, and in what form they are stored.

    Attributes:
        source: A built-in data set (`"digits"`), a folder of class folders (or of `train`,
            `val` and `test` folders of them), or a CSV file with the columns `path`,
            `label` and, if wanted, `split`.
        image_size: Height and width in pixels; one number means a square.
        channels: 3 for RGB, 1 for grey.
        resize: How a picture meets `image_size`: `squash` ignores its proportions,
            `centre_crop` cuts off what is too long, `letterbox` adds black bars.
        normalisation: Whose mean and standard deviation normalise the images.
        validation_fraction: Share of the training images that become the validation set. Used only
            where the data have no validation split.
        test_fraction: Share of all images that become the test set; 0 means no test set. Used only
            where the data have no test split (then, of the training images).
        split_seed: Decides which images go where. It is a seed of its own, so that two sweeps with
            different seeds still share one sealed test set.
        skip_bad_images: Leave out files that cannot be decoded, instead of stopping.
        digest: Content digest of the training and validation images, pinned by `prepare`: a trial
            that finds other data stops.
    """

    source: str
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] = 64
    channels: Literal[1, 3] = 3
    resize: Literal["squash", "centre_crop", "letterbox"] = "squash"
    normalisation: Literal["training_set", "imagenet"] = "training_set"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    split_seed: Annotated[int, Field(ge=0)] = 0
    skip_bad_images: bool = False
    digest: str | None = None

    @model_validator(mode="after")
    def _imagenet_is_in_colour(self) -> Self:
        if self.normalisation == "imagenet" and self.channels != len(IMAGENET_MEAN):
            raise ValueError(
                f"normalisation 'imagenet' has a mean for each of 3 channels, but channels is "
                f"{self.channels}; set channels to 3 or normalisation to 'training_set'"
            )
        return self

    @property
    def height_width(self) -> tuple[int, int]:
        """`image_size` as (height, width)."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size
