"""One picture has one hash, whatever file it is in; another picture has another."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from toprung.trainables.data import DataSettings
from toprung.trainables.data.decode import decode, decode_and_hash
from toprung.trainables.provenance.pixel_hash import STRIP_BYTES, pixel_hash

ORIENTATION = 0x0112


def noise(height: int = 12, width: int = 17, seed: int = 0, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(pixels.squeeze())


def few_colours() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 4, (12, 17, 3), np.uint8) * 85
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def hashed(content: Any, **changes: Any) -> str:
    settings = DataSettings(source="unused", **{"image_size": 8} | changes)
    pixels, picture_hash = decode_and_hash(content, settings)
    np.testing.assert_array_equal(pixels, decode(content, settings))
    return picture_hash


def described() -> PngInfo:
    text = PngInfo()
    text.add_text("Comment", "another file")
    return text


def turned(image: Image.Image, kind: str) -> bytes:
    """Stored lying on its side, with the orientation that sets it upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return saved(image.transpose(Image.Transpose.ROTATE_90), kind, exif=exif, lossless=True)


CONTAINERS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda image: saved(image, "PNG"),
    "png, not compressed": lambda image: saved(image, "PNG", compress_level=0),
    "png with text": lambda image: saved(image, "PNG", pnginfo=described(), dpi=(300, 300)),
    "png with alpha": lambda image: saved(image.convert("RGBA"), "PNG"),
    "png, turned": lambda image: turned(image, "PNG"),
    "webp, turned": lambda image: turned(image, "WEBP"),
    "bmp": lambda image: saved(image, "BMP"),
    "ppm": lambda image: saved(image, "PPM"),
    "tga": lambda image: saved(image, "TGA"),
    "tiff": lambda image: saved(image, "TIFF"),
    "tiff, lzw": lambda image: saved(image, "TIFF", compression="tiff_lzw"),
    "tiff, turned": lambda image: saved(
        image.transpose(Image.Transpose.ROTATE_90), "TIFF", tiffinfo={ORIENTATION: 6}
    ),
    "lossless webp": lambda image: saved(image, "WEBP", lossless=True),
    "pixels": lambda image: np.asarray(image),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_same_picture_in_another_container(container: str) -> None:
    image = noise()
    assert hashed(CONTAINERS[container](image)) == pixel_hash(image)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_of_the_same_colours(kind: str) -> None:
    image = few_colours()
    palette = image.quantize(256, dither=Image.Dither.NONE)
    assert np.array_equal(np.asarray(palette.convert("RGB")), np.asarray(image))
    assert hashed(saved(palette, kind)) == pixel_hash(image)


def test_grey_as_grey_and_as_rgb() -> None:
    grey = noise(channels=1)
    assert grey.mode == "L"
    files = [
        saved(grey, "PNG"),
        saved(grey.convert("RGB"), "BMP"),
        saved(grey.convert("LA"), "PNG"),
    ]
    assert {hashed(file) for file in files} == {pixel_hash(grey)}


def test_grey_of_16_bits_is_compared_in_8() -> None:
    grey = noise(channels=1)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert hashed(saved(deep, "PNG")) == hashed(saved(deep, "TIFF")) == pixel_hash(grey)


def test_black_and_white() -> None:
    image = noise(channels=1).convert("1")
    assert hashed(saved(image, "PNG")) == hashed(saved(image.convert("L"), "BMP"))


def test_transparent_pixels_lie_on_white() -> None:
    image = noise().convert("RGBA")
    image.putpixel((3, 4), (7, 8, 9, 0))
    on_white = image.convert("RGB")
    on_white.putpixel((3, 4), (255, 255, 255))
    assert hashed(saved(image, "PNG")) == pixel_hash(on_white)


@pytest.mark.parametrize("image_size", [2, 8, 300])
def test_a_jpeg_and_its_decoded_png(image_size: int) -> None:
    """A small `image_size` lets the JPEG be decoded at an eighth of its size, for the store."""
    jpeg = saved(noise(200, 301), "JPEG")
    with Image.open(io.BytesIO(jpeg)) as opened:
        png = saved(opened.convert("RGB"), "PNG")
    assert hashed(jpeg, image_size=image_size) == hashed(png, image_size=image_size)


def test_a_jpeg_that_lies_on_its_side() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    jpeg = saved(noise(200, 301), "JPEG", exif=exif)
    with Image.open(io.BytesIO(jpeg)) as opened:
        upright = opened.convert("RGB").transpose(Image.Transpose.ROTATE_270)
    assert hashed(jpeg, image_size=2) == pixel_hash(upright)


@pytest.mark.parametrize(
    "form",
    [
        {"image_size": 3},
        {"channels": 1},
        {"resize": "letterbox"},
        {"resize": "centre_crop", "crop_fraction": 0.5},
        {"interpolation": "bicubic"},
    ],
)
def test_the_form_of_the_store_makes_no_difference(form: dict[str, Any]) -> None:
    image = noise()
    assert hashed(saved(image, "PNG"), **form) == pixel_hash(image)


def test_other_pictures() -> None:
    image, changed = noise(), noise()
    red, *others = changed.getpixel((16, 11))  # type: ignore[misc]
    changed.putpixel((16, 11), (red ^ 1, *others))
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    same_bytes = Image.frombytes("RGB", (12, 17), image.tobytes())
    half = image.resize((8, 6))
    assert len({pixel_hash(i) for i in (image, changed, mirrored, same_bytes, half)}) == 5


def test_a_picture_of_several_strips() -> None:
    width = STRIP_BYTES // 3 - 1
    image = Image.new("L", (width, 3))
    changed = image.copy()
    changed.putpixel((width - 1, 2), 1)
    assert pixel_hash(image) == pixel_hash(image.convert("RGB")) != pixel_hash(changed)


def test_the_hash_stays_what_it_is() -> None:
    """Exports and sweeps keep these hashes: another one for the same picture finds nothing."""
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (250, 251, 252))
    expected = "751ce42df68fe8f8c3af010c631801e25039f3e6c779cc70d7833831d5ee59fe"
    assert pixel_hash(image) == expected


def test_named_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digit of scikit-learn's and its picture in a file."""
    from toprung.trainables.data import prepare

    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path))
    from toprung.trainables.data.named.digits import digits

    (image, *_) = digits()
    data = prepare(DataSettings(source="digits", image_size=4, channels=1))
    hashes = dict(zip((row[0] for row in data.splits), data.pixel_hashes, strict=True))
    assert isinstance(image.content, np.ndarray)
    assert hashes[image.name] == hashed(saved(Image.fromarray(image.content), "PNG"))
