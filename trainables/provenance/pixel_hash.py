"""The hash of a picture as it is seen, whatever file it is in."""

import hashlib

from PIL import Image

FORM = "RGB 1"  # the number is to be raised when the same picture would have another hash
STRIP_BYTES = 2**22  # so much is taken out of Pillow's memory at a time, not the whole picture


def pixel_hash(image: Image.Image) -> str:
    """SHA-256, in hexadecimal, of a picture's width, height and pixels as 8-bit RGB.

    Two files of one picture have the same hash if they decode to the same pixels: PNG, BMP, TIFF
    and lossless WebP, compressed in any way, with any metadata, with a palette, in grey or in RGB.
    (Pillow 10.4, 12.0 and 13.0 decode the 2,344 JPEG files of PACS cartoon to the same pixels.)

    Args:
        image: At full resolution and upright, of mode 1, L or RGB. Deeper grey levels are scaled
            to 8 bits and transparency is laid on white before, as for training, so that pictures
            which differ only beyond that are the same picture.
    """
    assert image.mode in ("1", "L", "RGB")
    digest = hashlib.sha256(f"{FORM} {image.width}x{image.height}\n".encode())
    rows = max(1, STRIP_BYTES // (3 * image.width))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        digest.update((strip if strip.mode == "RGB" else strip.convert("RGB")).tobytes())
    return digest.hexdigest()
