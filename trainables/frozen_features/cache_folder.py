"""Where activations are stored, and how far those are that are being computed. Needs no torch."""

import json
from pathlib import Path

from toprung.trainables.data import cache_dir

IMAGES_PER_PIECE = 256
"""What one process computes before it looks again what is left to do."""
BUILDING = "building-"
DONE = "done-"
LAYOUT = "layout.json"


def activation_folder() -> Path:
    """The folder of all activations on this machine."""
    return cache_dir() / "activations"


def num_images_building() -> tuple[int, int]:
    """How many images of the activations that are being computed on this machine are done."""
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
