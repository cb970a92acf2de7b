"""Training a trial whose checkpoint is kept in an object store instead of a folder."""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.files.object_store import ObjectStore, StoreError
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.training.trial_in_folder import train_kept

T = TypeVar("T")

WAIT_FOR_STORE_SECONDS = 900
"""How long a trial waits for its store before it fails.

Longer than the driver waits: the driver ends the sweep first, so that the trial has not failed and
continues when the sweep is resumed.
"""
SECONDS_BETWEEN_ATTEMPTS = 5
_SCRATCH = "toprung-scratch"


def train_stored(
    config: TrialConfig, data: TrainingData, device: torch.device, url: str
) -> Generator[dict[str, Any], None, None]:
    """Train or resume a trial like `train_kept`, with its checkpoint in an object store.

    While it trains, its files are in a temporary folder on this machine.

    Raises:
        The errors of `train_kept`.
        StoreError: if the store cannot be used, or was unreachable for `WAIT_FOR_STORE_SECONDS`.
    """
    store = when_it_answers(lambda: ObjectStore(url))
    with _scratch_folder() as folder:
        checkpoint = folder / CHECKPOINT_FILE
        when_it_answers(lambda: store.download(CHECKPOINT_FILE, checkpoint))

        def upload() -> None:
            when_it_answers(lambda: store.upload(checkpoint, CHECKPOINT_FILE))

        with closing(train_kept(config, data, device, folder, upload)) as reports:
            yield from reports


def when_it_answers(action: Callable[[], T]) -> T:
    """Return what the action returns; while the store is unreachable, wait and try again.

    Raises:
        StoreError: if the store refuses, or was unreachable for `WAIT_FOR_STORE_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_FOR_STORE_SECONDS
    while True:
        try:
            return action()
        except StoreError as error:
            if not error.may_pass or time.monotonic() >= deadline:
                raise
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A new folder on this machine; folders that killed processes have left are removed."""
    home = Path(tempfile.gettempdir()) / f"{_SCRATCH}-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    found = home.lstat()  # a link could lead to folders that are not temporary
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{home}: is not a folder that this user owns")
    with _one_at_a_time(home):
        _remove_abandoned(home)
        folder = Path(tempfile.mkdtemp(dir=home))
        handle = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    handle = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(home: Path) -> None:
    for folder in home.iterdir():
        with suppress(OSError):
            handle = _locked(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _locked(folder: Path) -> int:
    """Lock the folder; the system releases the lock when the process ends, however it ends.

    Raises:
        BlockingIOError: if a process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    return handle
