"""The local working copy of a sweep in an object store.

A driver works in it, and a mirror uploads what the driver writes. Readers get the store's present
state. The copy is in the cache, and can be deleted whenever no driver works in it.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.driver import still_runs, this_driver
from toprung.analysis.sweep_folder.files import is_empty
from toprung.analysis.sweep_folder.folder import LEASE, RAY_EXPERIMENT, SweepFolder
from toprung.analysis.sweep_folder.stored_files import download, each, visible_files
from toprung.errors import ToprungError
from toprung.storage import lease
from toprung.storage.driver_lock import driver_lock
from toprung.storage.retry import RecordLostError
from toprung.trainables.files.object_store import ObjectStore, Stored, StoreError, is_url
from toprung.trainables.results.columns import CHECKPOINT_FILE

_DRIVER = "driver"


def new_copy(store: ObjectStore) -> SweepFolder:
    """The folder of a new sweep's working copy, which is not created yet; see `clear_copy`.

    Raises:
        ToprungError: if the store has anything at this URL, or a driver is about to start a sweep.
    """
    found = store.list()
    if found.keys() - {LEASE}:  # a sweep killed before its start may leave it
        what = "another sweep" if "sweep.yaml" in found else "something else"
        raise ToprungError(f"{store.url}: already contains {what}; choose another --name or --out")
    if found:
        lease.check_free(store)
    return _copy_of(store)


def clear_copy(folder: SweepFolder) -> None:
    """Remove the working copy of an earlier sweep of this name; the caller holds the lease.

    Raises:
        ToprungError: if a driver that has lost its lease still works in the copy.
    """
    with _one_at_a_time(folder):
        if still_runs(folder.lock, this_driver()):
            raise ToprungError(f"{folder.address}: is being run from this machine")
        shutil.rmtree(folder.path, ignore_errors=True)
        _note_driver(folder)


def local_path(place: str | Path) -> Path:
    """A sweep's folder on this machine; for a URL, an up-to-date working copy.

    Raises:
        ToprungError: if there is no sweep at the URL.
        StoreError: if the store cannot be read.
    """
    if not isinstance(place, str) or not is_url(place):
        return Path(place)
    store = ObjectStore(place)
    folder = _copy_of(store)
    with _one_at_a_time(folder):
        if not still_runs(folder.lock, this_driver()) and not _is_ahead(folder, store):
            _refresh(folder, store)
    return folder.path


@contextmanager
def taken_up(place: str | Path, *, trust: bool = False) -> Iterator[SweepRecord]:
    """Open an existing sweep and lock it, so that only this process runs it.

    Args:
        place: the sweep's folder, or its URL in an object store.
        trust: use whatever the sweep's files name outside its folder.

    Raises:
        SweepFolderError, ToprungError: if it is not a sweep, or another process runs it.
        StoreError: if the object store cannot be used.
    """
    if isinstance(place, str) and is_url(place):
        with _taken_up_in_store(ObjectStore(place), trust) as record:
            yield record
        return
    record = SweepRecord(place, trust=trust)
    with driver_lock(record.folder):
        record.folder.remove_leftovers()
        yield record


@contextmanager
def _taken_up_in_store(store: ObjectStore, trust: bool) -> Iterator[SweepRecord]:
    folder = _copy_of(store)
    with ExitStack() as stack:
        with _one_at_a_time(folder):
            _check_is_sweep(store, store.list())
            folder.path.mkdir(exist_ok=True)
            stack.enter_context(driver_lock(folder))
            is_ahead = _is_ahead(folder, store)
            lease.take(store)
            if not is_ahead:
                folder.study.unlink(
                    missing_ok=True
                )  # download it in any case: the driver resumes from it
                _refresh(folder, store)
            _note_driver(folder)
        try:
            record = SweepRecord(folder.path, trust=trust)
            _forget_unknown_trials(record, store)
            yield record
        except RecordLostError:
            raise  # keep the lease: it marks the copy as ahead of the store
        except BaseException:
            with suppress(StoreError):
                lease.release(store)
            raise
        lease.release(store)


def _note_driver(folder: SweepFolder) -> None:
    """Record this process as the driver that works in the copy."""
    _driver_file(folder).write_text(lease.this_id(), "utf-8")


def bring_back(folder: SweepFolder) -> None:
    """Upload the working copy of a sweep without a mirror; does nothing for a local sweep.

    Raises:
        StoreError: if the store cannot be written.
    """
    # Records of test-set openings are written to the store first; the local ones may be older.
    seal_records = [folder.test_openings, folder.test_predictions(0).parent]
    not_ours = {folder.lock, folder.lease, folder.sealed_test}
    not_ours |= {path for part in seal_records for path in visible_files(part)}
    files = sorted(visible_files(folder.path), key=lambda path: path != folder.study)
    for path in files:  # the study first: see `Mirror`
        if path not in not_ours and path.name != CHECKPOINT_FILE:
            folder.publish(path)


def fetch_from_store(url: str, to: Path, *, checkpoints: bool = False) -> None:
    """Download a sweep from an object store into a new local folder.

    Args:
        url: the sweep's URL, such as `s3://bucket/sweeps/digits`.
        to: the folder; if it exists, it must be empty.
        checkpoints: also download the trials' checkpoints.

    Raises:
        ToprungError: if there is no sweep at the URL, or the folder is not writable or not empty.
        StoreError: if the object store cannot be read.
    """
    store = ObjectStore(url)
    found = store.list()
    _check_is_sweep(store, found)
    try:
        to.mkdir(parents=True, exist_ok=True)
        if not is_empty(to):
            raise ToprungError(f"{to}: is not empty; choose a new folder")
        wanted = {name for name in found if checkpoints or Path(name).name != CHECKPOINT_FILE}
        download(store, to, [(name, found[name]) for name in wanted - {LEASE}])
    except NotADirectoryError:
        raise ToprungError(f"{to}: is not a folder") from None


def _copy_of(store: ObjectStore) -> SweepFolder:
    if not store.name:
        raise ToprungError(f"{store.url}: is a bucket; name a sweep in it: {store.url}/NAME")
    return SweepFolder.working_copy(store)


def _one_at_a_time(folder: SweepFolder) -> FileLock:
    return FileLock(folder.path.with_name(f".{folder.path.name}.lock"))


def _driver_file(folder: SweepFolder) -> Path:
    return folder.path.with_name(f".{folder.path.name}.{_DRIVER}")


def _is_ahead(folder: SweepFolder, store: ObjectStore) -> bool:
    """Whether the sweep's last driver ran on this machine, and could not release its lease.

    Then the copy has all that the store has, and also what the driver could no longer upload.
    """
    note = _driver_file(folder)
    if not (note.is_file() and folder.settings.is_file()):
        return False
    return note.read_text("utf-8") == lease.holder(store)


def _refresh(folder: SweepFolder, store: ObjectStore) -> None:
    """Update the copy from the store, except for the trials' checkpoints and curves."""
    found = store.list()
    _check_is_sweep(store, found)
    wanted = {name: stored for name, stored in found.items() if not _is_left_out(name)}
    for path in folder.path.rglob("[!.]*"):
        name = path.relative_to(folder.path).as_posix()
        if path.is_file() and name not in wanted and path != folder.lock and not _is_left_out(name):
            path.unlink()
    download(store, folder.path, wanted.items())


def _is_left_out(name: str) -> bool:
    return Path(name).name == CHECKPOINT_FILE or name.startswith("tensorboard/")


def _check_is_sweep(store: ObjectStore, found: dict[str, Stored]) -> None:
    if "sweep.yaml" not in found:
        why = "no sweep.yaml" if store.has_bucket() else "the bucket does not exist"
        raise ToprungError(f"{store.url}: is not a sweep ({why})")


def _forget_unknown_trials(record: SweepRecord, store: ObjectStore) -> None:
    """Remove the files of trials that are not in the study: new trials will get their numbers."""
    known = {record.folder.trial_name(trial.number) for trial in record.study.trials}
    record.close()
    for kind in (RAY_EXPERIMENT, record.folder.tensorboard.name):
        unknown = [name for name in store.list(kind) if Path(name).parts[1] not in known]
        each(store.delete, unknown)
        for name in unknown:
            (record.folder.path / name).unlink(missing_ok=True)
