"""The study's file says what the study in memory says, as Optuna reads it."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from toprung.analysis.sweep_folder.study_place import STUDY_NAME, study_in_file
from toprung.storage.retry import Patience
from toprung.storage.study_database import Event, StudyFile


def read(url: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name=STUDY_NAME, storage=url).trials


class Sweep:
    """A study in memory with its file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "study.db"
        self.place = study_in_file(self.path)
        self.url = self.place.url
        self.log = folder / "decisions.jsonl"
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        self.file = self.open(StudyDirection.MINIMIZE)

    def open(self, direction: StudyDirection | None = None) -> StudyFile:
        return StudyFile(self.place, self.log, Patience(print), direction)

    def write(self, *events: Event, attributes: Mapping[str, Any] | None = None) -> None:
        """Write all trials; what has not changed must make no difference."""
        running = [t for t in self.study.trials if t.number not in self.ended]
        self.file.write(events or [{"event": "test"}], running, attributes)
        self.ended |= {t.number for t in running if t.state.is_finished()}

    ended: frozenset[int] = frozenset()


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def same(first: FrozenTrial, second: FrozenTrial) -> bool:
    """All but the id, which is the storage's own."""
    return vars(first) | {"_trial_id": 0} == vars(second) | {"_trial_id": 0}


def test_trials_are_as_in_memory_at_every_moment(sweep: Sweep) -> None:
    first, second, third = (sweep.study.ask() for _ in range(3))
    first.suggest_float("optimizer/lr", 1e-4, 1, log=True)
    first.suggest_categorical("model/filters", [8, 16, None, "all"])
    first.set_user_attr("config", "a: 1\n")
    second.set_constraint("network can exist", 1.0)
    second.suggest_int("model/num_blocks", 1, 4)
    moments: list[Callable[[], object]] = [
        partial(first.report, 0.5, 1),
        partial(first.report, math.inf, 2),
        partial(first.set_user_attr, "best", {"epoch": 1.0}),
        partial(first.set_user_attr, "best", {"epoch": 2.0}),
        partial(sweep.study.tell, first, 0.25),
        partial(sweep.study.tell, second, state=TrialState.PRUNED),
        partial(sweep.study.tell, third, state=TrialState.FAIL),
    ]
    for happens in moments:
        happens()
        sweep.write()
        in_file = read(sweep.url)
        assert len(in_file) == 3
        assert all(map(same, in_file, sweep.study.trials))


def test_one_plain_file_is_left_and_can_be_read_where_nothing_is_writable(sweep: Sweep) -> None:
    sweep.study.tell(sweep.study.ask(), 0.5)
    sweep.write(attributes={"sweep_ended": "finished"})
    sweep.file.close()
    assert {path.name for path in sweep.path.parent.iterdir()} == {"study.db", "decisions.jsonl"}
    copy = f"sqlite:///file:{sweep.path}?mode=ro&immutable=1&uri=true"
    assert [trial.value for trial in read(copy)] == [0.5]


KILLED = """
import os, sys
import optuna
from optuna.study import StudyDirection
from pathlib import Path
from toprung.analysis.sweep_folder.study_place import study_in_file
from toprung.storage.retry import Patience
from toprung.storage.study_database import StudyFile

study = optuna.create_study(direction="maximize")
folder = Path(sys.argv[1])
place, log = study_in_file(folder / "study.db"), folder / "decisions.jsonl"
file = StudyFile(place, log, Patience(print), StudyDirection.MAXIMIZE)
trial = study.ask()
trial.suggest_float("lr", 0, 1)
trial.report(0.5, 1)
file.write([{"event": "test"}], study.trials)
os.kill(os.getpid(), 9)
"""


def test_what_was_written_before_a_kill_is_there(tmp_path: Path) -> None:
    url = study_in_file(tmp_path / "study.db").url
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    (trial,) = optuna.load_study(study_name=STUDY_NAME, storage=url).trials
    assert trial.state == TrialState.RUNNING
    assert trial.intermediate_values == {1: 0.5}
    assert set(trial.params) == {"lr"}
