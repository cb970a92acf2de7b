"""The folder of stored activations, and the progress of those being computed, without torch."""

import json
from pathlib import Path

from toprung.trainables.data import cache_dir

IMAGES_PER_PIECE = 256
"""How many images a process computes before it checks again what is left to compute."""
BUILDING = "building-"
DONE = "done-"
LAYOUT = "layout.json"


def activation_folder() -> Path:
    """The folder of all activations on this machine."""
    return cache_dir() / "activations"


def num_images_building() -> tuple[int, int]:
    """The progress of the activations being computed here: images done, and images in all."""
    done = total = 0
    for building in activation_folder().glob(f"{BUILDING}*"):
        try:
            num_images: int = json.loads((building / LAYOUT).read_text())["num_images"]
        except OSError:
            continue  # just finished
        total += num_images
        num_pieces = sum(1 for _ in building.glob(f"{DONE}*"))
        done += min(num_pieces * IMAGES_PER_PIECE, num_images)
    return done, total
