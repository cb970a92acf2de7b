"""What data settings accept."""

from typing import Any

import pytest
from pydantic import ValidationError

from toprung.trainables.data import DataSettings
from toprung.trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD
from toprung.trainables.data.sources import NAMES


def test_one_number_is_a_square() -> None:
    assert DataSettings(source="digits", image_size=8).height_width == (8, 8)
    assert DataSettings(source="digits", image_size=(8, 6)).height_width == (8, 6)


def test_a_size_from_yaml_is_a_list() -> None:
    settings = DataSettings.model_validate({"source": "digits", "image_size": [8, 6]})
    assert settings.height_width == (8, 6)
    assert DataSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 0},
        {"image_size": (4, 0)},
        {"channels": 2},
        {"resize": "stretch"},
        {"validation_fraction": 0.0},
        {"validation_fraction": 1.0},
        {"test_fraction": 1.0},
        {"test_fraction": -0.1},
        {"split_seed": -1},
        {"num_classes": 1},
        {"interpolation": "nearest"},
        {"resize": "centre_crop", "crop_fraction": 0.0},
        {"resize": "centre_crop", "crop_fraction": 1.1},
        {"source": "cifar10", "root": ""},
        {"unknown": 1},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DataSettings.model_validate({"source": "digits"} | wrong)


def test_every_name_is_documented() -> None:
    text = DataSettings.__doc__ or ""
    assert [name for name in NAMES if f"`{name}`" not in text] == []


def test_imagenet_normalisation_needs_colour() -> None:
    with pytest.raises(ValidationError, match="channels is 1; set channels to 3"):
        DataSettings(source="digits", normalisation="imagenet", channels=1)


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
def test_only_a_centre_crop_has_a_share(resize: str) -> None:
    values = {"source": "digits", "resize": resize, "crop_fraction": 0.875}
    with pytest.raises(ValidationError, match=f"resize is '{resize}', which crops nothing"):
        DataSettings.model_validate(values)
    assert DataSettings.model_validate(values | {"resize": "centre_crop"}).crop_fraction == 0.875


@pytest.mark.parametrize("source", ["digits", "./cifar10", "images.csv", "cifar"])
@pytest.mark.parametrize("setting", [{"root": "sets"}, {"download": True}])
def test_only_a_named_set_has_a_root(source: str, setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ValidationError, match=f"{name} is .* goes only with cifar10, stl10, "):
        DataSettings(source=source, **setting)


@pytest.mark.parametrize("source", ["pacs_cartoon", "inaturalist12k", "dogs_vs_cats"])
def test_some_sets_are_not_downloaded(source: str) -> None:
    with pytest.raises(ValidationError, match="get it by hand from https://"):
        DataSettings(source=source, download=True)
    assert DataSettings(source=source, root="sets").root == "sets"


def test_imagenet_constants_are_torchvision_s() -> None:
    presets = pytest.importorskip("torchvision.transforms._presets")
    preset = presets.ImageClassification(crop_size=224)
    assert (tuple(preset.mean), tuple(preset.std)) == (IMAGENET_MEAN, IMAGENET_STD)
