"""The files of a sweep besides its study: its settings, its search space, its splits."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toprung.analysis.models.versions import software_versions
from toprung.analysis.provenance.splits_file import has_pixel_hashes
from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder_format import FORMAT
from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.planning.kept_code import keep_code
from toprung.planning.own_places import OwnPlaces
from toprung.planning.plan import SweepPlan
from toprung.secrecy.detector import find_in_text
from toprung.trainables.files.plain_yaml import read_yaml, write_yaml
from toprung.trainables.system.secrecy import redacted_command

_KEPT = "a secret, and the sweep's folder keeps the source of its search space: search_space.py"


def write_files(plan: SweepPlan) -> OwnPlaces:
    """Write the files of a new sweep; `sweep.yaml` last, which marks the folder as a sweep.

    Returns:
        The record of what the sweep uses outside its folder. It is written before `sweep.yaml`, so
        that a sweep that is killed in between is trusted when it is resumed.

    Raises:
        ToprungError: if the folder cannot be written.
    """
    folder, data = plan.folder, plan.data.first
    try:
        if plan.space.source_code:
            write_atomically(folder.search_space, plan.space.source_code)
            if secret := find_in_text(plan.space.source_code, ".py"):
                show_line(plan.console, f"warning: {plan.space.name}: {secret}: looks like {_KEPT}")
            keep_code(plan.space.origin, folder)
        data.write_splits(folder.splits)
        if data.duplicates.groups:
            data.duplicates.write(folder.duplicates)
        plan.weights.write(folder)
        text = write_yaml(_description(plan))
        places = OwnPlaces(plan, read_yaml(text))
        write_atomically(folder.settings, text)
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be written: {error.strerror}") from None
    return places


def write_changed_settings(plan: SweepPlan) -> None:
    """Record in `sweep.yaml` that the sweep was resumed, and with which settings."""
    said = dict(plan.said or {})
    resumed = [*said.get("resumed", []), {"at": _now(), "command": redacted_command(sys.argv)}]
    said |= {"id": plan.id, "settings": plan.settings.model_dump(mode="json"), "resumed": resumed}
    said |= _starting_weights(plan)
    plan.weights.write(plan.folder)
    if not has_pixel_hashes(plan.folder.splits):  # started by an older Toprung
        plan.data.first.write_splits(plan.folder.splits)
    write_atomically(plan.folder.settings, write_yaml(said))


def _description(plan: SweepPlan) -> dict[str, Any]:
    data = plan.data.first
    elsewhere = {} if plan.study_place.file else {"storage": plan.study_place.as_plain()}
    return {
        "format": FORMAT,
        "id": plan.id,
        "space": plan.space.name,
        "space_origin": plan.space.origin,
        "started_at": _now(),
        "directory": str(Path.cwd()),
        "command": redacted_command(sys.argv),
        "settings": plan.settings.model_dump(mode="json"),
        "overrides": dict(plan.overrides),
        **({"config": dict(plan.config)} if plan.config else {}),
        **({"warm_start": plan.warm_start.as_plain()} if plan.warm_start else {}),
        **elsewhere,
        **_starting_weights(plan),
        "data": {
            "source": data.settings.source,
            "class_names": list(data.class_names),
            "num_train": data.num_train,
            "num_validation": data.num_validation,
            "num_test": data.num_test,
            "sha256": data.settings.digest,
            "test_sha256": data.test_digest,
            "bad_images": [str(bad) for bad in data.bad_images],
            "duplicates": asdict(data.duplicates.counts()),
        },
        "versions": software_versions(),
    }


def _starting_weights(plan: SweepPlan) -> dict[str, Any]:
    known = plan.weights.as_plain()
    return {"starting_weights": known} if known else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
