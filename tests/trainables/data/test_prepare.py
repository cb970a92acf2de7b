"""What the driver records of the data, and what stops it."""

import csv
import hashlib
import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from toprung.trainables.data import BadImage, DataError, DataSettings, decode_image, prepare
from toprung.trainables.data.listing.errors import BadImagesError
from toprung.trainables.provenance.pixel_hash import pixel_hash

pytestmark = pytest.mark.usefixtures("cache")


def settings(source: Path, **changes: Any) -> DataSettings:
    return DataSettings(source=str(source), **{"image_size": 4} | changes)


def stores(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "stores").iterdir())


def test_counts_and_classes(flat_folder: Path) -> None:
    prepared = prepare(settings(flat_folder))
    assert prepared.class_names == ("cat", "dog")
    counts = prepared.num_train, prepared.num_validation, prepared.num_test
    assert counts == (12, 4, 4)
    assert prepared.bad_images == ()


def test_splits_are_written_as_csv(split_folder: Path, tmp_path: Path) -> None:
    prepare(settings(split_folder)).write_splits(tmp_path / "splits.csv")
    with (tmp_path / "splits.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["image", "label", "split", "sha256", "pixel_sha256"]
    digest = hashlib.sha256((split_folder / "val/dog/1.png").read_bytes()).hexdigest()
    with Image.open(split_folder / "val/dog/1.png") as image:
        pixels = pixel_hash(image)
    assert ["val/dog/1.png", "dog", "validation", digest, pixels] in rows
    assert Counter(row[2] for row in rows) == {"train": 8, "validation": 4, "test": 4}


def test_names_that_are_not_utf8(flat_folder: Path, tmp_path: Path) -> None:
    (flat_folder / "cat/0.png").rename(flat_folder / os.fsdecode(b"cat/\xff,\n.png"))
    prepare(settings(flat_folder)).write_splits(tmp_path / "splits.csv")
    assert b'"cat/\xff,\n.png",cat,' in (tmp_path / "splits.csv").read_bytes()


def test_the_settings_are_pinned(
    flat_folder: Path, files_read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flat_folder.parent)
    pinned = prepare(settings(Path("images"))).settings
    assert pinned.source == str(flat_folder)
    assert pinned.digest is not None
    files_read.clear()
    assert prepare(pinned).settings == pinned
    assert files_read == []  # a warm start


def test_a_csv_of_the_same_images(flat_folder: Path) -> None:
    lines = [f"{c}/{n}.png,{c}" for c in ("cat", "dog") for n in range(10)]
    (flat_folder / "images.csv").write_text("\n".join(["path,label", *lines]))
    from_csv = prepare(settings(flat_folder / "images.csv"))
    assert from_csv.settings.digest == prepare(settings(flat_folder)).settings.digest


def test_a_moved_folder_finds_its_store(flat_folder: Path, cache: Path) -> None:
    first = prepare(settings(flat_folder))
    before = stores(cache)
    moved = prepare(settings(flat_folder.rename(flat_folder.with_name("moved"))))
    assert (moved.settings.digest, moved.test_digest) == (first.settings.digest, first.test_digest)
    assert stores(cache) == before


def test_the_first_classes(flat_folder: Path, write_image: Any) -> None:
    for n in range(3):
        write_image(f"ant/{n}.png")
    prepared = prepare(settings(flat_folder, num_classes=2))
    assert prepared.class_names == ("ant", "cat")
    assert len(prepared.splits) == 13
    assert prepare(settings(flat_folder)).class_names == ("ant", "cat", "dog")
    with pytest.raises(DataError, match="have only 3 classes"):
        prepare(settings(flat_folder, num_classes=4))


def test_swapped(split_folder: Path) -> None:
    swapped = prepare(settings(split_folder, swap_train_and_test=True))
    counts = swapped.num_train, swapped.num_validation, swapped.num_test
    assert counts == (4, 4, 8)
    assert prepare(settings(split_folder)).settings.digest != swapped.settings.digest


def test_no_test_set(flat_folder: Path) -> None:
    prepared = prepare(settings(flat_folder, test_fraction=0))
    assert (prepared.num_test, prepared.test_digest) == (0, None)
    assert prepare(prepared.settings) == prepared


@pytest.mark.parametrize("change", ["content", "new", "gone", "renamed", "relabelled"])
def test_changed_data_are_noticed(change: str, flat_folder: Path) -> None:
    pinned = prepare(settings(flat_folder)).settings
    cat, dog = flat_folder / "cat", flat_folder / "dog"
    if change == "gone":
        (cat / "0.png").unlink()
    elif change == "renamed":
        (cat / "0.png").rename(cat / "zero.png")
    elif change == "relabelled":
        (cat / "0.png").rename(dog / "from_cat.png")
    else:
        for n in range(10):
            Image.new("L", (6, 4), n).save(cat / f"{n}{'_new' * (change == 'new')}.png")
    with pytest.raises(DataError, match="have changed since data/digest was pinned"):
        prepare(pinned)


def test_touched_files_are_not_changed_data(flat_folder: Path) -> None:
    pinned = prepare(settings(flat_folder)).settings
    os.utime(flat_folder / "cat/0.png", ns=(0, 0))
    assert prepare(pinned).settings == pinned


def test_bad_images_of_all_splits_stop_it(split_folder: Path, cache: Path) -> None:
    (split_folder / "train/cat/0.png").write_bytes(b"")
    (split_folder / "test/dog/notes.txt").write_text("no picture")
    with pytest.raises(BadImagesError) as caught:
        prepare(settings(split_folder))
    bad_images = (
        BadImage("train/cat/0.png", "the file is empty"),
        BadImage("test/dog/notes.txt", "not an image, or in a format unknown to Pillow"),
    )
    assert caught.value.bad_images == bad_images
    assert "\n  - train/cat/0.png: the file is empty\n  - test/dog" in str(caught.value)
    assert "data/skip_bad_images" in str(caught.value)
    assert stores(cache) == []
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_at_most_20_bad_images_are_shown(flat_folder: Path) -> None:
    for n in range(30):
        (flat_folder / f"cat/{n}.txt").touch()
    with pytest.raises(BadImagesError, match=r"^30 of the files") as caught:
        prepare(settings(flat_folder))
    assert len(caught.value.bad_images) == 30
    assert str(caught.value).endswith("and 10 more")


def test_bad_images_can_be_left_out(split_folder: Path) -> None:
    (split_folder / "train/cat/0.png").write_bytes(b"")
    (split_folder / "train/dog/gone.png").symlink_to(split_folder / "nowhere")
    for _ in range(2):
        prepared = prepare(settings(split_folder, skip_bad_images=True))
        bad_names = [bad.name for bad in prepared.bad_images]
        assert bad_names == ["train/cat/0.png", "train/dog/gone.png"]
        assert (prepared.num_train, len(prepared.splits)) == (7, 15)
    with pytest.raises(BadImagesError):
        prepare(settings(split_folder))


def test_leaving_out_bad_images_must_not_empty_a_class(split_folder: Path) -> None:
    for n in range(2):
        (split_folder / f"val/dog/{n}.png").write_bytes(b"")
    with pytest.raises(DataError, match="class 'dog' in the validation set"):
        prepare(settings(split_folder, skip_bad_images=True))


def test_a_full_disk_is_noticed_beforehand(
    flat_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"needs 768 bytes, but .* only 100 free"):
        prepare(settings(flat_folder))
    assert stores(cache) == []


def test_a_cache_folder_that_cannot_be_used(flat_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Set TOPRUNG_CACHE_DIR to a folder") as caught:
        prepare(settings(flat_folder), cache_dir=tmp_path / "file/cache")
    assert str(tmp_path / "file/cache") in str(caught.value)


def test_progress_is_reported_in_two_lines(
    flat_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(settings(flat_folder, test_fraction=0), show_progress=True)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "Decoding train + validation images: 20 images"
    assert last.startswith("Decoding train + validation images: done in ")
    prepare(settings(flat_folder, test_fraction=0), show_progress=True)
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(
    flat_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    prepare(settings(flat_folder, test_fraction=0), show_progress=True)
    assert "100%" in capsys.readouterr().err


def test_without_progress_nothing_is_reported(
    flat_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(settings(flat_folder))
    assert capsys.readouterr() == ("", "")


def test_odd_images_leak_no_warnings(
    flat_folder: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow warns of every image
    prepare(settings(flat_folder))
    decode_image(flat_folder / "cat/0.png", settings(flat_folder))
    assert len(recwarn) == 0
