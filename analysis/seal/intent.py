"""The intent to open a test set: written before the first test image is read, never changed.

SWEEP/test_openings/<id>.json     one for each opening, including those with an unknown result
"""

import json
import os
import re
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field

from toprung.analysis.seal.small_files import SmallFiles
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.folder_format import RECORDS_INTENTS, format_of
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.files.atomic_files import flush_folder
from toprung.trainables.files.plain_yaml import read_yaml
from toprung.trainables.files.untrusted_files import read_text

Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Short = Annotated[str, Field(max_length=256)]

MAX_BYTES = 2**16
MAX_FILES = 10_000
"""The most intents that are read from an untrusted folder; a remark reports that there are more."""
_NAME = re.compile(r"[0-9a-f]{16}\.json")


@dataclass(frozen=True)
class Intent:
    """The intent to run a model on the test images.

    Attributes:
        id: the id of this opening.
        trial: the number of the model's trial.
        weights_sha256: the digest of the model's weights (`TrainedModel.digest`).
        test_data_sha256: the digest of the test images, with names and labels, from `sweep.yaml`.
        images: the `ImageSet.id` of the test images; None if not known yet.
        begun_at: the time, in UTC.
        forced: whether the opening is not the first, not for the winner, or before the sweep has
            ended.
        sweep: the name of the sweep.
        sweep_id: the id in `sweep.yaml`; None for a sweep of an earlier version.
        split_seed: the seed of the data split.
        host: the machine of the process.
        pid: the id of the process.
    """

    id: Hex16
    trial: Annotated[int, Field(ge=0)]
    weights_sha256: Short
    test_data_sha256: Short
    images: Hex32 | None
    begun_at: Short
    forced: bool
    sweep: Short
    sweep_id: Short | None = None
    split_seed: Annotated[int, Field(ge=0)] | None = None
    host: Short = ""
    pid: int = 0

    @property
    def file_name(self) -> str:
        """The name of the file, in the sweep and in a ledger."""
        return f"{self.id}.json"

    def as_json(self) -> str:
        """The content of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def new_intent(
    *,
    trial: int,
    weights_sha256: str,
    test_data_sha256: str,
    images: str | None,
    forced: bool,
    sweep: str,
    sweep_id: str | None,
    split_seed: int,
) -> Intent:
    """A new intent of this process, at the current time."""
    return Intent(
        secrets.token_hex(8),
        trial,
        weights_sha256,
        test_data_sha256,
        images,
        datetime.now(UTC).isoformat(timespec="seconds"),
        forced,
        sweep,
        sweep_id,
        split_seed,
        socket.gethostname(),
        os.getpid(),
    )


def write_intent(folder: SweepFolder, intent: Intent) -> None:
    """Write an intent, durably even if power is lost; to the store first, if there is one.

    Raises:
        OSError: if it cannot be written.
        SweepFolderError: if a link leads out of the sweep's folder.
    """
    home = folder.test_openings
    home.mkdir(exist_ok=True)
    flush_folder(folder.path)
    folder.write(home / intent.file_name, intent.as_json())


def withdraw_intent(folder: SweepFolder, intent: Intent) -> None:
    """Remove the intent of this process, which has not read any test image."""
    store = folder.store
    path = folder.test_openings / intent.file_name
    if store is not None:
        store.delete(path.relative_to(folder.path).as_posix())
    path.unlink(missing_ok=True)


def read_intents(files: SmallFiles) -> tuple[list[Intent], list[str]]:
    """The intents in a folder, the earliest first, and a remark for each that cannot be read.

    Raises:
        OSError: if the folder, or the store, cannot be read.
    """
    names = sorted(name for name in files.names() if _NAME.fullmatch(name))
    intents, remarks = [], []
    for name, content in files.read_all(names[:MAX_FILES], MAX_BYTES):
        try:
            intent = typed(Intent, json.loads(content or b""))
            if intent.file_name != name:
                raise ValueError("has another id than its name")
            intents.append(intent)
        except (ValueError, RecursionError) as error:
            remarks.append(f"{files}/{name}: is not the record of an opening: {error}")
    if len(names) > MAX_FILES:
        remarks.append(f"{files}: holds {len(names):,} openings; only {MAX_FILES:,} were read")
    return sorted(intents, key=lambda intent: (intent.begun_at, intent.id)), remarks


def intents_of(folder: SweepFolder) -> tuple[list[Intent], list[str]]:
    """The intents in a sweep's folder.

    Raises:
        SweepFolderError: if they cannot be read.
    """
    try:
        return read_intents(SmallFiles(folder.test_openings))
    except OSError as error:
        reason = error.strerror or error
        raise SweepFolderError(f"{folder.test_openings}: cannot be read: {reason}") from None


def records_intents(folder: SweepFolder) -> bool:
    """Whether every opening of a sweep since its start has an intent.

    Raises:
        SweepFolderError: if `sweep.yaml` cannot be read.
    """
    try:
        return format_of(read_yaml(read_text(folder.settings))) >= RECORDS_INTENTS
    except Exception as error:  # PyYAML raises errors of many types for invalid values
        raise SweepFolderError(f"{folder.settings}: cannot be read: {error!r}") from None


def refresh_intents(folder: SweepFolder) -> None:
    """Copy the intents and predictions from the sweep's store to its folder, if it has a store.

    Raises:
        StoreError: if the store cannot be read.
    """
    store = folder.store
    if store is None:
        return
    for home in (folder.test_openings, folder.test_predictions(0).parent):
        here = {path.name for path in home.glob("[!.]*")}
        for name in here | {PurePosixPath(name).name for name in store.list(home.name)}:
            folder.refresh(home / name)
