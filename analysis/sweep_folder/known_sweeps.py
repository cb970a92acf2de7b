"""The user's own record of sweeps: the places outside its folder that each sweep uses.

<state folder>/sweeps/<id>.jsonl       a JSON object for each place that one sweep uses
<state folder>/working_copies/<key>    the URL whose working copies one local folder holds

A sweep's random id is a key of its `sweep.yaml`, so that its folder can be moved and renamed. The
record is written when the user creates a sweep (`toprung run`) or trusts its folder (`--trust`).
Lines are only appended, so that several processes can write concurrently.
"""

import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.typed import typed
from toprung.analysis.sweep_folder.user_state import state_dir
from toprung.trainables.data.listing.cache import digest_of

_ID = re.compile(r"[0-9a-f]{32}")
_copies_of_this_process: dict[Path, str] = {}
"""So that a sweep in a store can run where the state folder cannot be written."""


@dataclass(frozen=True)
class Place:
    """A place outside a sweep's folder that its files name.

    Attributes:
        kind: the kind of place, as one word.
        value: the exact place; two places are equal if their kinds and values are.
        use: the place and what would be done with it, in words for the user; not compared.
    """

    kind: str
    value: str
    use: str = field(default="", compare=False)


def new_id() -> str:
    """The id of a new sweep."""
    return secrets.token_hex(16)


def is_id(text: str | None) -> bool:
    """Whether a text can be the id of a sweep; an untrusted file may contain anything."""
    return text is not None and _ID.fullmatch(text) is not None


def known_places(sweep_id: str | None) -> frozenset[Place] | None:
    """The places in the user's record of a sweep; None if there is no record of the sweep."""
    if sweep_id is None or not is_id(sweep_id):
        return None
    try:
        lines = _record_of(sweep_id).read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return frozenset(place for line in lines if (place := _place(line)))


def remember(sweep_id: str, places: Iterable[Place]) -> None:
    """Add places that a sweep uses to the user's record.

    Raises:
        OSError: if the state folder cannot be written.
    """
    assert is_id(sweep_id)
    path, known = _record_of(sweep_id), known_places(sweep_id)
    new = dict.fromkeys(place for place in places if place not in (known or ()))
    if not new and known is not None:
        return
    lines = [json.dumps({"kind": place.kind, "value": place.value}) for place in new]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # The first newline ends a line that a killed process left half-written.
        os.write(handle, "\n".join(["", *lines, ""]).encode())
    finally:
        os.close(handle)


def note_working_copies(folder: Path, url: str) -> None:
    """Record that the sweeps in a folder are working copies of those at an object store's URL.

    The caller has the URL from the user. If the state folder cannot be written, the record lasts
    only as long as this process.
    """
    _copies_of_this_process[folder] = url
    path = _copies_in(folder)
    try:
        if path.is_file() and path.read_text("utf-8") == url:
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, url)  # others may be reading it
    except OSError:
        return


def url_of_working_copies(folder: Path) -> str | None:
    """The URL of the object store whose working copies a folder holds, if the user named one."""
    if folder in _copies_of_this_process:
        return _copies_of_this_process[folder]
    try:
        return _copies_in(folder).read_text("utf-8")
    except OSError:
        return None


def _record_of(sweep_id: str) -> Path:
    return state_dir() / "sweeps" / f"{sweep_id}.jsonl"


def _copies_in(folder: Path) -> Path:
    return state_dir() / "working_copies" / digest_of(str(folder))


def _place(line: str) -> Place | None:
    """The place on a line; None for an incomplete line."""
    try:
        stored = typed(dict[str, str], json.loads(line))
        return Place(stored["kind"], stored["value"])
    except (ValueError, KeyError, RecursionError):
        return None
