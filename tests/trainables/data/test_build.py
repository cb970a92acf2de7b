"""Stores are whole or not there, whoever builds them and whatever kills the builder."""

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toprung.trainables.data import DataSettings, cache_dir, open_training_data, prepare
from toprung.trainables.data.listing.cache import Cache

# A builder whose images take long, so that another process or a signal can come in between.
SLOW_BUILDER = r"""
import os, sys, time
from pathlib import Path
from typing import Any
from toprung.trainables.data import DataSettings, build, prepare
decode = build.decode_and_hash
def slow_decode(content, settings):
    os.write(1, b"decoding\n")  # in one piece, whatever the other threads write
    time.sleep(float(sys.argv[2]))
    return decode(content, settings)
build.decode_and_hash = slow_decode
print(prepare(DataSettings(source=sys.argv[1], image_size=4)).settings.digest)
"""


def start_slow_builder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW_BUILDER, str(folder), str(seconds)]
    builder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "decoding\n"
    return builder


def settings(folder: Path) -> DataSettings:
    return DataSettings(source=str(folder), image_size=4)


def test_a_killed_builder_leaves_nothing_in_the_way(flat_folder: Path, cache: Path) -> None:
    builder = start_slow_builder(flat_folder, 60)
    (temp,) = (cache / "stores").iterdir()
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    assert temp.is_dir()
    assert prepare(settings(flat_folder)).num_train == 12
    assert not list((cache / "stores").glob("tmp-*"))


def test_two_processes_build_one_store(
    flat_folder: Path, cache: Path, files_read: list[Path]
) -> None:
    builder = start_slow_builder(flat_folder, 0.05)
    prepared = prepare(settings(flat_folder))
    output, _ = builder.communicate()
    assert builder.returncode == 0
    assert output.split()[-1] == prepared.settings.digest
    # The second one waited for the training images and found them done.
    training = {flat_folder / name for name, _, split in prepared.splits if split != "test"}
    assert not training & set(files_read)
    assert len(list((cache / "stores").iterdir())) == 2


@pytest.mark.usefixtures("cache")
def test_threads_of_one_process_build_one_store(flat_folder: Path, files_read: list[Path]) -> None:
    barrier = threading.Barrier(4)

    def open_at_once(_: int) -> str:
        barrier.wait()
        return open_training_data(settings(flat_folder)).digest

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(open_at_once, range(4)))) == 1
    assert len(files_read) == 16


def test_abandoned_folders_of_other_sources_are_removed(flat_folder: Path, cache: Path) -> None:
    abandoned = cache / "stores/tmp-of-data-long-gone"
    abandoned.mkdir(parents=True)
    (abandoned / "images.npy").touch()
    prepare(settings(flat_folder))
    assert not abandoned.exists()


def test_a_folder_being_built_is_not_removed(flat_folder: Path, cache: Path) -> None:
    with Cache(cache).locked("other"):
        building = Cache(cache).temp_folder("other")
        building.mkdir()
        prepare(settings(flat_folder))
        assert building.exists()


@pytest.mark.usefixtures("cache")
def test_an_interrupt_leaves_nothing(
    flat_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("toprung.trainables.data.build.decode_and_hash", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings(flat_folder))
    assert not list((cache / "stores").iterdir())


def test_another_size_is_another_store_of_the_same_digest(flat_folder: Path, cache: Path) -> None:
    forms: list[dict[str, Any]] = [
        {"image_size": 4},
        {"image_size": 5},
        {"channels": 1},
        {"resize": "letterbox"},
        {"resize": "centre_crop"},
        {"resize": "centre_crop", "crop_fraction": 0.875},
        {"interpolation": "bicubic"},
    ]
    opened = [settings(flat_folder).model_copy(update=form) for form in forms]
    assert len({open_training_data(s).digest for s in opened}) == 1
    assert len(list((cache / "stores").iterdir())) == len(forms)


def test_a_damaged_scan_is_made_again(flat_folder: Path, cache: Path) -> None:
    first = prepare(settings(flat_folder))
    for scan in (cache / "scans").glob("*.json"):
        scan.write_text("{half")
    assert prepare(settings(flat_folder)) == first


def test_the_hash_of_every_image_is_kept(flat_folder: Path, cache: Path) -> None:
    (flat_folder / "cat/1.png").write_bytes((flat_folder / "dog/2.png").read_bytes())
    prepare(settings(flat_folder))
    hashes: dict[str, str] = {}
    for path in (cache / "stores").glob("*/images.json"):
        images = json.loads(path.read_text())
        hashes |= dict(zip(images["names"], images["hashes"], strict=True))
    assert len(hashes) == 20
    assert hashes["cat/1.png"] == hashes["dog/2.png"]
    assert len(set(hashes.values())) == 19


def test_a_store_of_an_older_version_is_built_anew(flat_folder: Path, cache: Path) -> None:
    """Older stores have no hashes of pixels; their folders and scans have other names."""
    first = prepare(settings(flat_folder))
    for images in (cache / "stores").glob("*/images.json"):
        images.write_text('{"names": [], "hashes": []}')
        images.parent.rename(images.parent.with_name(images.parent.name.replace("-v2", "-v1")))
    assert prepare(settings(flat_folder)) == first
    assert len(set(first.pixel_hashes)) == 20


@pytest.mark.usefixtures("cache")
def test_more_images_than_one_batch(tmp_path: Path) -> None:
    for n in range(150):
        path = tmp_path / f"images/{'cat' if n % 2 else 'dog'}/{n:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), n).save(path)
    (tmp_path / "images/cat/bad.png").touch()
    bad_allowed = settings(tmp_path / "images").model_copy(update={"skip_bad_images": True})
    prepared = prepare(bad_allowed.model_copy(update={"test_fraction": 0}))
    data = open_training_data(prepared.settings)
    numbers = [int(Path(name).stem) for name, _, _ in prepared.splits]
    np.testing.assert_array_equal(data.images_NHWC[:, 0, 0, 0], numbers)
    assert len(numbers) == 150


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("TOPRUNG_CACHE_DIR")
    assert cache_dir().name == "toprung"
