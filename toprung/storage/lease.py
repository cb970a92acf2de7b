"""One driver for one sweep in an object store, which knows no locks: a small object says who.

The driver writes it again every few seconds. Who finds another's there that is young stays away. It
is taken, and written again, only if it is still what was found (`ObjectStore.write_if_unchanged`).
"""

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from toprung.analysis.sweep_folder.driver import MAX_LEASE_SECONDS, in_words, this_driver
from toprung.analysis.sweep_folder.folder import LEASE
from toprung.errors import ToprungError
from toprung.storage.retry import RecordLostError
from toprung.trainables.files.object_store import ObjectStore

SECONDS_BETWEEN_REFRESHES = 5.0
_ID = secrets.token_hex(16)
"""Of this process."""
_refreshed = count()


def take(store: ObjectStore) -> None:
    """Be the driver of the sweep in this store; ends with `release`.

    Raises:
        ToprungError: if another driver may still run it, naming it.
        StoreError: if the store cannot be read and written.
    """
    content = check_free(store)
    if not store.write_if_unchanged(LEASE, content, _ours()):
        other = _told(store.read(LEASE))
        raise ToprungError(f"{store.url}: is being run by {in_words(other)}, which began just now")


def check_free(store: ObjectStore) -> bytes | None:
    """See that no other driver runs the sweep in this store, or is about to.

    Returns:
        What the lease holds now; None if there is none.

    Raises:
        ToprungError: if another driver may run it, naming it.
        StoreError: if the store cannot be read and written.
    """
    now = store.check_writable()
    content, found = store.read(LEASE), store.find(LEASE)
    other = _told(content)
    if found is not None and other.get("id") != _ID and not _is_gone(other):
        silent = now - found.written_at
        if silent < MAX_LEASE_SECONDS:
            wait = MAX_LEASE_SECONDS - silent
            raise ToprungError(
                f"{store.url}: is being run by {in_words(other)}, which told so {silent:.0f} s "
                f"ago; if it is gone, try again in {wait:.0f} s"
            )
    return content


def refresh(store: ObjectStore) -> None:
    """Say that this process still runs the sweep.

    Raises:
        RecordLostError: if another does, or has.
        StoreError: if the store cannot be read and written.
    """
    content = store.read(LEASE)
    _check_ours(store, _told(content))
    if not store.write_if_unchanged(LEASE, content, _ours()):
        check(store)


def check(store: ObjectStore) -> None:
    """See that it is still this process that runs the sweep.

    Raises:
        RecordLostError: if another does, or has.
        StoreError: if the store cannot be read.
    """
    _check_ours(store, _told(store.read(LEASE)))


def _check_ours(store: ObjectStore, other: Mapping[str, Any]) -> None:
    if other.get("id") != _ID:
        who = in_words(other) if other else "another process"
        raise RecordLostError(f"{store.url}: {who} has taken the sweep over")


def release(store: ObjectStore) -> None:
    """Say that nobody runs the sweep, if it is this process that has run it."""
    if _told(store.read(LEASE)).get("id") == _ID:
        store.delete(LEASE)


def holder(store: ObjectStore) -> str:
    """The id of the driver that runs the sweep, or did not end in order; empty if there is none."""
    return str(_told(store.read(LEASE)).get("id", ""))


def this_id() -> str:
    """By which this process is known, as a driver."""
    return _ID


def _ours() -> bytes:
    """What says that it is this process; different each time, so that none takes an old one."""
    told = {"id": _ID, "processes": _processes(), "refreshed": next(_refreshed)}
    return json.dumps(this_driver() | told).encode()


def _told(content: bytes | None) -> dict[str, Any]:
    with suppress(ValueError):
        told = json.loads(content or b"{}")
        if isinstance(told, dict):
            return told
    return {}


def _is_gone(other: dict[str, Any]) -> bool:
    """Whether it is known to have ended: it ran on this machine, where no such process is."""
    here = this_driver()["host"], _processes()
    if (other.get("host"), other.get("processes")) != here:
        return False
    try:
        os.kill(int(other["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError):
        return True
    except PermissionError:
        return False
    return False


def _processes() -> str:
    """What tells containers apart that have a host's name in common, and one start from another."""
    places = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    boot, namespace = places
    if not boot.exists():
        return ""
    return f"{boot.read_text().strip()} {namespace.readlink()}"
