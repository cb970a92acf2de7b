"""A checkpoint is whole at every moment, waits for room on the disk, and is checked."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
import torch

from tests.support.helpers import tiny_config, tiny_data
from toprung.trainables.files.atomic_files import atomic_file, remove_leftovers
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.training import checkpoint
from toprung.trainables.training.checkpoint import (
    UnreadableCheckpointError,
    load_checkpoint,
    write_checkpoint,
)
from toprung.trainables.training.fit import fit
from toprung.trainables.training.state import read_checkpoint

DATA = tiny_data()
CONFIG = tiny_config()

WRITE_AGAIN_AND_AGAIN = """
import itertools, pathlib, sys
from toprung.trainables.files.atomic_files import atomic_file
for number in itertools.count():
    with atomic_file(pathlib.Path(sys.argv[1])) as file:
        for _ in range(1000):
            file.write(b"%09d" % number)
    print(number, flush=True)
"""


WRITE_AND_WAIT = """
import pathlib, sys, time
from toprung.trainables.files.atomic_files import atomic_file
with atomic_file(pathlib.Path(sys.argv[1])) as file:
    print("half", flush=True)
    time.sleep(100)
"""


class TestAtomicFiles:
    def test_have_the_mode_that_the_umask_gives(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            with atomic_file(tmp_path / "file") as file:
                file.write(b"content")
        finally:
            os.umask(before)
        (path,) = tmp_path.iterdir()
        assert path.read_bytes() == b"content"
        assert path.stat().st_mode & 0o777 == 0o640

    def test_an_error_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")
        with pytest.raises(TypeError), atomic_file(path) as file:
            file.writelines([b"half", "of it"])  # type: ignore[list-item]
        assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]

    def test_a_killed_process_leaves_a_whole_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        command = [sys.executable, "-c", WRITE_AGAIN_AND_AGAIN, str(path)]
        root = Path(__file__).parents[3]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [next(writer.stdout) for _ in range(20)]
            writer.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert content == content[:9] * 1000
        assert int(content[:9]) >= int(said[-1])

    def test_what_killed_processes_left_is_removed_and_nothing_else(self, tmp_path: Path) -> None:
        for name in (".file.0a1b.tmp", ".file.2c3d.tmp", ".other.0a1b.tmp", "file", ".file.txt"):
            (tmp_path / name).write_bytes(b"half")
        (tmp_path / ".link.0a1b.tmp").symlink_to(tmp_path / "file")
        os.mkfifo(tmp_path / ".fifo.0a1b.tmp")
        remove_leftovers(tmp_path)
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left == [".fifo.0a1b.tmp", ".file.txt", ".link.0a1b.tmp", "file"]
        remove_leftovers(tmp_path / "none")

    def test_what_is_being_written_stays(self, tmp_path: Path) -> None:
        with atomic_file(tmp_path / "slow") as slow:
            slow.write(b"slow")
            with atomic_file(tmp_path / "quick") as quick:
                quick.write(b"quick")
            remove_leftovers(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"quick", "slow"}
        assert (tmp_path / "slow").read_bytes() == b"slow"

    def test_who_writes_into_a_folder_next_removes_what_was_left(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path / "file")]
        root = Path(__file__).parents[3]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert next(writer.stdout) == "half\n"
            with atomic_file(tmp_path / "other"):
                pass
            assert len(list(tmp_path.iterdir())) == 2
            writer.kill()
        with atomic_file(tmp_path / "other"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["other"]


class TestFullDisk:
    @pytest.fixture
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The clock runs only while somebody waits; how long each did."""
        waited: list[float] = []
        clock = SimpleNamespace(sleep=waited.append, monotonic=lambda: sum(waited))
        monkeypatch.setattr("toprung.trainables.training.checkpoint.time", clock)
        return waited

    @staticmethod
    def full(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
        """So many attempts to write find a full disk."""

        @contextmanager
        def file_on_disk(path: Path) -> Iterator[BinaryIO]:
            nonlocal attempts
            attempts -= 1
            if attempts < 0:
                with atomic_file(path) as file:
                    yield file
            else:
                with Path("/dev/full").open("wb", buffering=0) as file:
                    yield file

        monkeypatch.setattr(checkpoint, "atomic_file", file_on_disk)

    def test_is_waited_for(
        self, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "checkpoint"
        write_checkpoint(path, {"weights": torch.zeros(10)})
        assert not waits
        self.full(monkeypatch, 2)
        write_checkpoint(path, {"weights": torch.ones(10)})
        assert waits == [checkpoint.SECONDS_BETWEEN_ATTEMPTS] * 2
        assert torch.equal(torch.load(path)["weights"], torch.ones(10))

    def test_not_for_ever(
        self, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "checkpoint"
        write_checkpoint(path, {"weights": torch.zeros(10)})
        self.full(monkeypatch, 10**6)
        with pytest.raises(OSError, match="No space left") as raised:
            write_checkpoint(path, {"weights": torch.ones(10)})
        assert raised.value.errno == errno.ENOSPC
        assert sum(waits) == checkpoint.WAIT_FOR_ROOM_SECONDS
        assert torch.equal(torch.load(path)["weights"], torch.zeros(10))

    def test_other_errors_are_not_waited_for(self, tmp_path: Path, waits: list[float]) -> None:
        with pytest.raises(FileNotFoundError):
            write_checkpoint(tmp_path / "nowhere" / "checkpoint", {})
        with pytest.raises(RuntimeError, match="exotic"):
            write_checkpoint(tmp_path / "checkpoint", {"value": _Unsavable()})
        assert not waits
        assert not list(tmp_path.iterdir())


class _Unsavable:
    def __reduce__(self) -> str:
        raise RuntimeError("exotic")


def damaged(path: Path, how: str) -> None:
    whole = path.read_bytes()
    match how:
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "nearly whole":
            path.write_bytes(whole[:-20])
        case "emptied":
            path.write_bytes(b"")
        case "zeroed":
            path.write_bytes(bytes(len(whole)))
        case "a bit flipped":
            random_state = torch.load(path)["random_state"][0].numpy().tobytes()
            path.write_bytes(
                whole.replace(random_state, bytes([random_state[0] ^ 1]) + random_state[1:])
            )
        case "some cut out":
            path.write_bytes(whole[:2000] + whole[2100:])
        case "text":
            path.write_text("hello world")
        case "another file":
            torch.save({"weights": torch.zeros(3)}, path)
        case "no mapping":
            torch.save(torch.zeros(3), path)


DAMAGES = [
    "truncated",
    "nearly whole",
    "emptied",
    "zeroed",
    "a bit flipped",
    "some cut out",
    "text",
    "another file",
    "no mapping",
]


class TestReading:
    @pytest.mark.parametrize("how", DAMAGES)
    def test_what_is_not_a_checkpoint_is_reported(self, how: str, tmp_path: Path) -> None:
        next(fit(CONFIG, DATA)).save_checkpoint(tmp_path)
        damaged(tmp_path / CHECKPOINT_FILE, how)
        with pytest.raises(UnreadableCheckpointError, match=CHECKPOINT_FILE):
            read_checkpoint(tmp_path)

    def test_a_disk_that_cannot_be_read_is_no_damaged_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_checkpoint(tmp_path)

    def test_nor_is_want_of_memory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def load(*_: Any, **__: Any) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        next(fit(CONFIG, DATA)).save_checkpoint(tmp_path)
        monkeypatch.setattr(torch, "load", load)
        with pytest.raises(RuntimeError, match="allocate"):
            load_checkpoint(tmp_path / CHECKPOINT_FILE)
