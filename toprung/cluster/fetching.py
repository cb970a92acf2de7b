"""Bringing a sweep to this machine: from a folder, an object store, or through the job server."""

import shutil
import tempfile
from pathlib import Path

import yaml

from analysis.folder import SweepFolder
from analysis.openings import read_openings
from toprung.cluster.send import from_lines, pack, unpack
from toprung.errors import ToprungError
from trainables.object_store import is_url


def fetch(sweep: str | Path, to: str | Path | None = None, address: str | None = None) -> Path:
    """Bring a sweep's study, report, export and reports of trials here, without checkpoints.

    >>> toprung.open(toprung.fetch("digits", address="http://HOST:8265"))  # doctest: +SKIP

    Args:
        sweep: its folder or URL; or, on a cluster, its folder there, its name or its job's id.
        to: the folder that it becomes; the sweep's name in the current folder if not given. If it
            has been fetched to there before, what is new is added.
        address: of the cluster's job server, for a sweep there; if not given, and there is no such
            sweep here, RAY_API_SERVER_ADDRESS or RAY_ADDRESS.

    Returns:
        The folder, as `toprung.open` takes it.

    Raises:
        ValueError: for anything the user can mend, such as a folder that holds something else.
    """
    place = str(sweep)
    is_here = address is None and SweepFolder(Path(place)).settings.is_file()
    if not is_here and not is_url(place):
        from toprung.cluster.jobs import Cluster

        cluster = Cluster(address)
        place = cluster.folder(place)
    target = Path(to or place.rstrip("/").rpartition("/")[2]).absolute()
    if Path(place).absolute() == target:
        raise ToprungError(
            f"{target}: the sweep is here; to fetch it from a cluster give its --address, to copy "
            "it another folder: --to DIR"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".toprung-fetch-", dir=target.parent) as temporary:
        fetched = Path(temporary) / "sweep"
        if is_url(place):
            from toprung.working_copy import fetch_from_store

            fetch_from_store(place, fetched)
        elif SweepFolder(Path(place)).settings.is_file():
            unpack(pack(Path(place)), fetched)
        else:
            unpack(from_lines(cluster.output_of(["toprung.cluster.send", place])), fetched)
        _put(fetched, target)
    return target


def _put(fetched: Path, target: Path) -> None:
    """Move what was fetched to its place; into a folder of the same sweep, over what is there."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        shutil.copytree(fetched, target, dirs_exist_ok=True)
        return
    new, old = SweepFolder(fetched), SweepFolder(target)
    if _begun(old) is None or _begun(old) != _begun(new):
        raise ToprungError(f"{target}: holds something else; give another folder: --to DIR")
    opened = read_openings(new.sealed_test)
    if any(opening not in opened for opening in read_openings(old.sealed_test)):
        raise ToprungError(
            f"{target}: its test set was opened here, which the cluster's sweep does not know; "
            "give another folder: --to DIR"
        )
    shutil.copytree(fetched, target, dirs_exist_ok=True)


def _begun(sweep: SweepFolder) -> object:
    """By what two copies of a sweep are known to be of one; None if it is no sweep."""
    if not sweep.settings.is_file():
        return None
    said = yaml.safe_load(sweep.settings.read_text("utf-8"))
    return (said.get("space_origin"), said.get("started_at")) if isinstance(said, dict) else None
