"""Every kind of image file becomes the right pixels, or a reason why not."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter

from toprung.trainables.data import DataError, DataSettings, decode_image


def settings(**changes: Any) -> DataSettings:
    return DataSettings(source="unused", **{"image_size": (4, 4)} | changes)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def reason(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        decode_image(path, settings())
    assert repr(str(path)) in str(caught.value)
    return str(caught.value).split("cannot be decoded: ")[1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(
    orientation: int, gradient: Image.Image, tmp_path: Path
) -> None:
    as_seen = {
        1: gradient,
        2: gradient.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: gradient.rotate(180),
        4: gradient.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: gradient.transpose(Image.Transpose.TRANSPOSE),
        6: gradient.rotate(-90, expand=True),
        7: gradient.transpose(Image.Transpose.TRANSVERSE),
        8: gradient.rotate(90, expand=True),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(gradient, tmp_path / "turned.png", exif=exif)
    upright = settings(image_size=(as_seen.height, as_seen.width))
    np.testing.assert_array_equal(decode_image(path, upright), np.asarray(as_seen))


def test_damaged_exif_data_do_not_make_a_picture_bad(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (4, 4), "red"), tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    assert decode_image(path, settings())[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
    ],
)
def test_modes_become_rgb(
    mode: str, colour: Any, expected: tuple[int, ...], tmp_path: Path
) -> None:
    path = saved(Image.new(mode, (5, 5), colour), tmp_path / "image.png")
    pixels = decode_image(path, settings())
    assert pixels.shape == (4, 4, 3)
    assert pixels.dtype == np.uint8
    assert pixels[2, 2].tolist() == list(expected)


def test_palette(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (4, 4), (255, 0, 51)).convert("P"), tmp_path / "a.png")
    assert decode_image(path, settings())[0, 0].tolist() == [255, 0, 51]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_transparency_is_laid_on_white(
    transparency: int | bytes, suffix: str, tmp_path: Path
) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0, 0, 100, 0])
    image.putpixel((3, 3), 1)
    if suffix == "gif":
        transparency = 0
    path = saved(image, tmp_path / f"a.{suffix}", transparency=transparency)
    pixels = decode_image(path, settings())
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[3, 3].tolist() == [0, 100, 0]


def test_transparent_colour_of_an_rgb_png(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    path = saved(image, tmp_path / "a.png", transparency=(1, 2, 3))
    assert decode_image(path, settings())[0, 0].tolist() == [255, 255, 255]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = decode_image(saved(red, tmp_path / "a.jpg", quality=100), settings())
    np.testing.assert_allclose(pixels[2, 2], [255, 0, 0], atol=4)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (40000, 156), (65535, 255)])
@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(
    value: int, expected: int, suffix: str, tmp_path: Path
) -> None:
    image = Image.fromarray(np.full((4, 4), value, np.uint16))
    path = saved(image, tmp_path / f"a.{suffix}")
    for channels in (1, 3):
        pixels = decode_image(path, settings(channels=channels))
        assert pixels.shape == (4, 4, channels)
        assert (pixels == expected).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 200.0], [0, 100, 200]),
        ([0.0, 25700.0, 65535.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 50000.0, 100000.0], [0, 128, 255]),
        ([-7.0, -7.0, -7.0], [0, 0, 0]),
    ],
)
def test_float_tiff_is_scaled_by_its_range(
    values: list[float], expected: list[int], tmp_path: Path
) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    pixels = decode_image(saved(image, tmp_path / "a.tiff"), settings(image_size=(1, 3)))
    assert pixels[0, :, 0].tolist() == expected


def test_32_bit_integers_are_never_clipped(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[-100_000, 0, 100_000]], np.int32))
    pixels = decode_image(saved(image, tmp_path / "a.tiff"), settings(image_size=(1, 3)))
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_values_that_are_not_finite_are_bad(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0.0, np.nan]], np.float32))
    assert reason(saved(image, tmp_path / "a.tiff")) == "some of its values are not finite."


def test_lab_tiff(tmp_path: Path) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    rgb = Image.new("RGB", (4, 4), (200, 50, 30))
    lab = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
    assert lab is not None
    pixels = decode_image(saved(lab, tmp_path / "a.tiff"), settings())
    np.testing.assert_allclose(pixels[0, 0], [200, 50, 30], atol=3)


def test_one_channel_is_luma(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (4, 4), (255, 0, 0)), tmp_path / "a.png")
    pixels = decode_image(path, settings(channels=1))
    assert pixels.shape == (4, 4, 1)
    assert pixels[0, 0, 0] == 76


def test_squash_ignores_proportions(gradient: Image.Image, tmp_path: Path) -> None:
    pixels = decode_image(saved(gradient, tmp_path / "a.png"), settings(image_size=(4, 8)))
    expected = np.asarray(gradient.resize((8, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pixels, expected)


def test_centre_crop_keeps_the_middle(gradient: Image.Image, tmp_path: Path) -> None:
    path = saved(gradient, tmp_path / "a.png")
    pixels = decode_image(path, settings(image_size=8, resize="centre_crop"))
    np.testing.assert_array_equal(pixels, np.asarray(gradient)[:, 4:12])


def test_a_crop_fraction_is_resizing_to_more_and_cropping(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    path = saved(image, tmp_path / "a.png")
    cropped = settings(image_size=224, resize="centre_crop", crop_fraction=224 / 256)
    expected = image.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    np.testing.assert_array_equal(decode_image(path, cropped), np.asarray(expected))


def test_a_crop_fraction_is_of_the_shorter_side(gradient: Image.Image, tmp_path: Path) -> None:
    path = saved(gradient, tmp_path / "a.png")
    half = settings(image_size=4, resize="centre_crop", crop_fraction=0.5)
    np.testing.assert_array_equal(decode_image(path, half), np.asarray(gradient)[2:6, 6:10])


def test_a_crop_of_a_large_jpeg_keeps_its_quality(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    path = saved(image, tmp_path / "a.jpg", quality=95)
    tenth = settings(image_size=80, resize="centre_crop", crop_fraction=0.1)
    pixels = decode_image(path, tenth).astype(int)
    with Image.open(path) as opened:
        expected = np.asarray(opened.crop((360, 360, 440, 440))).astype(int)
    assert np.abs(pixels - expected).mean() < 1


@pytest.mark.parametrize("resize", ["squash", "centre_crop", "letterbox"])
def test_interpolation(resize: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / "a.png")
    for name in ("bilinear", "bicubic"):
        pixels = decode_image(path, settings(resize=resize, interpolation=name))
        method = Image.Resampling[name.upper()]
        expected = Image.fromarray(noise).resize((4, 4), method)
        np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_letterbox_adds_black_bars(gradient: Image.Image, tmp_path: Path) -> None:
    path = saved(gradient, tmp_path / "a.png")
    pixels = decode_image(path, settings(image_size=16, resize="letterbox"))
    np.testing.assert_array_equal(pixels[4:12], np.asarray(gradient))
    assert not pixels[:4].any()
    assert not pixels[12:].any()


@pytest.mark.parametrize("resize", ["squash", "centre_crop", "letterbox"])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1)])
def test_extreme_proportions(resize: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = saved(Image.new("RGB", size, "white"), tmp_path / "a.png")
    assert decode_image(path, settings(resize=resize)).shape == (4, 4, 3)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    pixels = decode_image(saved(Image.fromarray(stripes), tmp_path / "a.png"), settings())
    np.testing.assert_allclose(pixels, 127, atol=12)


def test_a_large_jpeg_keeps_its_quality(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4))
    path = saved(image, tmp_path / "a.jpg", quality=95)
    pixels = decode_image(path, settings(image_size=64)).astype(int)
    with Image.open(path) as opened:
        expected = np.asarray(opened.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels - expected).mean() < 1


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_bad(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in reason(path)


def test_files_that_are_no_images_are_bad(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "empty.png") == "the file is empty."
    assert reason(tmp_path / "notes.txt") == "not an image, or in a format unknown to Pillow."
    assert reason(tmp_path / "folder.png") == "not a regular file."
    assert reason(tmp_path / "pipe.png") == "not a regular file."
    assert reason(tmp_path / "missing.png") == "No such file or directory."


def test_a_decompression_bomb_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.new("L", (10, 10)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    decode_image(path, settings())  # Pillow would warn
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert "decompression bomb" in reason(path)


def test_no_memory_is_not_the_image_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    path = saved(Image.new("L", (4, 4)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", no_memory)
    with pytest.raises(MemoryError):
        decode_image(path, settings())
