"""Image folders and files as nobody would make them: a right result, or one clear mistake."""

import contextlib
import io
import os
import stat
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.toprung.search.test_fuzz_config import FEW
from toprung.trainables.data import DataError, DataSettings, prepare
from toprung.trainables.data.decode import BadImageError, decode

FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000", "AVIF"]
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "image-cache"))


def encoded() -> list[bytes]:
    """A small image in every mode and format that go together, still and moving."""
    rng = np.random.default_rng(0)
    found = []
    for mode in MODES:
        image = Image.fromarray(rng.integers(0, 255, (9, 7, 3)).astype(np.uint8))
        image = (
            image.convert("L").convert("I").convert(mode) if "I;" in mode else image.convert(mode)
        )
        for format_ in FORMATS:
            for options in ({}, {"save_all": True, "append_images": [image, image]}):
                stream = io.BytesIO()
                try:
                    image.save(stream, format_, **options)
                    Image.open(stream).load()  # Pillow 12 writes icons that it cannot read
                except (OSError, KeyError, ValueError):
                    continue
                found.append(stream.getvalue())
    return found


ENCODED = encoded()


def _check_is_told(error: Exception) -> None:
    assert str(error)


class TestFiles:
    @FEW
    @given(
        content=st.sampled_from(ENCODED),
        start=st.floats(0, 1),
        length=st.integers(0, 40),
        put=st.binary(max_size=40),
        channels=st.sampled_from([1, 3]),
        resize=st.sampled_from(["squash", "centre_crop", "letterbox"]),
    )
    def test_damaged(
        self, content: bytes, start: float, length: int, put: bytes, channels: int, resize: str
    ) -> None:
        at = round(start * len(content))
        values = {"source": "x", "image_size": (5, 6), "channels": channels, "resize": resize}
        settings = DataSettings.model_validate(values)
        try:
            pixels_HWC = decode(content[:at] + put + content[at + length :], settings)
        except BadImageError as error:
            _check_is_told(error)
            return
        assert pixels_HWC.shape == (5, 6, channels)
        assert pixels_HWC.dtype == np.uint8

    def test_a_program_that_calls_itself_an_image(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ghostscript = tmp_path / "gs"
        ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/it-ran\n")
        ghostscript.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it is to be looked for
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "EPS")
        with contextlib.suppress(OSError):
            Image.open(io.BytesIO(stream.getvalue())).load()
        assert (tmp_path / "it-ran").exists()
        (tmp_path / "it-ran").unlink()
        with pytest.raises(BadImageError, match="unknown to Pillow"):
            decode(stream.getvalue(), DataSettings(source="x", image_size=8))
        assert not (tmp_path / "it-ran").exists()


def _png(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims this size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(b"\0" * 999)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _good(path: Path) -> None:
    Image.new("RGB", (6, 5), (abs(hash(path.name)) % 200, 3, 9)).save(path, "PNG")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero-bytes.png": (Path.touch, "the file is empty"),
    "text.png": (lambda path: path.write_text("no image"), "not an image"),
    "half.jpg": (lambda path: path.write_bytes(ENCODED[0][:30]), ""),
    "bomb.png": (lambda path: path.write_bytes(_png(60_000, 60_000)), "decompression bomb"),
    "strip.png": (
        lambda path: path.write_bytes(_png(7, 16_000_000)),
        "each side must have at most",
    ),
    "no-pixels.png": (lambda path: path.write_bytes(_png(0, 7)), ""),
    "too-few-pixels.png": (lambda path: path.write_bytes(_png(600, 600)), ""),
    "terabyte.png": (_sparse, "bytes; at most 1,073,741,824 are read"),
    "pipe.png": (os.mkfifo, "not a regular file"),
    "dangling.png": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "loop.png": (lambda path: path.symlink_to(path.name), "Too many levels"),
    "zero.png": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "\x1b[31m\n\udcff.png": (Path.touch, r"\x1b[31m\n\udcff.png: the file is empty"),
}
ODD_NAMES = [
    "line\nbreak.png",
    "'quotes\".png",
    "\udcff\udcfe.png",
    "-dash.png",
    "שלום‮.png",
    "long" * 60 + ".png",
    "no suffix",
    "a.png.txt",
    " ",
    "CON",
    "$(reboot)`reboot`.png",
]


