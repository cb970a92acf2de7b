"""A trial's checkpoint on the disk: written whole or not at all, and checked before it is used."""

import errno
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from toprung.trainables.config import TrialConfig, as_plain, flatten
from toprung.trainables.files.archives import check_archive
from toprung.trainables.files.atomic_files import atomic_file
from toprung.trainables.files.tensor_files import load_torch_file
from toprung.trainables.files.untrusted_files import MAX_CHECKPOINT_BYTES, open_file
from toprung.trainables.results.failures import DISK_IS_FULL, OUT_OF_MEMORY, failure_of
from toprung.trainables.system.typed_settings import ConfigError

WAIT_FOR_ROOM_SECONDS = 600
"""How long a trial waits for room on a full disk before it fails."""
SECONDS_BETWEEN_ATTEMPTS = 5
_EPOCHS = "training/epochs"
_NOT_THERE = "not there"
_NEEDED = {
    "config",
    "class_names",
    "mean",
    "std",
    "model",
    "record",
    "best_record",
    "best_weights",
}
"""What every checkpoint holds, a network's and an SVM's."""


class UnreadableCheckpointError(Exception):
    """A file that is no checkpoint, or no longer a whole one."""


class OtherTrialError(ConfigError):
    """A checkpoint of a trial with another config."""


def write_checkpoint(path: Path, values: Mapping[str, Any]) -> None:
    """Put a checkpoint in the place of the one before, which stays whole until then.

    While the disk is full, it waits for room.

    Raises:
        OSError: if it cannot be written, or there was no room for `WAIT_FOR_ROOM_SECONDS`.
    """
    when_there_is_room(lambda: _write(path, values))


def when_there_is_room(write: Callable[[], None]) -> None:
    """Write; while the disk is full, wait and try again.

    Raises:
        OSError: if it cannot be written, or there was no room for `WAIT_FOR_ROOM_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_FOR_ROOM_SECONDS
    while True:
        try:
            write()
        except OSError as error:
            if error.errno not in DISK_IS_FULL or time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What the file holds, on the CPU; runs no code from it.

    Raises:
        UnreadableCheckpointError: if it is truncated or changed, or no checkpoint.
        OSError: if it is not there, or the disk cannot be read.
    """
    try:
        _check_sums(path)
        saved = load_torch_file(path)
    except Exception as error:  # of many types: torch, zip and pickle each have theirs
        kind, reason = failure_of(error)
        disk_fails = isinstance(error, OSError) and error.errno != errno.EINVAL  # a wrong position
        if disk_fails or kind == OUT_OF_MEMORY:
            raise
        raise UnreadableCheckpointError(f"checkpoint {path}: cannot be read: {reason}") from None
    if not isinstance(saved, dict) or not saved.keys() >= _NEEDED:
        raise UnreadableCheckpointError(
            f"checkpoint {path}: is a file of torch's, but none of ours"
        )
    return saved


def check_same_trial(saved: Mapping[str, Any], config: TrialConfig) -> None:
    """See whether a checkpoint is of this trial, which may have got more epochs since.

    Raises:
        OtherTrialError: with every path that differs.
    """
    before, now = flatten(saved["config"]), flatten(as_plain(config))
    pairs = {
        path: (now.get(path, _NOT_THERE), before.get(path, _NOT_THERE)) for path in before | now
    }
    differing = [
        f"{path} = {value!r}, was {old!r}" + (", can only grow" if path == _EPOCHS else "")
        for path, (value, old) in pairs.items()
        if value != old and not (path == _EPOCHS and value > old)
    ]
    if differing:
        raise OtherTrialError(f"the checkpoint is another trial's: {'; '.join(differing)}")


def _check_sums(path: Path) -> None:
    """See whether every byte is as torch wrote it; torch itself does not look."""
    with open_file(path, MAX_CHECKPOINT_BYTES) as file:
        check_archive(file)
        damaged = zipfile.ZipFile(file).testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def _write(path: Path, values: Mapping[str, Any]) -> None:
    try:
        with atomic_file(path) as file:
            torch.save(dict(values), file)
    except RuntimeError as error:
        raise _hidden_by_torch(error) from None


def _hidden_by_torch(error: RuntimeError) -> BaseException:
    """The file's own error, over which torch's writer raises one that says nothing of it."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, OSError):
        link = link.__context__
    return link or error
