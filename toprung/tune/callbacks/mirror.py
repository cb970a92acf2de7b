"""Brings what the driver writes of a sweep to its object store, while it runs and at its end."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toprung.analysis.sweep_folder.folder import LEASE, RAY_EXPERIMENT, SweepFolder
from toprung.analysis.sweep_folder.stored_files import each, visible_files
from toprung.errors import ToprungError
from toprung.planning.plan import SweepPlan
from toprung.storage import lease
from toprung.storage.retry import Patience, RecordLostError
from toprung.storage.study_copy import copy_study
from toprung.storage.working_copy import clear_copy
from toprung.trainables.files.object_store import ObjectStore, StoreError
from toprung.tune.callbacks.watcher import WatchedTrial, Watcher

SECONDS_BETWEEN_PASSES = 1.0


@contextmanager
def mirrored(plan: SweepPlan, patience: Patience) -> Iterator["Mirror | None"]:
    """Have a mirror, if the sweep lies in a store; at the end all of it is there.

    Of a new sweep of which nothing came, nothing is left there.

    Raises:
        ToprungError: if another driver runs the sweep.
        RecordLostError: if something was raised meanwhile, and not all could be brought there.
        StoreError: if the store cannot be read and written.
    """
    if plan.store is None:
        yield None
        return
    if plan.said is None:
        _take_new(plan.folder, plan.store)
    else:
        lease.refresh(plan.store)  # it was taken before the working copy was made
    mirror = Mirror(plan.folder, plan.store, patience)
    mirror.start()
    try:
        yield mirror
    except BaseException as error:
        mirror.end()
        if patience.lost is None and plan.said is None and not plan.folder.path.exists():
            _discard_unused(plan.store)
        if patience.lost is not None and not isinstance(error, RecordLostError):
            raise patience.lost from error  # the working copy has what the store has not
        raise
    mirror.end()


def _take_new(folder: SweepFolder, store: ObjectStore) -> None:
    """Be the driver of a sweep that is not there yet.

    Raises:
        ToprungError: if another runs it, or has begun it since the plan was made.
        StoreError: if the store cannot be read and written.
    """
    lease.take(store)
    try:
        if store.list().keys() - {LEASE}:
            raise ToprungError(f"{store.url}: another sweep has begun there; choose another --name")
        clear_copy(folder)
    except BaseException:
        lease.release(store)
        raise


def _discard_unused(store: ObjectStore) -> None:
    with suppress(StoreError):
        if not store.list(RAY_EXPERIMENT):  # else trials ran, whoever has removed the folder here
            store.delete_all()


class Mirror(Watcher):
    """A thread that uploads what has changed in a sweep's working copy, once a second at the most.

    It may be killed between any two objects, and the copy with it. So, in each pass:

    1. First goes the study. No other file there is ever ahead of it: a line of `decisions.jsonl`
       that has been there is in the study there, from which a resumed sweep writes the file anew,
       and every trial that left anything but a checkpoint there is one that the study there knows.
    2. Then go the trials' files, the decisions, and the rest. Where they are behind the study, a
       resumed sweep completes them: running trials report again all that they hold, and
       `toprung.tune.lost_lines` does so for those that have ended.
    3. A checkpoint is removed last, when the study there knows that the trial has ended, and its
       files are there.

    Args:
        folder: the working copy.
        store: where the sweep lies.
        patience: waits where the store is away; what it loses ends the sweep.
    """

    def __init__(self, folder: SweepFolder, store: ObjectStore, patience: Patience) -> None:
        self._folder = folder
        self._store = store
        self._patience = patience
        self._sent: dict[str, tuple[int, int]] = {}
        self._study_sent: list[tuple[int, int]] = []
        self._lock = threading.Lock()
        self._passing = threading.Lock()
        self._changed: set[int] = set()
        self._unwanted: set[int] = set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._all_sent = threading.Event()
        self._keeper = threading.Thread(target=self._keep_lease, name="lease", daemon=True)
        self.is_store_away = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._keeper.start()

    def on_report(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        """Take note of a trial whose files have changed."""
        del report
        with self._lock:
            self._changed.add(trial.number)

    def on_end(self, trial: WatchedTrial, last: Mapping[str, Any] | None) -> None:
        """The same."""
        self.on_report(trial, last or {})

    def remove_checkpoint(self, number: int) -> None:
        """Remove a trial's checkpoint once the store knows all that the study knows now."""
        with self._lock:
            self._unwanted.add(number)

    def bring_now(self) -> None:
        """Bring to the store all that there is now.

        Raises:
            RecordLostError: if it cannot be brought there.
        """
        self._patience(self._pass)

    def end(self) -> None:
        """Bring all that is left to the store, and say there that nobody runs the sweep any more.

        What cannot be brought there is told by `patience.lost`.
        """
        self._ends.set()
        self._thread.join()
        try:
            if self._patience.lost is None:
                with suppress(RecordLostError):
                    self._patience(self._last_pass)
            else:
                with suppress(OSError, RecordLostError):
                    self._last_pass()
        finally:
            self._leave_lease()

    def _last_pass(self) -> None:
        self._pass(everything=True)
        self._leave_lease()
        lease.release(self._store)

    def _keep_lease(self) -> None:
        """Say every few seconds who runs the sweep, however long a pass takes."""
        while not self._all_sent.wait(lease.SECONDS_BETWEEN_REFRESHES):
            try:
                lease.refresh(self._store)
            except RecordLostError as error:
                self._patience.lost = error
                return
            except OSError:  # the next pass meets it too, and waits or gives up
                pass

    def _leave_lease(self) -> None:
        self._all_sent.set()
        self._keeper.join()

    def _run(self) -> None:
        while not self._ends.wait(SECONDS_BETWEEN_PASSES):
            try:
                self._patience(self._pass)
            except RecordLostError:
                return
            except Exception as error:  # nobody else would hear of it
                self._patience.lost = RecordLostError(f"{self._store}: {error!r}")
                raise

    def _pass(self, *, everything: bool = False) -> None:
        """Upload what has changed; of trials, those that were noted, unless it is `everything`."""
        with self._passing:
            self._pass_alone(everything)

    def _pass_alone(self, everything: bool) -> None:
        with self._lock:
            unwanted, unsent = set(self._unwanted), set(self._changed)
            self._changed.clear()
        try:
            self._upload(None if everything else unsent)
            if unwanted:
                lease.check(self._store)
            each(self._folder.remove_checkpoint, unwanted)
        except BaseException as error:
            self.is_store_away = isinstance(error, StoreError)
            with self._lock:
                self._changed |= unsent
            raise
        self.is_store_away = False
        with self._lock:
            self._unwanted -= unwanted

    def _upload(self, trials: set[int] | None) -> None:
        """Bring it there in the order that the class promises."""
        folder = self._folder
        decided = self._read_changed(folder.decisions)  # before the study: that knows it too then
        with self._snapshot() as study:
            if study is not None:
                lease.check(self._store)  # this machine may have slept meanwhile
                self._store.upload(study, folder.study.name)
        if trials is None or trials:
            lease.check(self._store)
        curves, logs, others = self._files(trials)
        for files in (curves, logs, others):
            each(self._send, files)
        if decided is not None:
            self._write(folder.decisions, *decided)
        self._send(folder.settings)  # last: it makes the place a sweep's

    def _files(self, trials: set[int] | None) -> tuple[list[Path], list[Path], list[Path]]:
        """TensorBoard's files of these trials (None: of all), their reports, and the rest.

        In this order: that there are all reports of a trial tells that there is all of it.
        """
        folder = self._folder
        # The record of the test set is in the store before it is here; others may write it too.
        not_now = {folder.lock, folder.lease, folder.sealed_test, *_with_journals(folder.study)}
        not_now |= {folder.decisions, folder.settings}
        found = set(folder.path.glob("[!.]*")) - not_now
        others = [path for path in found if path.is_file() and not path.is_symlink()]
        if trials is None or folder.settings.name not in self._sent:
            others += visible_files(folder.code)
        if trials is None:
            logs = list(folder.trials.glob(f"*/{folder.result_log(0).name}"))
            return visible_files(folder.tensorboard), logs, others
        places = [folder.tensorboard_of(number) for number in trials]
        curves = [path for place in places for path in visible_files(place)]
        return curves, [folder.result_log(number) for number in trials], others

    def _send(self, path: Path) -> None:
        changed = self._read_changed(path)
        if changed is not None:
            self._write(path, *changed)

    def _read_changed(self, path: Path) -> tuple[tuple[int, int], bytes] | None:
        """A file's state and content; None if there is none, or it is there already."""
        with suppress(FileNotFoundError):
            state = _state(path)
            if self._sent.get(self._name(path)) != state:
                return state, path.read_bytes()
        return None

    def _write(self, path: Path, state: tuple[int, int], content: bytes) -> None:
        self._store.write(self._name(path), content)
        self._sent[self._name(path)] = state

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder.path).as_posix()

    @contextmanager
    def _snapshot(self) -> Iterator[Path | None]:
        """The study as it is now, in a file of its own; None if it has not changed since."""
        study = self._folder.study
        states = [_state(path) for path in _with_journals(study) if path.exists()]
        if not states or states == self._study_sent:
            yield None
            return
        home = self._folder.path.parent
        with TemporaryDirectory(prefix=".snapshot-", dir=home, ignore_cleanup_errors=True) as place:
            copy = Path(place) / study.name
            try:
                copy_study(study, copy)
            except sqlite3.Error as error:
                raise StoreError(f"{study}: cannot be copied: {error}", may_pass=True) from None
            yield copy
        self._study_sent = states


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _with_journals(study: Path) -> list[Path]:
    """The study's file, and those that SQLite has beside it while somebody writes."""
    return [study, *(study.with_name(f"{study.name}-{kind}") for kind in ("wal", "shm", "journal"))]