def _folder(path: Path, *others: str) -> Path:
    """Two classes of twelve images, and in the first of them files of these names."""
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for number in range(12):
            _good(path / name / f"{number}.png")
    for other in others:
        (BAD[other][0] if other in BAD else _good)(path / "cat" / other)
    return path


def _settings(path: Path, **more: object) -> DataSettings:
    return DataSettings.model_validate({"source": str(path), "image_size": 4} | more)


class TestFolders:
    def test_odd_names(self, tmp_path: Path) -> None:
        prepared = prepare(_settings(_folder(tmp_path / "images", *ODD_NAMES)))
        assert {f"cat/{name}" for name in ODD_NAMES} <= {row[0] for row in prepared.splits}
        prepared.write_splits(tmp_path / "splits.csv")
        assert b'\n"cat/line\nbreak.png",cat,' in (tmp_path / "splits.csv").read_bytes()

    @pytest.mark.parametrize("name", BAD, ids=ascii)
    def test_a_bad_file(self, name: str, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images", name)
        with pytest.raises(DataError) as error:
            prepare(_settings(path))
        line = str(error.value).splitlines()[1]
        assert BAD[name][1] in line
        assert line.isprintable()

    def test_all_of_them_left_out(self, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images", *BAD)
        prepared = prepare(_settings(path, skip_bad_images=True))
        assert {bad.name for bad in prepared.bad_images} == {f"cat/{name}" for name in BAD}
        assert prepared.num_train + prepared.num_validation + prepared.num_test == 24

    def test_images_of_another_format_than_their_name_s(self, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images")
        for number, content in enumerate(ENCODED):
            (path / "dog" / f"{number}.xyz.jpg").write_bytes(content)
        prepared = prepare(_settings(path))
        assert len(prepared.splits) == 24 + len(ENCODED)

    def test_folders_without_end(self, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images")
        (path / "cat" / "again").symlink_to(path)
        (path / "cat" / "self").symlink_to("self")
        deep = os.open(path / "dog", os.O_RDONLY)
        for _ in range(1100):
            os.mkdir("d", dir_fd=deep)
            deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = deeper
        os.close(deep)
        try:
            with pytest.raises(DataError, match="self: Too many levels of symbolic links"):
                prepare(_settings(path))
        finally:  # which Python's own `rmtree` cannot
            subprocess.run(["rm", "-rf", path / "dog"], check=True)

    @pytest.mark.parametrize("name", ["\udcff", "x" * 255])
    def test_a_class_of_an_odd_name(self, name: str, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images")
        (path / "dog").rename(path / name)
        if name.isascii():
            assert prepare(_settings(path)).class_names == ("cat", name)
            return
        with pytest.raises(DataError, match=r"not Unicode text:\n  - \\udcff"):
            prepare(_settings(path))

    def test_a_folder_of_another_name_than_unicode(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="must be Unicode text"):
            _settings(_folder(tmp_path / "\udcff"))

    @pytest.mark.parametrize(
        "cells", ["\0", "../" * 50 + "dev/zero", "/dev/zero", "x" * 5000, "cat", "cat/0.png/x"]
    )
    def test_an_odd_path_in_a_csv_file(self, cells: str, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images") / "list.csv"
        rows = [f"{name}/{n}.png,{name}" for name in ("cat", "dog") for n in range(12)]
        path.write_text("\n".join(["path,label", *rows, f"{cells},cat"]))
        with pytest.raises(DataError):
            prepare(_settings(path))
        assert prepare(_settings(path, skip_bad_images=True)).num_test > 0

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_what_may_not_be_read(self, tmp_path: Path) -> None:
        path = _folder(tmp_path / "images")
        (path / "cat" / "0.png").chmod(0)
        with pytest.raises(DataError, match="Permission denied"):
            prepare(_settings(path))
        (path / "cat").chmod(0)
        with pytest.raises(DataError, match="cannot be read"):
            prepare(_settings(path))
        (path / "cat").chmod(stat.S_IRWXU)
