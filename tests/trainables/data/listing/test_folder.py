"""Which files of a folder are images, and of which class and split."""

from pathlib import Path

import pytest

from toprung.trainables.data import DataError
from toprung.trainables.data.listing.folder import list_folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(folder: Path) -> list[tuple[str, str, str | None]]:
    return [(image.name, image.class_name, image.split) for image in list_folder(folder)]


def error(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_folder(folder)
    return str(caught.value)


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.png", "cat/a.png", "cat/deep/er/c.png", "README.md")
    assert listed(tmp_path) == [
        ("cat/a.png", "cat", None),
        ("cat/deep/er/c.png", "cat", None),
        ("dog/b.png", "dog", None),
    ]


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_split_folders(word: str, tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", f"{word}/cat/b.png", "test/cat/c.png", "labels.txt")
    assert sorted(listed(tmp_path)) == sorted(
        [
            ("train/cat/a.png", "cat", "train"),
            (f"{word}/cat/b.png", "cat", "validation"),
            ("test/cat/c.png", "cat", "test"),
        ]
    )


def test_hidden_files_and_junk_are_ignored(tmp_path: Path) -> None:
    junk = ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png", ".cache/b.png")
    touch(tmp_path, "cat/a.png", *(f"cat/{name}" for name in junk), ".git/x", "__MACOSX/y.png")
    assert [name for name, *_ in listed(tmp_path)] == ["cat/a.png"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "cat/up").symlink_to(tmp_path)
    (tmp_path / "cat/itself").symlink_to(tmp_path / "cat")
    (tmp_path / "dog/cat").symlink_to(tmp_path / "cat")
    names = [name for name, *_ in listed(tmp_path)]
    assert names == ["cat/a.png", "dog/b.png", "dog/cat/a.png"]


def test_a_link_upwards_does_not_lead_to_the_test_images(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "test/cat/b.png")
    (tmp_path / "train/cat/up").symlink_to(tmp_path)
    assert listed(tmp_path) == [
        ("test/cat/b.png", "cat", "test"),
        ("train/cat/a.png", "cat", "train"),
    ]


def test_a_linked_class_folder_counts(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.png", "images/dog/b.png")
    (tmp_path / "images/cat").symlink_to(tmp_path / "elsewhere")
    assert [name for name, *_ in listed(tmp_path / "images")] == ["cat/a.png", "dog/b.png"]


def test_other_files_and_broken_links_are_listed_to_be_reported_as_bad(tmp_path: Path) -> None:
    touch(tmp_path, "cat/notes.txt")
    (tmp_path / "cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "cat/self.png").symlink_to(tmp_path / "cat/self.png")
    names = [name for name, *_ in listed(tmp_path)]
    assert names == ["cat/gone.png", "cat/notes.txt", "cat/self.png"]


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "has no class folders" in error(tmp_path)


def test_empty_class_folders_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "dog/.hidden")
    message = error(tmp_path)
    assert str(tmp_path / "dog") in message
    assert str(tmp_path / "cat") not in message


def test_images_outside_class_folders_are_named(tmp_path: Path) -> None:
    assert "outside the class folders" in error(touch(tmp_path, "cat/a.png", "stray.jpg"))


def test_train_is_needed_beside_val(tmp_path: Path) -> None:
    assert "but no 'train' folder" in error(touch(tmp_path, "val/cat/a.png", "test/cat/b.png"))


def test_two_validation_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "val/cat/b.png", "valid/cat/c.png")
    assert "two validation sets: 'val' and 'valid'" in error(tmp_path)


def test_a_folder_beside_train_that_is_no_split(tmp_path: Path) -> None:
    message = error(touch(tmp_path, "train/cat/a.png", "tets/cat/b.png"))
    assert "tets" in message
    assert "nearest: test" in message


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "cannot be read: Permission denied" in error(tmp_path)
