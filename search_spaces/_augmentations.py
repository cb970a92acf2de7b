"""The studies' augmentations, as values of a trial's `augmentation` settings."""

from typing import Any

NONE: dict[str, Any] = {}

STUDY_A: dict[str, Any] = {
    "transforms": [
        {"name": "horizontal_flip", "p": 0.1},
        {"name": "affine", "degrees": 10},
        {"name": "crop", "size": 200},
        {"name": "sharpness", "factor": 2.0, "p": 0.1},
        {"name": "grayscale", "p": 0.1},
    ]
}
"""Study A: flips, ±10°, a crop of 200 of 227 pixels, twice the sharpness, greyscale."""

STUDY_B: dict[str, dict[str, Any]] = {
    "contrast_saturation_flip": {
        "probability": 0.5,
        "transforms": [
            {"name": "contrast", "factor": 0.5},
            {"name": "saturation", "factor": 0.5},
            {"name": "horizontal_flip", "p": 1.0},
        ],
    },
    "hue_perspective": {
        "probability": 0.5,
        "transforms": [
            {"name": "hue", "shift": 0.2},
            {"name": "perspective", "p": 1.0},
        ],
    },
    "brightness_gray_rotation": {
        "probability": 0.5,
        "transforms": [
            {"name": "brightness", "factor": 0.5},
            {"name": "grayscale", "p": 1.0},
            {"name": "rotation", "degrees": 30},
        ],
    },
}
"""Study B: three pipelines, each applied to half of the images."""

STUDY_D: dict[str, Any] = {
    "transforms": [
        {"name": "horizontal_flip", "p": 0.5},
        {"name": "rotation", "degrees": 15},
        {"name": "resized_crop"},
    ]
}
"""Study D: flips, rotations, random resized crops."""

TRIVIAL_AUGMENT: dict[str, Any] = {"transforms": [{"name": "trivial_augment"}]}
RAND_AUGMENT: dict[str, Any] = {"transforms": [{"name": "rand_augment"}]}
