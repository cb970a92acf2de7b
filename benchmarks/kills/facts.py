"""What a sweep's folder tells that must not depend on whether it was killed."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy import create_engine, text
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from toprung import events
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.study_place import STUDY_NAME, study_in_file
from toprung.trainables.training.checkpoint import load_checkpoint

_OF_THE_MACHINE = {
    "seconds",
    "best_seconds",
    "trial_id",
    "date",
    "timestamp",
    "time_this_iter_s",
    "time_total_s",
    "time_since_restore",
    "iterations_since_restore",
    "training_iteration",
    "pid",
    "hostname",
    "node_ip",
    "experiment_tag",
    "config",
    "told",  # of a confirmation: what it costs, in seconds
    "traceback",  # a resumed trial comes to its mistake by another line
}


@dataclass(frozen=True)
class Ended:
    """The trials of a killed sweep.

    Attributes:
        trials: those that had ended, by number.
        going_on: the numbers of those that had not, and have a checkpoint.
    """

    trials: Mapping[int, FrozenTrial]
    going_on: tuple[int, ...]


def ended_trials(path: Path) -> Ended:
    """What had ended when a sweep was killed; its own files are not touched."""
    folder = SweepFolder(path)
    with tempfile.TemporaryDirectory() as place:
        for file in path.glob("study.db*"):
            shutil.copy(file, place)
        trials = _trials(Path(place) / folder.study.name)
    return Ended(
        {number: trial for number, trial in trials.items() if trial.state.is_finished()},
        tuple(
            number
            for number, trial in trials.items()
            if not trial.state.is_finished() and folder.checkpoint_file(number).exists()
        ),
    )


def decisions(path: Path) -> list[str]:
    """The lines of the decision log that tell of decisions."""
    lines = SweepFolder(path).decisions.read_text("utf-8").splitlines()
    return [line for line in lines if json.loads(line)["event"] != events.SWEEP]


def facts_of(path: Path) -> dict[str, Any]:
    """All of it, each by a name such as `trial 3`."""
    folder = SweepFolder(path)
    left_over = sorted(
        str(file.relative_to(path))
        for file in path.rglob("*")
        if file.name.endswith((".tmp", "-wal", "-shm", "-journal"))
    )
    record = SweepRecord(path)
    facts: dict[str, Any] = {
        "ended": record.ended,
        "settings": record.description["settings"],
        "log and table agree": _rows(folder) == folder.decisions.read_text("utf-8").splitlines(),
        "best": _best(record),
        "study": {
            name: value
            for name, value in record.study.user_attrs.items()
            if name != attributes.OWNER
        },
        "left over": left_over,
    }
    record.close()
    facts |= {f"decision {n}": line for n, line in enumerate(decisions(path))}
    for number, trial in _trials(folder.study).items():
        facts[f"trial {number}"] = _plain_trial(trial)
        facts[f"checkpoint {number}"] = _checkpoint(folder.checkpoint_file(number))
        facts[f"reports {number}"] = _reports(folder, number)
        facts[f"tensorboard {number}"] = _tensorboard(
            folder.tensorboard / folder.trial_name(number)
        )
    return facts


def differences(facts: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """Where they differ, and how."""
    found = []
    for name in dict.fromkeys([*facts, *others]):
        expected, real = facts.get(name), others.get(name)
        if expected == real:
            continue
        if isinstance(expected, dict) and isinstance(real, dict):
            found += [f"{name}: {difference}" for difference in differences(expected, real)]
        else:
            found.append(f"{name}: {real!r} was to be {expected!r}")
    return found


def leave_out_interrupted_bests(facts: dict[str, Any], expected: Mapping[str, Any]) -> None:
    """Do not count the best figures so far that TensorBoard shows of a trial that was interrupted.

    A driver that ends in order writes them, one that is killed does not.
    """
    for name in facts:
        if name.startswith("tensorboard "):
            more = facts[name] - expected.get(name, set())
            facts[name] -= {scalar for scalar in more if scalar[0].startswith("best/")}


def lost(before: Ended, path: Path) -> list[int]:
    """The numbers of the trials that had ended, and are not as they were."""
    after = _trials(SweepFolder(path).study)
    return [
        number
        for number, trial in before.trials.items()
        if vars(trial) != vars(after.get(number, trial)) or number not in after
    ]


def _trials(study: Path) -> dict[int, FrozenTrial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = study_in_file(study).url
    storage = optuna.storages.RDBStorage(url, skip_compatibility_check=True)
    found = optuna.load_study(study_name=STUDY_NAME, storage=storage).get_trials(deepcopy=False)
    storage.engine.dispose()
    return {trial.number: trial for trial in found}


def _plain_trial(trial: FrozenTrial) -> dict[str, Any]:
    attrs = {n: v for n, v in trial.user_attrs.items() if n != attributes.TRACEBACK}
    return {
        "state": trial.state.name,
        "params": trial.params,
        "values": trial.values,
        "intermediate": trial.intermediate_values,
        "user": {name: _timeless(value) for name, value in attrs.items()},
        "system": trial.system_attrs,
    }


def _timeless(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: v for name, v in value.items() if name not in _OF_THE_MACHINE}


def _best(record: SweepRecord) -> tuple[int, Any]:
    try:
        best = record.best()
    except SweepFolderError as error:
        return -1, str(error)
    return best.number, best.parameters


def _rows(folder: SweepFolder) -> list[str]:
    engine = create_engine(study_in_file(folder.study).url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT event FROM toprung_events ORDER BY number"))
        lines = [json.dumps(json.loads(row[0]), ensure_ascii=False) for row in rows]
    engine.dispose()
    return lines


def _checkpoint(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    saved = load_checkpoint(path)
    return {name: _timeless(saved[name]) for name in ("record", "best_record", "config")}


def _reports(folder: SweepFolder, number: int) -> list[Any]:
    log = folder.result_log(number)
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return [_timeless(json.loads(line)) for line in lines]


def _tensorboard(folder: Path) -> set[tuple[str, int, float]]:
    """The scalars, and the hyperparameters as one without a value."""
    found = set()
    for file in folder.glob("*") if folder.exists() else ():
        for raw in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(raw)
            for value in event.summary.value:
                found.add((value.tag, event.step, value.simple_value))
    return found
