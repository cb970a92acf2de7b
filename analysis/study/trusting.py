"""Recording that the user trusts a sweep's folder, with everything that it names outside itself."""

from collections.abc import Iterator

from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.known_sweeps import Place, is_id, new_id, remember
from toprung.analysis.sweep_folder.outside import fixed_places, places_of_config
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE, state_dir
from toprung.trainables.files.plain_yaml import write_yaml


def trust_from_now_on(record: SweepRecord) -> str:
    """Add a sweep to the user's record; a sweep of an older version gets an id.

    Returns:
        A line that states why the sweep could not be recorded, so that the user will be asked
        again; empty if it was recorded.
    """
    try:
        if not is_id(record.id):
            _write_id(record)
        assert record.id is not None
        remember(record.id, places_of(record))
    except OSError as error:
        return (
            f"warning: your trust in {record.folder.address} cannot be recorded, so you will be "
            f"asked again: {error} (the records are in {state_dir()}; set {STATE_VARIABLE} to move "
            "them)"
        )
    return ""


def _write_id(record: SweepRecord) -> None:
    with_id = {"id": new_id(), **{k: v for k, v in record.description.items() if k != "id"}}
    record.folder.write(record.folder.settings, write_yaml(with_id))
    record.forget_description()


def places_of(record: SweepRecord) -> Iterator[Place]:
    """Everything that a sweep's files name outside its folder; reads its study."""
    yield from fixed_places(record.folder, record.study_place, record.description)
    for config in record.configs():
        yield from places_of_config(config)
