"""A trial's checkpoint file: written whole or not at all, and checked before it is used."""

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
"""How long a trial waits for space on a full disk before it fails."""
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
"""The keys that every checkpoint holds, of a network or an SVM."""


class UnreadableCheckpointError(Exception):
    """A file that is not a checkpoint, or is damaged."""


class OtherTrialError(ConfigError):
    """A checkpoint of a trial with another config."""


def write_checkpoint(path: Path, values: Mapping[str, Any]) -> None:
    """Replace the checkpoint file in one step; the previous one stays whole until then.

    While the disk is full, it waits for space.

    Raises:
        OSError: if it cannot be written, or there was no space for `WAIT_FOR_ROOM_SECONDS`.
    """
    when_there_is_room(lambda: _write(path, values))


def when_there_is_room(write: Callable[[], None]) -> None:
    """Call `write`; while the disk is full, wait and try again.

    Raises:
        OSError: if it cannot be written, or there was no space for `WAIT_FOR_ROOM_SECONDS`.
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
    """Load a checkpoint's content onto the CPU, without running code from the file.

    Raises:
        UnreadableCheckpointError: if the file is truncated, damaged, or not a checkpoint.
        OSError: if the file does not exist, or the disk cannot be read.
    """
    try:
        _check_sums(path)
        saved = load_torch_file(path)
    except Exception as error:  # of many types: torch, zip and pickle each raise their own
        kind, reason = failure_of(error)
        # EINVAL is a seek to a wrong position in a damaged file.
        disk_fails = isinstance(error, OSError) and error.errno != errno.EINVAL
        if disk_fails or kind == OUT_OF_MEMORY:
            raise
        raise UnreadableCheckpointError(f"checkpoint {path}: cannot be read: {reason}") from None
    if not isinstance(saved, dict) or not saved.keys() >= _NEEDED:
        raise UnreadableCheckpointError(
            f"checkpoint {path}: is a torch file, but not a checkpoint of a trial"
        )
    return saved


def check_same_trial(saved: Mapping[str, Any], config: TrialConfig) -> None:
    """Check that a checkpoint belongs to this trial, which may have been given more epochs since.

    Raises:
        OtherTrialError: naming every setting that differs.
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
        raise OtherTrialError(f"the checkpoint belongs to another trial: {'; '.join(differing)}")


def _check_sums(path: Path) -> None:
    """Verify the checksums in the file, which torch does not verify itself."""
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
    """The operating system's error that torch's writer hides behind an error of its own."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, OSError):
        link = link.__context__
    return link or error
