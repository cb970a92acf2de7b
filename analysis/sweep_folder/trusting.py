"""Recording that the user trusts a sweep's folder, with all that it names outside itself."""

from typing import TYPE_CHECKING

from toprung.analysis.sweep_folder.known_sweeps import is_id, new_id, remember
from toprung.analysis.sweep_folder.outside import places_of
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE, state_dir
from toprung.trainables.files.plain_yaml import write_yaml

if TYPE_CHECKING:
    from toprung.analysis.study.sweep_record import SweepRecord


def trust_from_now_on(record: "SweepRecord") -> str:
    """Put a sweep into the user's record; one of an older version gets an id.

    Returns:
        In a line why it could not be recorded, so that it will be asked for again; empty if it was.
    """
    try:
        if not is_id(record.id):
            _write_id(record)
        assert record.id is not None
        remember(record.id, places_of(record))
    except OSError as error:
        return (
            f"warning: that you trust {record.folder.address} cannot be recorded, and will be "
            f"asked again: {error} (the records lie in {state_dir()}; {STATE_VARIABLE} moves them)"
        )
    return ""


def _write_id(record: "SweepRecord") -> None:
    said = {"id": new_id(), **{k: v for k, v in record.description.items() if k != "id"}}
    record.folder.write(record.folder.settings, write_yaml(said))
    record.forget_description()
