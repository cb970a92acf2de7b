"""The lease that lets only one driver run a sweep in an object store, which has no locks.

It is a small object that names the driver, who rewrites it every few seconds. A driver that finds
the recent lease of another does not run the sweep. A lease is taken or rewritten only if it has not
changed since it was read (`ObjectStore.write_if_unchanged`).
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
"""The identifier of this process as a driver."""
_refreshed = count()


def take(store: ObjectStore) -> None:
    """Take the lease of the sweep in this store, until `release`.

    Raises:
        ToprungError: if another driver may still run it, naming it.
        StoreError: if the store cannot be read and written.
    """
    content = check_free(store)
    if not store.write_if_unchanged(LEASE, content, _ours()):
        other = _parsed(store.read(LEASE))
        raise ToprungError(
            f"{store.url}: is being run by {in_words(other)}, which has just started"
        )


def check_free(store: ObjectStore) -> bytes | None:
    """Check that no other driver runs the sweep in this store, or is about to.

    Returns:
        The content of the lease; None if there is none.

    Raises:
        ToprungError: if another driver may run it, naming it.
        StoreError: if the store cannot be read and written.
    """
    now = store.check_writable()
    content, found = store.read(LEASE), store.find(LEASE)
    other = _parsed(content)
    if found is not None and other.get("id") != _ID and not _is_gone(other):
        silent = now - found.written_at
        if silent < MAX_LEASE_SECONDS:
            wait = MAX_LEASE_SECONDS - silent
            raise ToprungError(
                f"{store.url}: is being run by {in_words(other)}, which renewed its lease "
                f"{silent:.0f} s ago; if that process no longer exists, try again in {wait:.0f} s"
            )
    return content


def refresh(store: ObjectStore) -> None:
    """Renew the lease of this process.

    Raises:
        RecordLostError: if another process has taken it.
        StoreError: if the store cannot be read and written.
    """
    content = store.read(LEASE)
    _check_ours(store, _parsed(content))
    if not store.write_if_unchanged(LEASE, content, _ours()):
        check(store)


def check(store: ObjectStore) -> None:
    """Check that this process still holds the lease.

    Raises:
        RecordLostError: if another process has taken it.
        StoreError: if the store cannot be read.
    """
    _check_ours(store, _parsed(store.read(LEASE)))


def _check_ours(store: ObjectStore, other: Mapping[str, Any]) -> None:
    if other.get("id") != _ID:
        who = in_words(other) if other else "another process"
        raise RecordLostError(f"{store.url}: {who} has taken over the sweep")


def release(store: ObjectStore) -> None:
    """Delete the lease, if this process holds it."""
    if _parsed(store.read(LEASE)).get("id") == _ID:
        store.delete(LEASE)


def holder(store: ObjectStore) -> str:
    """The id of the driver that holds the lease or has left it behind; empty if there is none."""
    return str(_parsed(store.read(LEASE)).get("id", ""))


def this_id() -> str:
    """The identifier of this process as a driver."""
    return _ID


def _ours() -> bytes:
    """The lease of this process; its content differs each time, so that a renewal is noticed."""
    own = {"id": _ID, "processes": _processes(), "refreshed": next(_refreshed)}
    return json.dumps(this_driver() | own).encode()


def _parsed(content: bytes | None) -> dict[str, Any]:
    with suppress(ValueError):
        lease = json.loads(content or b"{}")
        if isinstance(lease, dict):
            return lease
    return {}


def _is_gone(other: dict[str, Any]) -> bool:
    """Whether the driver has certainly ended: it ran on this machine, and its process is gone."""
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
    """Distinguishes containers that share a host name, and one boot of a machine from another."""
    places = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    boot, namespace = places
    if not boot.exists():
        return ""
    return f"{boot.read_text().strip()} {namespace.readlink()}"
