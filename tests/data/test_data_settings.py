"""What data settings accept."""

from typing import Any

import pytest
from pydantic import ValidationError

from trainables.data import DataSettings
from trainables.data.settings import IMAGENET_MEAN, IMAGENET_STD


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
        {"unknown": 1},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DataSettings(source="digits", **wrong)


def test_imagenet_normalisation_needs_colour() -> None:
    with pytest.raises(ValidationError, match="channels is 1; set channels to 3"):
        DataSettings(source="digits", normalisation="imagenet", channels=1)


def test_imagenet_constants_are_torchvision_s() -> None:
    presets = pytest.importorskip("torchvision.transforms._presets")
    preset = presets.ImageClassification(crop_size=224)
    assert (tuple(preset.mean), tuple(preset.std)) == (IMAGENET_MEAN, IMAGENET_STD)
