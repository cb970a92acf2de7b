"""The settings of the data: which images, how they are split, and in what form."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from toprung.trainables.data.named import NAMED_SETS
from toprung.trainables.system.typed_settings import Settings

MAX_SIDE = 8192
"""Pixels of an image as it is stored."""
MAX_PIXELS = 4096**2
"""Pixels of a whole stored image: 200 MB as 32-bit floats in three colours."""
MAX_CLASSES = 1_000_000
"""ImageNet-21k has 21,841."""
Pixels = Annotated[PositiveInt, Field(le=MAX_SIDE)]
MAX_DRAWS = 1000
"""How many disjoint test sets can be drawn."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DataSettings(Settings):
    """Which images a sweep trains on, how they are split, and in what form they are stored.

    Attributes:
        source: A folder of class folders (or of `train`, `val` and `test` folders of them), a CSV
            file with the columns `path`, `label` and, if wanted, `split`, or a data set known by
            name: `digits`, which is always available, or, with their files in `root`, `cifar10`,
            `stl10`, `caltech101`, `pacs_art_painting`, `pacs_cartoon`, `pacs_photo`, `pacs_sketch`,
            `inaturalist12k`, `tiny_imagenet` and `dogs_vs_cats`.
        root: The folder of the files of a data set known by name, or the folder to download them
            to; by default the folder `datasets` in the cache.
        download: Download a data set known by name if its files are missing.
        num_classes: Use only the first classes, this many, in the data set's own order or else
            sorted.
        image_size: Height and width in pixels; one number means a square.
        channels: 3 for RGB, 1 for greyscale.
        resize: How an image is resized to `image_size`: `squash` ignores its proportions,
            `centre_crop` crops the longer side, `letterbox` adds black bars.
        crop_fraction: With `centre_crop`, the crop's side as a fraction of the largest crop that
            fits; for a square, of the image's shorter side (224/256 is resizing to 256, then
            cropping 224).
        interpolation: The interpolation of the resizing.
        normalisation: Whose mean and standard deviation normalise the images.
        validation_fraction: The share of the training images that becomes the validation set. Used
            only if the data have no validation split.
        test_fraction: The share of all images that becomes the test set; 0 means no test set. Used
            only if the data have no test split (then, the share of the training images).
        test_draw: Which of the disjoint test sets of `test_fraction` that `split_seed` draws is
            used: 0 is the first, or the data's own test split if there is one. Images of the other
            draws are used for training or validation; a test split that is not used is left out.
        swap_train_and_test: Train on the test set and test on the training set, as few-shot
            studies do; the validation set is taken out of the images that are then trained on.
        split_seed: The seed of the splits. It is separate from the trials' seeds, so that two
            sweeps with different seeds still share one sealed test set.
        skip_bad_images: Leave out files that cannot be decoded, instead of stopping.
        digest: A content digest of the training and validation images, pinned by `prepare`: a
            trial that finds other data stops.
    """

    source: str
    root: Annotated[str, Field(min_length=1)] | None = None
    download: bool = False
    num_classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)] | None = None
    image_size: Pixels | tuple[Pixels, Pixels] = 64
    channels: Literal[1, 3] = 3
    resize: Literal["squash", "centre_crop", "letterbox"] = "squash"
    crop_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    normalisation: Literal["training_set", "imagenet"] = "training_set"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    test_draw: Annotated[int, Field(ge=0, lt=MAX_DRAWS)] = 0
    swap_train_and_test: bool = False
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

    @model_validator(mode="after")
    def _another_draw_needs_a_test_set(self) -> Self:
        if self.test_draw and not self.test_fraction:
            raise ValueError(
                f"test_draw is {self.test_draw}, but test_fraction is 0, which draws no test set; "
                "set test_draw to 0 or test_fraction above 0"
            )
        if self.test_draw and self.swap_train_and_test:
            raise ValueError(
                f"test_draw is {self.test_draw}, but swap_train_and_test is true: swapped test "
                "sets overlap in most of their images; set test_draw to 0"
            )
        return self

    @model_validator(mode="after")
    def _has_not_too_many_pixels(self) -> Self:
        height, width = self.height_width
        if height * width > MAX_PIXELS:
            raise ValueError(
                f"image_size = {height}x{width}: must be at most {MAX_PIXELS:,} pixels in all"
            )
        return self

    @model_validator(mode="after")
    def _only_a_centre_crop_has_a_share(self) -> Self:
        if self.crop_fraction != 1 and self.resize != "centre_crop":
            raise ValueError(
                f"crop_fraction is {self.crop_fraction}, but resize is {self.resize!r}, which "
                "crops nothing; set resize to 'centre_crop' or crop_fraction to 1"
            )
        return self

    @model_validator(mode="after")
    def _only_a_named_set_has_a_root(self) -> Self:
        named = NAMED_SETS.get(self.source)
        for setting in ("root", "download"):
            if named is None and getattr(self, setting):
                raise ValueError(
                    f"{setting} is {getattr(self, setting)!r}, but source is {self.source!r}; it "
                    f"goes only with {', '.join(NAMED_SETS)}"
                )
        if named and self.download and named.download is None:
            raise ValueError(
                f"download is true, but {self.source!r} cannot be downloaded from here; get it by "
                f"hand from {named.website} and set root to its folder"
            )
        return self

    @property
    def height_width(self) -> tuple[int, int]:
        """`image_size` as (height, width)."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size
