"""What hashing every image's decoded pixels adds to decoding it.

Command:  uv run python -m benchmarks.pixel_hashes --images FOLDER [--image-size 64 --rounds 5]

FOLDER has a folder for each class. Counted is CPU time for an image, in one thread, decoded to
`image-size` with and without its hash, in turn; the files are in memory. Where a JPEG file may be
decoded at a fraction of its size (it is over four times as large as wanted), the hash costs a
second decoding, in full. The last rows are of one JPEG photo of 4000x3000 pixels, made of noise.
"""

import argparse
import io
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.tables import in_turn, print_table
from toprung.trainables.data import DataSettings
from toprung.trainables.data.decode import decode, decode_and_hash, read_bytes
from toprung.trainables.data.listing.folder import list_folder


def milliseconds(files: Sequence[bytes], settings: DataSettings, *, hashed: bool) -> float:
    """CPU time for an image, decoded with or without its hash."""
    started = time.process_time()
    for file in files:
        if hashed:
            decode_and_hash(file, settings)
        else:
            decode(file, settings)
    return (time.process_time() - started) * 1000 / len(files)


def photo() -> bytes:
    """A JPEG file of 4000x3000 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (750, 1000, 3), dtype=np.uint8)
    stream = io.BytesIO()
    picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)).resize((4000, 3000))
    picture.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def rows(name: str, files: Sequence[bytes], image_size: int, rounds: int) -> dict[str, list[float]]:
    """The table's rows of some files."""
    settings = DataSettings(source="unused", image_size=image_size)
    plain, hashed = in_turn(
        lambda: milliseconds(files, settings, hashed=False),
        lambda: milliseconds(files, settings, hashed=True),
        rounds,
    )
    return {f"{name}: decoded, ms": plain, f"{name}: decoded and hashed, ms": hashed}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's remarks on files that it decodes all the same
    listed = [image.content for image in list_folder(given.images.absolute())]
    files = [read_bytes(file) for file in listed if isinstance(file, Path)]
    name = f"an image of {given.images.name} ({len(files)} images)"
    table = rows(name, files, given.image_size, given.rounds)
    table |= rows("a photo of 4000x3000", [photo()], given.image_size, given.rounds)
    print_table(f"Hashing pixels, {given.image_size} px", table)


if __name__ == "__main__":
    main()
