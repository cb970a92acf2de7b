"""A sweep's folder through a job's log: the job server is the one way out of a cluster.

On the cluster, `python -m toprung.cluster.jobs.send FOLDER` prints the folder as text; the machine
that has asked reads it out of the job's log, sees that it is whole, and writes it down.
"""

import base64
import hashlib
import io
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toprung.analysis.sweep_folder.folder import RAY_EXPERIMENT, SweepFolder, SweepFolderError
from toprung.errors import ToprungError
from toprung.storage.study_copy import copy_study
from toprung.trainables.files.archives import ArchiveError
from toprung.trainables.files.tar_archives import unpack_tar
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.system.terminal import print_only_printable

MOST_BYTES = 256 * 2**20
"""Of a sweep that is sent so; the job server holds it in memory four times over, as measured."""
_BEGIN, _END = "toprung sends a sweep:", "toprung has sent it:"
_NUM_A_LINE = 3 * 2**14


def main() -> None:
    """Print the folder that is named on the command line."""
    print_only_printable()  # of errors; the folder is sent in ASCII
    try:
        archive = pack(Path(sys.argv[1]))
        if len(archive) > MOST_BYTES:
            raise ToprungError(
                f"{sys.argv[1]}: is {len(archive) / 2**20:.0f} MiB without its checkpoints; bring "
                "it by other means, such as scp or rsync"
            )
    except (OSError, ToprungError, SweepFolderError) as error:
        sys.exit(f"error: {error}")
    for line in as_lines(archive):
        print(line)


def pack(folder: Path) -> bytes:
    """What there is of a sweep without its trials' checkpoints, as a tar.gz; it may be running.

    Raises:
        SweepFolderError: if the folder holds no sweep.
        ToprungError: if its study cannot be read.
    """
    folder = folder.absolute()
    sweep = SweepFolder(folder)
    if not sweep.settings.is_file():
        raise SweepFolderError(f"{folder}: there is no sweep here")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path in _to_send(sweep):
            archive.add(path, path.relative_to(folder), recursive=False)
        if sweep.study.exists():
            with tempfile.TemporaryDirectory() as place:
                archive.add(_whole(sweep.study, Path(place)), sweep.study.name)
    return packed.getvalue()


def unpack(archive: bytes, to: Path) -> None:
    """Write a packed sweep into a folder; only plain files, none outside it, and bounded.

    Raises:
        ToprungError: if it holds anything else or too much, or cannot be written.
    """
    try:
        unpack_tar(archive, to)
    except (ArchiveError, OSError) as error:
        raise ToprungError(f"the sweep that was sent cannot be unpacked: {error}") from None


def as_lines(archive: bytes) -> Iterator[str]:
    """The archive as lines of text, with its digest."""
    yield _BEGIN
    for start in range(0, len(archive), _NUM_A_LINE):
        yield base64.b64encode(archive[start : start + _NUM_A_LINE]).decode()
    yield f"{_END} {hashlib.sha256(archive).hexdigest()}"


def from_lines(log: str) -> bytes:
    """The archive that a log holds, whatever stands before and after it.

    Raises:
        ToprungError: if it is not there, or not whole.
    """
    begin, end = log.find(_BEGIN), log.rfind(_END)
    said = log[end + len(_END) :].split()
    if not 0 <= begin < end or not said:
        raise ToprungError("the sweep did not come through the job server: its log is not whole")
    lines = log[begin:end].splitlines()[1:]
    try:
        archive = b"".join(base64.b64decode(line, validate=True) for line in lines)
    except ValueError:
        archive = b""
    if hashlib.sha256(archive).hexdigest() != said[0]:
        raise ToprungError("the sweep did not come through the job server: its digest is another")
    return archive


def _to_send(sweep: SweepFolder) -> list[Path]:
    """The plain files; of trials their reports alone. The study comes apart from them."""
    left_out = {CHECKPOINT_FILE, sweep.lock.name}
    trials = sweep.path / RAY_EXPERIMENT
    return [
        path
        for path in sorted(sweep.path.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.name not in left_out
        and not path.name.startswith((sweep.study.name, "."))
        and (not path.is_relative_to(trials) or path.name == "result.json")
    ]


def _whole(study: Path, place: Path) -> Path:
    """A copy of the study as it is now, with what is still in its write-ahead log."""
    copy = place / study.name
    try:
        copy_study(study, copy)
    except sqlite3.Error as error:
        raise ToprungError(f"{study}: cannot be read: {error}") from None
    return copy


if __name__ == "__main__":
    main()
