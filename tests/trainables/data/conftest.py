"""Tiny images on disk, a cache of the test's own, and a record of the files that are read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Writes an image of one colour, another one at each call, below the folder `images`."""
    colours = iter(range(1, 256**2))

    def write(name: str, *, size: tuple[int, int] = (6, 4)) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = next(colours)
        Image.new("RGB", size, (colour % 256, colour // 256, 90)).save(path)
        return path

    return write


@pytest.fixture
def flat_folder(write_image: WriteImage, tmp_path: Path) -> Path:
    """Two classes of ten images."""
    for class_name in ("cat", "dog"):
        for n in range(10):
            write_image(f"{class_name}/{n}.png")
    return tmp_path / "images"


@pytest.fixture
def split_folder(write_image: WriteImage, tmp_path: Path) -> Path:
    """Two classes with 4 training, 2 validation and 2 test images each."""
    for split, num_images in (("train", 4), ("val", 2), ("test", 2)):
        for class_name in ("cat", "dog"):
            for n in range(num_images):
                write_image(f"{split}/{class_name}/{n}.png")
    return tmp_path / "images"


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The image files whose bytes are read from now on."""
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def recording(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", recording)
    return read


@pytest.fixture
def gradient() -> Image.Image:
    """16 wide, 8 high; red grows to the right, green downwards."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[..., 0] = np.arange(16) * 16
    pixels[..., 1] = np.arange(8)[:, None] * 32
    return Image.fromarray(pixels)
