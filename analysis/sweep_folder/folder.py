"""The files in a sweep's folder; their names are defined only here.

sweep.yaml        the description: settings, space, data, versions
search_space.py   the source of the search space
code/             what the space can import from its folder, if the sweep was sent to a cluster
study.db          the Optuna study: the config, results and end of each trial
decisions.jsonl   the log of decisions, one line each
driver.lock       locked by the process that runs the sweep
splits.csv        which image is in which split, and the hash of its content
duplicates.csv    the images that occur more than once, if there are any
starting_weights.safetensors  the weights files that trials start from, and their images
trials/           a folder per trial: its reports, its checkpoint, and Ray Tune's files
tensorboard/      scalars and hyperparameters, a folder per trial
best/             the export of the winner
exports/          exports of other trials, if requested
test_openings/    the intents to open the test set, a file for each opening
sealed_test.json  the results of all openings of the test set
test_predictions/ the predictions of each tested model for the test images, with some of the images
report/           the report and its pictures

A sweep may be in an object store instead, under the same names, with a working copy on the machine
that reads or runs it. The checkpoints of its trials are only in the store until they are needed;
the process that runs the sweep keeps `driver.json` up to date there.

A sweep's folder may be untrusted: every path in it is checked before it is returned, and refused if
it leads out of the folder, could block, or is too large (`untrusted_files.inside`).
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from toprung.analysis.sweep_folder import stored_files
from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.known_sweeps import note_working_copies, url_of_working_copies
from toprung.trainables.data.listing.cache import cache_dir, digest_of
from toprung.trainables.files.atomic_files import remove_leftovers
from toprung.trainables.files.object_store import ObjectStore, url_within
from toprung.trainables.files.untrusted_files import (
    MAX_CHECKPOINT_BYTES,
    MAX_LOG_BYTES,
    MAX_PREDICTIONS_BYTES,
    MAX_STUDY_BYTES,
    MAX_TABLE_BYTES,
    MAX_TEXT_BYTES,
    UntrustedFileError,
    inside,
    read_lines,
)
from toprung.trainables.results.columns import CHECKPOINT_FILE

RAY_EXPERIMENT = "trials"
LEASE = "driver.json"
_TRIAL = "trial_"
_JOURNALS = ("wal", "shm", "journal")


class SweepFolderError(ValueError):
    """A folder is not the requested sweep, export or result, or cannot be used as such."""


@dataclass(frozen=True)
class SweepFolder:
    """The paths in one sweep's folder.

    Each raises a `SweepFolderError` if the file must not be opened.
    """

    path: Path

    @classmethod
    def working_copy(cls, store: ObjectStore) -> "SweepFolder":
        """The working copy in the user's cache of a sweep in a store, whose URL the user gave.

        Its parent folder is created.
        """
        url = store.parent.url
        home = (cache_dir() / "sweeps" / digest_of(url)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        note_working_copies(home, url)
        return cls(home / store.name)

    @property
    def store(self) -> ObjectStore | None:
        """The location of the sweep in a store, if this folder is a working copy of it.

        It comes from the user's own record, never from a file next to the sweep, which may be
        untrusted.
        """
        url = url_of_working_copies(self.path.parent)
        return None if url is None else _store(url, self.path.name)

    @property
    def address(self) -> str:
        """The sweep as the user names it: its path, or its URL in a store."""
        return self.shown(self.path)

    def shown(self, path: Path) -> str:
        """A path in the folder as the user knows it."""
        store = self.store
        if store is None or not path.is_relative_to(self.path):
            return str(path)
        inside = path.relative_to(self.path).as_posix()
        return store.url if inside == "." else url_within(store.url, inside)

    def publish(self, path: Path) -> None:
        """Upload a file or folder of the sweep to its store, if it has one.

        Raises:
            StoreError: if the store cannot be written.
        """
        store = self.store
        if store is not None and path.is_relative_to(self.path):
            stored_files.publish(store, self.path, path)

    def write(self, path: Path, content: str) -> None:
        """Write a file of the sweep; first to its store, if it has one.

        Raises:
            OSError: if the file cannot be written; it may already be in the store then.
        """
        store = self.store
        if store is not None:
            store.write(path.relative_to(self.path).as_posix(), content.encode())
        write_atomically(path, content)

    def refresh(self, path: Path) -> None:
        """Update a file from the sweep's store, if it has one.

        Raises:
            StoreError: if the store cannot be read.
        """
        store = self.store
        if store is not None:
            stored_files.refresh(store, self.path, path)

    def complete(self, path: Path) -> None:
        """Download what a folder lacks from the sweep's store, if it has one.

        Raises:
            StoreError: if the store cannot be read.
        """
        store = self.store
        if store is not None:
            stored_files.complete(store, self.path, path)

    @property
    def settings(self) -> Path:
        """The description of the sweep: settings, space, data, versions."""
        return self._file("sweep.yaml")

    @property
    def search_space(self) -> Path:
        """The source of the search space."""
        return self._file("search_space.py")

    @property
    def code(self) -> Path:
        """The code that the search space can import; missing if no code was sent."""
        return self._folder("code")

    @property
    def study(self) -> Path:
        """The Optuna study's SQLite file."""
        for journal in _JOURNALS:  # SQLite opens them by itself
            self._file(f"study.db-{journal}", most_bytes=MAX_STUDY_BYTES)
        return self._file("study.db", most_bytes=MAX_STUDY_BYTES)

    @property
    def decisions(self) -> Path:
        """The log of decisions, one JSON object per line."""
        return self._file("decisions.jsonl", most_bytes=MAX_LOG_BYTES)

    @property
    def lock(self) -> Path:
        """The file that the process running the sweep keeps locked."""
        return self._file("driver.lock")

    @property
    def lease(self) -> Path:
        """The last update from the store about the process that runs the sweep."""
        return self._file(LEASE)

    @property
    def splits(self) -> Path:
        """Which image is in which split."""
        return self._file("splits.csv", most_bytes=MAX_TABLE_BYTES)

    @property
    def duplicates(self) -> Path:
        """The list of images that occur more than once; missing if there are none."""
        return self._file("duplicates.csv", most_bytes=MAX_TABLE_BYTES)

    @property
    def starting_weights(self) -> Path:
        """The record of the weights files that trials start from; missing if there are none."""
        return self._file("starting_weights.safetensors", most_bytes=MAX_TABLE_BYTES)

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's log folder."""
        return self._folder("tensorboard")

    def tensorboard_of(self, number: int) -> Path:
        """The folder of a trial's TensorBoard logs."""
        return self._folder("tensorboard", self.trial_name(number))

    @property
    def best(self) -> Path:
        """The export of the winner."""
        return self._folder("best")

    def export_of(self, number: int) -> Path:
        """The export of a trial that is not the winner."""
        return self._folder("exports", self.trial_name(number))

    @property
    def any_trial_reported(self) -> bool:
        """Whether Ray has written a result for any trial."""
        return any(self.trials.glob("*/result.json"))

    @property
    def sealed_test(self) -> Path:
        """The results of the openings of the test set."""
        self._file(".sealed_test.json.lock")
        return self._file("sealed_test.json")

    @property
    def test_openings(self) -> Path:
        """The folder of the intents to open the test set (`toprung.analysis.seal.intent`)."""
        return self._folder("test_openings")

    def test_predictions(self, number: int, opening: str | None = None) -> Path:
        """The file with a trial's predictions for the test images, and some of these images.

        With the id of an opening, the file for an opening after that of another model of the trial.
        """
        more = "" if opening is None else f"-{opening}"
        name = f"{self.trial_name(number)}{more}.npz"
        return self._file("test_predictions", name, most_bytes=MAX_PREDICTIONS_BYTES)

    @property
    def report(self) -> Path:
        """The folder of the report and its pictures."""
        return self._folder("report")

    def result_log(self, number: int) -> Path:
        """A trial's reports, one JSON object per line."""
        name = self.trial_name(number)
        return self._file(RAY_EXPERIMENT, name, "result.json", most_bytes=MAX_LOG_BYTES)

    def reports(self, number: int) -> Iterator[dict[str, Any]]:
        """The reports of a trial so far, in order; incomplete lines are left out."""
        with suppress(FileNotFoundError):
            yield from filter(None, map(_plain, read_lines(self.result_log(number))))

    @staticmethod
    def trial_name(number: int) -> str:
        """The name of the folders of a trial."""
        return f"{_TRIAL}{number:05d}"

    @property
    def trials(self) -> Path:
        """The folder of the trials' folders."""
        return self._folder(RAY_EXPERIMENT)

    def trial(self, number: int) -> Path:
        """A trial's folder."""
        return self._folder(RAY_EXPERIMENT, self.trial_name(number))

    def trial_place(self, number: int) -> str:
        """The location of a trial's checkpoint: a path, or a URL."""
        return self.shown(self.trial(number))

    def checkpoint_file(self, number: int) -> Path:
        """The path on this machine of a trial's only checkpoint; the file need not exist."""
        name = self.trial_name(number)
        return self._file(RAY_EXPERIMENT, name, CHECKPOINT_FILE, most_bytes=MAX_CHECKPOINT_BYTES)

    def checkpoints(self) -> set[int]:
        """The numbers of the trials that have a checkpoint.

        Raises:
            StoreError: if the sweep lies in a store that cannot be read.
        """
        store = self.store
        if store is not None:
            places = [Path(name) for name in store.list(RAY_EXPERIMENT)]
        else:
            places = list(self.trials.glob(f"*/{CHECKPOINT_FILE}"))
        names = {place.parent.name for place in places if place.name == CHECKPOINT_FILE}
        numbers = [name.removeprefix(_TRIAL) for name in names if name.startswith(_TRIAL)]
        return {int(number) for number in numbers if number.isdecimal()}

    def checkpoint(self, number: int) -> Path:
        """The folder of a trial's checkpoint, which holds the trial's best weights too.

        Raises:
            SweepFolderError: if the trial has no checkpoint, or it was not kept.
            StoreError: if the sweep lies in a store that cannot be read.
        """
        file = self.checkpoint_file(number)
        self.refresh(file)
        if not file.exists():
            raise SweepFolderError(
                f"trial {number} of {self.address}: has no checkpoint; it was removed, or not kept "
                "(--keep-checkpoints). Its config is still available: toprung best"
            )
        return self.trial(number)

    def remove_checkpoint(self, number: int) -> None:
        """Remove a trial's checkpoint, if it has one.

        Raises:
            StoreError: if the sweep lies in a store that cannot be written.
        """
        store, file = self.store, self.checkpoint_file(number)
        if store is not None:
            store.delete(file.relative_to(self.path).as_posix())
        remove_leftovers(file.parent)
        file.unlink(missing_ok=True)

    def check(self) -> None:
        """Check that each file of the sweep may be opened, so that a command fails early.

        The files of trials and exports are checked when they are used.

        Raises:
            SweepFolderError: if one of the files must not be opened.
        """
        for name, member in vars(SweepFolder).items():
            if isinstance(member, property) and member.fget.__annotations__["return"] is Path:
                getattr(self, name)

    def remove_leftovers(self) -> None:
        """Remove incomplete files of killed processes, except in the trials' own folders.

        The folder of a trial is cleaned up when the trial resumes.
        """
        remove_leftovers(self.path)
        with os.scandir(self.path) as entries:
            folders = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
        for folder in folders:
            remove_leftovers(folder)

    def _file(self, *names: str, most_bytes: int | None = MAX_TEXT_BYTES) -> Path:
        try:
            return inside(self.path, self.path.joinpath(*names), most_bytes=most_bytes)
        except UntrustedFileError as error:
            raise SweepFolderError(str(error)) from None

    def _folder(self, *names: str) -> Path:
        return self._file(*names, most_bytes=None)


@lru_cache(maxsize=16)
def _store(url: str, name: str) -> ObjectStore:
    return ObjectStore(url).within(name)


def _plain(line: bytes) -> dict[str, Any]:
    """The report on a line; empty for a line that a killed process left incomplete."""
    try:
        report = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}
