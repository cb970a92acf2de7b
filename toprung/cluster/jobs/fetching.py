"""Bringing a sweep to this machine: from a folder, an object store, or through the job server."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from toprung.analysis.seal.intent import intents_of
from toprung.analysis.seal.ledger import keep_openings
from toprung.analysis.seal.openings import read_openings
from toprung.analysis.sweep_folder.driver import still_runs, this_driver
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.cluster.jobs.options import name_of
from toprung.cluster.jobs.send import from_lines, pack, unpack
from toprung.errors import ToprungError
from toprung.trainables.files.object_store import is_url
from toprung.trainables.files.plain_yaml import read_yaml
from toprung.trainables.files.untrusted_files import check_folder


def fetch(
    sweep: str | Path,
    to: str | Path | None = None,
    address: str | None = None,
    python: str | None = None,
) -> Path:
    """Bring a sweep's study, report, export and reports of trials here, without checkpoints.

    >>> toprung.open(toprung.fetch("digits", address="http://HOST:8265"))  # doctest: +SKIP

    Args:
        sweep: its folder or URL; or, on a cluster, its folder there, its name or its job's id.
        to: the folder that it becomes; the sweep's name in the current folder if not given. If it
            has been fetched to there before, what is new is added.
        address: of the cluster's job server, for a sweep there; if not given, and there is no such
            sweep here, RAY_API_SERVER_ADDRESS or RAY_ADDRESS.
        python: Toprung's Python on the cluster; that of its Ray if not given.

    Returns:
        The folder, as `toprung.open` takes it.

    Raises:
        ValueError: for anything the user can mend, such as a folder that holds something else.
    """
    place = str(sweep)
    is_here = address is None and SweepFolder(Path(place)).settings.is_file()
    if not is_here and not is_url(place):
        from toprung.cluster.jobs.sweep_jobs import Cluster

        cluster = Cluster(address)
        place = cluster.folder(place)
    elif python is not None:
        raise ToprungError(f"python = {python}: goes with a sweep on a cluster; give its --address")
    target = Path(to or name_of(place)).absolute()
    if not is_url(place) and Path(place).absolute() == target:
        raise ToprungError(
            f"{target}: is the sweep's own folder; to copy it give another one: --to DIR"
            + ("; to fetch one from a cluster give its --address" if is_here else "")
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".toprung-fetch-", dir=target.parent) as temporary:
        fetched = Path(temporary) / "sweep"
        if is_url(place):
            from toprung.storage.working_copy import fetch_from_store

            fetch_from_store(place, fetched)
        elif is_here:
            unpack(pack(Path(place)), fetched)
        else:  # even if this machine has a sweep at that path: it may be another one
            log = cluster.output_of(["toprung.cluster.jobs.send", place], python)
            unpack(from_lines(log), fetched)
        _put(fetched, target)
    keep_openings(SweepFolder(target))
    return target


def _put(fetched: Path, target: Path) -> None:
    """Move what was fetched to its place; into a folder of the same sweep, over what is there."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        shutil.copytree(fetched, target, dirs_exist_ok=True)
        return
    check_folder(target)  # nothing is written through a link
    new, old = SweepFolder(fetched), SweepFolder(target)
    if _begun(old) is None or _begun(old) != _begun(new):
        raise ToprungError(f"{target}: holds something else; give another folder: --to DIR")
    here, there = _resumed(old), _resumed(new)
    if there[: len(here)] != here or still_runs(old.lock, this_driver()):
        raise ToprungError(
            f"{target}: the sweep has gone on here, which the one that was fetched does not know; "
            "give another folder: --to DIR"
        )
    opened, intents = read_openings(new.sealed_test), intents_of(new)[0]
    if any(opening not in opened for opening in read_openings(old.sealed_test)) or any(
        intent not in intents for intent in intents_of(old)[0]
    ):
        raise ToprungError(
            f"{target}: its test set was opened here, which the cluster's sweep does not know; "
            "give another folder: --to DIR"
        )
    for journal in ("wal", "shm"):  # of the study that is replaced
        old.study.with_name(f"{old.study.name}-{journal}").unlink(missing_ok=True)
    shutil.copytree(fetched, target, dirs_exist_ok=True)


def _begun(sweep: SweepFolder) -> object:
    """By what two copies of a sweep are known to be of one; None if it is no sweep."""
    said = _said(sweep)
    return (said.get("space_origin"), said.get("started_at")) if said else None


def _resumed(sweep: SweepFolder) -> list[object]:
    """When and how the sweep was gone on with."""
    return list(_said(sweep).get("resumed", []))


def _said(sweep: SweepFolder) -> dict[str, Any]:
    """What `sweep.yaml` says; nothing if it is no sweep."""
    if not sweep.settings.is_file():
        return {}
    said = read_yaml(sweep.settings.read_text("utf-8"))
    return said if isinstance(said, dict) else {}
