"""Decoding the bytes of an image file to the pixels that the store holds.

Shape letters: H height, W width, C channels.
"""

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.provenance.pixel_hash import pixel_hash

MAX_FILE_BYTES = 2**30
MAX_SIDE = 65_535  # JPEG's; a strip of a few million pixels takes minutes and gigabytes to resize
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class BadImageError(Exception):
    """The image cannot be decoded; the message is the reason."""


def decode_image(path: Path, settings: DataSettings) -> NDArray[np.uint8]:
    """Decode one image file to the pixels that the store would hold, (H, W, C).

    Raises:
        DataError: The file cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about files that it can decode
        try:
            return decode(read_bytes(path), settings)
        except BadImageError as error:
            raise DataError(f"The image {str(path)!r} cannot be decoded: {error}.") from error


def hash_image(path: Path) -> str:
    """The `pixel_hash` of one image file, by which a sweep identifies its images.

    Raises:
        DataError: The file cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about files that it can decode
        try:
            with _bad_if_it_fails():
                return pixel_hash(_as_seen(_open(read_bytes(path))))
        except BadImageError as error:
            raise DataError(f"The image {str(path)!r} cannot be decoded: {error}.") from error


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        BadImageError: It is missing, unreadable, empty, not a regular file, or larger than 1 GiB.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("not a regular file")  # reading a pipe could block forever
        if status.st_size > MAX_FILE_BYTES:
            raise BadImageError(
                f"the file has {status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read"
            )
        content = path.read_bytes()
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error
    except ValueError as error:  # not a valid file name
        raise BadImageError(str(error)) from error
    if not content:
        raise BadImageError("the file is empty")
    return content


def decode(content: bytes | NDArray[np.uint8], settings: DataSettings) -> NDArray[np.uint8]:
    """Pixels (H, W, C) from a file's bytes, or from pixels of another size or colour.

    Raises:
        BadImageError: Pillow cannot decode the image, or refuses to because of its size.
    """
    with _bad_if_it_fails():
        image = _open(content)
        _draft(image, settings)
        return _in_form(_as_seen(image), settings)


def decode_and_hash(
    content: bytes | NDArray[np.uint8], settings: DataSettings
) -> tuple[NDArray[np.uint8], str]:
    """Pixels (H, W, C) as `decode` returns them, and the `pixel_hash` of the whole picture.

    Raises:
        BadImageError: Pillow cannot decode the image, or refuses to because of its size.
    """
    with _bad_if_it_fails():
        image = _open(content)
        full_size = image.size
        _draft(image, settings)
        seen = _as_seen(image)
        whole = seen if image.size == full_size else _as_seen(_open(content))
        return _in_form(seen, settings), pixel_hash(whole)


@contextmanager
def _bad_if_it_fails() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise  # says nothing about the image
    except UnidentifiedImageError as error:
        raise BadImageError("not an image, or in a format unknown to Pillow") from error
    except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
        raise BadImageError(str(error) or type(error).__name__) from error


def _open(content: bytes | NDArray[np.uint8]) -> Image.Image:
    """The picture, not decoded yet."""
    if isinstance(content, np.ndarray):
        return Image.fromarray(content)
    image = Image.open(io.BytesIO(content), formats=_formats())
    if max(image.size) > MAX_SIDE:
        raise BadImageError(
            f"{image.width}x{image.height} pixels: each side must have at most {MAX_SIDE}"
        )
    return image


def _draft(image: Image.Image, settings: DataSettings) -> None:
    """Let a JPEG file be decoded at reduced size, at least twice the size wanted.

    From 3000x2000 to 224x224 this takes half the time, and changes a pixel by 0.35 of 255 on
    average.
    """
    side = round(2 * max(settings.height_width) / settings.crop_fraction)
    image.draft(None, (side, side))


@cache
def _formats() -> tuple[str, ...]:
    """All of Pillow's formats but EPS: such files are programs, which Ghostscript would run."""
    Image.init()
    return tuple(name for name in Image.ID if name != "EPS")


def _as_seen(image: Image.Image) -> Image.Image:
    """The picture upright, in RGB, in 8-bit grey or in black and white."""
    image.load()
    return _upright(_in_colours(image), image)


def _upright(image: Image.Image, opened: Image.Image) -> Image.Image:
    try:
        orientation = opened.getexif().get(ORIENTATION_TAG)
    except Exception:  # damaged EXIF data do not make an image unusable
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _in_colours(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _in_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode in ("1", "L", "RGB") else image.convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey levels of more than 8 bits, by the range of the format or of the values."""
    values_HW = np.asarray(image).astype(np.float64)
    low, high = float(values_HW.min()), float(values_HW.max())
    ranges = {"F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    if not np.isfinite([low, high]).all():
        raise BadImageError("some of its values are not finite")
    full = next((full for full in ranges if low >= 0 and high <= full), None)
    if full is None:
        values_HW -= low
        full = (high - low) or 1.0
    values_HW *= 255 / full
    return Image.fromarray(np.rint(values_HW, out=values_HW).astype(np.uint8))


def _in_form(image: Image.Image, settings: DataSettings) -> NDArray[np.uint8]:
    image = image.convert("RGB" if settings.channels == 3 else "L")
    pixels = np.asarray(_resized(image, settings))
    return pixels.reshape(*settings.height_width, settings.channels)


def _resized(image: Image.Image, settings: DataSettings) -> Image.Image:
    height, width = settings.height_width
    size, method = (width, height), METHODS[settings.interpolation]
    if settings.resize == "squash":
        return image.resize(size, method)
    if settings.resize == "centre_crop":
        return ImageOps.fit(image, size, method, bleed=(1 - settings.crop_fraction) / 2)
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    boxed = Image.new(image.mode, size)
    corner = (width - inner[0]) // 2, (height - inner[1]) // 2
    boxed.paste(image.resize(inner, method), corner)
    return boxed
