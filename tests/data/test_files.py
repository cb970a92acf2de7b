"""A file is whole or not there."""

from pathlib import Path

import pytest

from trainables.data.errors import DataError
from trainables.data.files import absolute, written_whole


def test_what_was_written_is_there_in_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with written_whole(file) as stream:
        stream.write(b"new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_alone(failure: type[BaseException], tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def half_written() -> None:
        with written_whole(file) as stream:
            stream.write(b"new")
            raise failure

    with pytest.raises(failure):
        half_written()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("~/images", "data/root") == Path("/home/me/images")
    assert absolute("images", "data/root") == Path.cwd() / "images"
    with pytest.raises(DataError, match="data/root = '~nobody-of-that-name' is no path: "):
        absolute("~nobody-of-that-name", "data/root")
