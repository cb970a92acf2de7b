"""A file is whole or not there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.listing.files import absolute, write_csv


def test_a_csv_file_has_names_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")
    write_csv(file, ("name", "label"), [(os.fsdecode(b"\xff,\n"), 'a"b')])
    assert file.read_bytes() == b'name,label\r\n"\xff,\n","a""b"\r\n'
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_alone(failure: type[BaseException], tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")

    def rows() -> Iterator[tuple[str]]:
        yield ("new",)
        raise failure

    with pytest.raises(failure):
        write_csv(file, ("name",), rows())
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("~/images", "data/root") == Path("/home/me/images")
    assert absolute("images", "data/root") == Path.cwd() / "images"
    with pytest.raises(DataError, match="data/root = '~nobody-of-that-name' is not a path: "):
        absolute("~nobody-of-that-name", "data/root")
