"""The hash of an image's pixels, whatever file they are in."""

import hashlib

from PIL import Image

FORM = "RGB 1"  # the number is to be increased when the same image would have another hash
STRIP_BYTES = 2**22  # how much is copied from Pillow's memory at a time, not the whole image


def pixel_hash(image: Image.Image) -> str:
    """The hexadecimal SHA-256 of an image's width, height and pixels as 8-bit RGB.

    Two files have the same hash if they decode to the same pixels: PNG, BMP, TIFF and lossless
    WebP, with any compression or metadata, with a palette, in greyscale or RGB. (Pillow 10.4, 12.0
    and 13.0 decode the 2,344 JPEG files of PACS cartoon to the same pixels.)

    Args:
        image: The upright image at full resolution, of mode 1, L or RGB. As for training, deeper
            grey levels have been scaled to 8 bits and transparency has been blended with white, so
            images that differ only in these have the same hash.
    """
    assert image.mode in ("1", "L", "RGB")
    digest = hashlib.sha256(f"{FORM} {image.width}x{image.height}\n".encode())
    rows = max(1, STRIP_BYTES // (3 * image.width))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        digest.update((strip if strip.mode == "RGB" else strip.convert("RGB")).tobytes())
    return digest.hexdigest()
