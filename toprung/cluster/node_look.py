"""What a node is asked before a sweep begins. It runs there; empty answers mean all is well."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toprung.cluster.machine_checks import GIB, MIN_FREE_DISK
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import DataError, DataSettings, cache_dir, open_training_data
from toprung.trainables.files.object_store import ObjectStore
from toprung.trainables.system.typed_settings import ConfigError

DRIVER_FILE = "driver"
TOO_LITTLE_DISK = GIB // 2
_SECONDS_TO_APPEAR = 10.0
"""What one machine has written may take a while until another sees it (NFS)."""


@dataclass(frozen=True)
class Answer:
    """What a node says.

    Attributes:
        problem: what keeps trials from running there, in a line; empty if nothing does.
        warning: what may become one.
    """

    problem: str = ""
    warning: str = ""


def look_at_folder(shared: Path, nonce: str, name: str) -> Answer:
    """Whether the folder in which the sweep is to be is here as well, and can be written.

    Args:
        shared: a folder that the driver has made, with a file `driver` that holds `nonce`.
        nonce: the text by which driver and node recognise the folder.
        name: of the file with the same nonce that is left there for the driver.
    """
    where = shared.parent
    if read_soon(shared / DRIVER_FILE) != nonce:
        what = "is another folder there" if where.is_dir() else "is not there"
        return Answer(f"storage {where}: {what}; --out must be a folder that all nodes share")
    try:
        leave(shared / name, nonce)
    except OSError as error:
        return Answer(f"storage {where}: cannot be written: {error.strerror or error}")
    return _room(where)


def look_at_sweep(settings: Path, content: str) -> Answer:
    """Whether the folder of a sweep that runs is here as well; its settings tell it from others."""
    where = settings.parent.parent
    if read_soon(settings) != content:
        return Answer(f"storage {where}: is not there, or another folder; all nodes must share it")
    return _room(where)


def first_problem(*looks: Callable[[], Answer]) -> Answer:
    """What the first of the looks says that finds a problem; else all warnings."""
    answers = []
    for look in looks:
        answers.append(look())
        if answers[-1].problem:
            return answers[-1]
    return Answer(warning="; ".join(answer.warning for answer in answers if answer.warning))


def look_at_store(store: ObjectStore) -> Answer:
    """Whether the object store in which the sweep is to be can be written from here."""
    try:
        store.check_writable()
    except OSError as error:
        return Answer(str(error))
    return _room()


def look_at_inputs(
    data: Sequence[DataSettings], models: Sequence[tuple[TrialConfig, str]]
) -> Answer:
    """Have the images and the pretrained weights here, the same as the driver's.

    Args:
        data: each kind of data, its digest pinned. The node's store of it is built, once.
        models: configs, each with the digest of its model's weights; empty without.
    """
    try:
        for settings in data:
            _check_data(settings)
        for config, digest in models:
            if weights_digest(config) != digest:
                return Answer(f"weights {config.model.weights}: another file than the driver's")
    except (DataError, ConfigError) as error:
        return Answer(" ".join(str(error).split()))
    return Answer()


def weights_digest(config: TrialConfig) -> str:
    """SHA-256 of the model's file of weights, fetched if need be; empty if they are random.

    Raises:
        ConfigError: if it cannot be had.
    """
    file = config.model.fetch_weights()
    if file is None:
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def leave(folder: Path, nonce: str) -> None:
    """Make a folder with a file that holds the nonce."""
    folder.mkdir(exist_ok=True)
    (folder / DRIVER_FILE).write_text(nonce)


def read_soon(file: Path) -> str:
    """What a file holds that another machine has just written; empty if it does not appear."""
    deadline = time.monotonic() + _SECONDS_TO_APPEAR
    while True:
        try:
            return file.read_text("utf-8")
        except OSError:
            if time.monotonic() > deadline or not file.parent.parent.is_dir():
                return ""
        time.sleep(0.2)


def _check_data(settings: DataSettings) -> None:
    """The node's own files may be others; they are not read if it has a store of the right ones."""
    try:
        there = open_training_data(settings).digest
    except DataError:
        there = open_training_data(settings.model_copy(update={"digest": None})).digest
    if there != settings.digest:
        raise DataError(
            f"data {settings.source}: other images, or in other splits, than the driver's "
            f"(there {there[:8]}, here {str(settings.digest)[:8]})"
        )


def _room(storage: Path | None = None) -> Answer:
    """Whether there is room on the disk of the node's cache, and on that of the sweep."""
    cache = cache_dir()
    existing = next(parent for parent in (cache, *cache.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Answer(f"{existing} cannot be written; set TOPRUNG_CACHE_DIR there")
    looks = [_free(existing, f"its cache ({cache})")]
    looks += [_free(storage, f"the sweep ({storage})")] if storage else []
    problems = [look.problem for look in looks if look.problem]
    return Answer("; ".join(problems), "; ".join(look.warning for look in looks if look.warning))


def _free(folder: Path, what: str) -> Answer:
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.1f} GiB of disk free for {what}"
    if free < TOO_LITTLE_DISK:
        return Answer(f"only {text}")
    return Answer(warning=text if free < MIN_FREE_DISK else "")
