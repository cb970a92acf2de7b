"""Links, special files and files without end in a sweep's folder or an export.

Each is refused in one line; what a link leads to is neither shown nor changed.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.test_fuzz_folder import FAILS, READ_BY
from tests.support.fuzzed_sweep import FILES, WINNER, Place, commands, run
from toprung.analysis.report.sections import SECTIONS
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.stored_files import visible_files
from toprung.storage.driver_lock import driver_lock
from toprung.trainables.files.untrusted_files import (
    MAX_CHECKPOINT_BYTES,
    UntrustedFileError,
    check_folder,
    read_lines,
)

SECRET = "ssh-key-of-the-user"
TRIAL = f"trial_{WINNER:05d}"
PATHS: dict[str, Callable[[SweepFolder], Path | Iterator[object]]] = {
    "sweep.yaml": lambda sweep: sweep.settings,
    "search_space.py": lambda sweep: sweep.search_space,
    "study.db": lambda sweep: sweep.study,
    "study.db-wal": lambda sweep: sweep.study,
    "study.db-shm": lambda sweep: sweep.study,
    "study.db-journal": lambda sweep: sweep.study,
    "decisions.jsonl": lambda sweep: sweep.decisions,
    "driver.lock": lambda sweep: sweep.lock,
    "driver.json": lambda sweep: sweep.lease,
    "splits.csv": lambda sweep: sweep.splits,
    "duplicates.csv": lambda sweep: sweep.duplicates,
    "sealed_test.json": lambda sweep: sweep.sealed_test,
    ".sealed_test.json.lock": lambda sweep: sweep.sealed_test,
    f"test_predictions/{TRIAL}.npz": lambda sweep: sweep.test_predictions(WINNER),
    f"trials/{TRIAL}/result.json": lambda sweep: sweep.result_log(WINNER),
    f"trials/{TRIAL}/checkpoint.pt": lambda sweep: sweep.checkpoint_file(WINNER),
}
FOLDERS: dict[str, Callable[[SweepFolder], object]] = {
    "code": lambda sweep: sweep.code,
    "tensorboard": lambda sweep: sweep.tensorboard,
    f"tensorboard/{TRIAL}": lambda sweep: sweep.tensorboard_of(WINNER),
    "best": lambda sweep: sweep.best,
    "exports": lambda sweep: sweep.export_of(WINNER),
    f"exports/{TRIAL}": lambda sweep: sweep.export_of(WINNER),
    "test_predictions": lambda sweep: sweep.test_predictions(WINNER),
    "report": lambda sweep: sweep.report,
    "trials": lambda sweep: sweep.checkpoints(),
    f"trials/{TRIAL}": lambda sweep: next(sweep.reports(WINNER), None),
}


def _link(path: Path, to: Path) -> None:
    path.symlink_to(to)


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path, _: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_CHECKPOINT_BYTES + 1)


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


KINDS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "a link": (_link, "is a link"),
    "a pipe": (_pipe, "is not a regular file"),
    "a folder": (_folder, "is not a regular file"),
    "an endless file": (_endless, "bytes; at most"),
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's with a secret in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text(SECRET)
    return folder


def _unchanged(outside: Path) -> bool:
    (file,) = outside.iterdir()
    return file.read_text() == SECRET


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PATHS)
def test_a_file_of_a_sweep(name: str, kind: str, tmp_path: Path, outside: Path) -> None:
    sweep, (put, said) = SweepFolder(tmp_path / "sweep"), KINDS[kind]
    path = sweep.path / name
    path.parent.mkdir(parents=True)
    assert isinstance(PATHS[name](sweep), Path)  # where nothing is
    put(path, outside / "secret")
    with pytest.raises(SweepFolderError, match=rf"{path.name}: .*{said}"):
        PATHS[name](sweep)


def test_every_path_that_a_sweeps_folder_gives_out(tmp_path: Path, outside: Path) -> None:
    """So that a new one is guarded too: it comes from `_file` or `_folder`."""
    names = [name for name, member in vars(SweepFolder).items() if _gives_a_path(member)]
    assert {"settings", "study", "best", "report", "trial", "export_of"} <= {*names}
    for name in names:
        sweep = SweepFolder(tmp_path / name)
        path = _path(sweep, name)
        path.parent.mkdir(parents=True)
        path.symlink_to(outside / "secret")
        with pytest.raises(SweepFolderError, match="is a link"):
            _path(sweep, name)


def _gives_a_path(member: object) -> bool:
    function = member.fget if isinstance(member, property) else member
    annotations = dict(getattr(function, "__annotations__", {}))
    is_path = annotations.pop("return", None) is Path
    if not is_path or annotations not in ({}, {"number": int}):
        return False
    return function is not SweepFolder.checkpoint  # which is `trial`, where there is one


def _path(sweep: SweepFolder, name: str) -> Path:
    found = getattr(sweep, name)
    if isinstance(found, Path):
        return found
    path = found(WINNER)
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_a_sweep(name: str, tmp_path: Path, outside: Path) -> None:
    sweep = SweepFolder(tmp_path / "sweep")
    path = sweep.path / name
    path.parent.mkdir(parents=True)
    FOLDERS[name](sweep)
    path.symlink_to(outside)
    with pytest.raises(SweepFolderError, match=f"{path.name}: is a link"):
        FOLDERS[name](sweep)
    path.unlink()
    path.write_text("a file")
    with pytest.raises(SweepFolderError, match=f"{path.name}: is not a folder"):
        FOLDERS[name](sweep)


def test_the_sweep_itself_may_be_reached_through_a_link(place: Place, outside: Path) -> None:
    link = outside / "link"
    link.symlink_to(place.sweep)
    assert run(["status", str(link)]) == (0, "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_commands_that_read_it(file: str, kind: str, place: Place, outside: Path) -> None:
    put, said = KINDS[kind]
    path = place.sweep / file
    path.unlink()
    put(path, outside / "secret")
    for name in READ_BY[file]:
        code, told = run(commands(place)[name])
        if (file, name) in FAILS or code:
            assert (code, len(told.splitlines())) == (2, 1), told
            assert told.startswith("error: ")
            assert said in told
        assert SECRET not in told
    assert _unchanged(outside)


@pytest.mark.parametrize("name", ["README.md", "model.onnx", "metrics.json", "config.json"])
@pytest.mark.parametrize("kind", ["a link", "a pipe"])
def test_commands_that_write_an_export(name: str, kind: str, place: Place, outside: Path) -> None:
    put, said = KINDS[kind]
    (place.sweep / "best" / name).unlink(missing_ok=True)
    put(place.sweep / "best" / name, outside / "secret")
    code, told = run(commands(place)["export in place"])
    assert (code, len(told.splitlines()), said in told) == (2, 1, True), told
    assert _unchanged(outside)


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        ("report", ["report"]),
        ("best", ["export"]),
        ("exports", ["export", "--trial", "0", "--force"]),
        ("test_predictions", ["test", "--force"]),
    ],
)
def test_commands_that_write_into_a_folder(
    folder: str, arguments: list[str], place: Place, outside: Path
) -> None:
    path = place.sweep / folder
    shutil.rmtree(path, ignore_errors=True)
    (place.sweep / "sealed_test.json").unlink()
    shutil.copytree(
        place.sweep / "trials" / TRIAL, place.sweep / "trials" / "trial_00000", dirs_exist_ok=True
    )
    path.symlink_to(outside)
    code, told = run([arguments[0], str(place.sweep), *arguments[1:]])
    assert (code, len(told.splitlines()), f"{folder}: is a link" in told) == (2, 1, True), told
    assert _unchanged(outside)


def test_a_search_space_does_not_come_into_the_page(
    place: Place, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toprung.analysis.report.page.SECTIONS", SECTIONS[:1])
    (place.sweep / "search_space.py").unlink(missing_ok=True)
    (place.sweep / "search_space.py").symlink_to(outside / "secret")
    code, told = run(commands(place)["report"])
    assert (code, "search_space.py: is a link" in told) == (2, True)
    assert not any(SECRET in path.read_text("latin-1") for path in place.out.rglob("*.*"))


def test_a_lock_that_is_a_link_is_not_made_elsewhere(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "driver.lock").symlink_to(outside / "new")
    with (
        pytest.raises(SweepFolderError, match="is a link"),
        driver_lock(SweepFolder(tmp_path / "sweep")),
    ):
        pass
    assert _unchanged(outside)


class TestWholeFolders:
    """Those that are sent to a store, copied over, or shown by TensorBoard."""

    @pytest.mark.parametrize("kind", ["a link", "a pipe"])
    def test_deep_down(self, kind: str, tmp_path: Path, outside: Path) -> None:
        deep = tmp_path / "sweep" / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "file").touch()
        check_folder(tmp_path / "sweep")
        assert visible_files(tmp_path / "sweep") == [deep / "file"]
        put, said = KINDS[kind]
        put(deep / "hostile", outside / "secret")
        for look in (check_folder, visible_files):
            with pytest.raises(UntrustedFileError, match=f"hostile: {said}"):
                look(tmp_path / "sweep")


def test_lines_without_end_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toprung.trainables.files.untrusted_files.MAX_LINE_BYTES", 8)
    log = tmp_path / "log"
    log.write_bytes(b"1234567\n" + b"x" * 30 + b"\n" + b"12345678\nend")
    assert list(read_lines(log)) == [b"1234567\n", b"end"]
