"""Which checkpoints stay when trials end."""

from pathlib import Path

import optuna
import pytest

from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.settings import SweepSettings
from toprung.storage.retry import Patience, RecordLostError
from toprung.tune.callbacks.kept_checkpoints import KeptCheckpoints
from toprung.tune.callbacks.watcher import WatchedTrial

TRIALS = [
    Simulated([0.5] * 9, settings={"optimizer/lr": 0.1}),
    Simulated([0.9] * 9, settings={"optimizer/lr": 0.2}),
    Simulated([0.95] * 2, attributes.FAILED, settings={"optimizer/lr": 0.3}),
    Simulated([0.7] * 3, attributes.STOPPED_EARLY, settings={"optimizer/lr": 0.4}),
    Simulated([0.1] * 3, attributes.RUNNING, settings={"optimizer/lr": 0.5}),
    Simulated([0.2] * 3, attributes.TIME_BUDGET, settings={"optimizer/lr": 0.6}),
    Simulated([0.9] * 9, settings={"optimizer/lr": 0.2}, confirms=1),
    Simulated([0.8] * 9, settings={"optimizer/lr": 0.7}),
]


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder = SweepFolder(tmp_path / "sweep")
    simulated_sweep(folder.path, TRIALS)
    for number in range(len(TRIALS)):
        folder.trial(number).mkdir(parents=True, exist_ok=True)
        folder.checkpoint_file(number).write_bytes(b"checkpoint")
        (folder.trial(number) / ".checkpoint.pt.0a1b.tmp").write_bytes(b"half")
    return folder


def kept(folder: SweepFolder) -> list[int]:
    return [n for n in range(len(TRIALS)) if folder.checkpoint_file(n).exists()]


def study(folder: SweepFolder) -> optuna.Study:
    return Sweep(folder.path).study


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        ({"keep_checkpoints": 1, "confirm": 0}, [1, 4, 5, 6]),
        ({"keep_checkpoints": 2, "confirm": 0}, [1, 4, 5, 6, 7]),
        ({"keep_checkpoints": 1, "confirm": 3}, [1, 3, 4, 5, 6, 7]),
        ({"keep_checkpoints": 9}, [0, 1, 3, 4, 5, 6, 7]),
    ],
)
def test_those_that_run_the_best_and_what_is_confirmed(
    folder: SweepFolder, settings: dict[str, int], numbers: list[int]
) -> None:
    KeptCheckpoints(folder, SweepSettings(**settings), study(folder), Patience(print))
    assert kept(folder) == numbers
    removed = set(range(len(TRIALS))) - set(numbers)
    assert not any(list(folder.trial(number).glob(".checkpoint*")) for number in removed)


def test_a_trial_that_ends_drives_a_worse_one_out(folder: SweepFolder) -> None:
    folder.checkpoint_file(1).rename(folder.path / "later")
    settings = SweepSettings(keep_checkpoints=1, confirm=0)
    keeper = KeptCheckpoints(folder, settings, study(folder), Patience(print))
    assert kept(folder) == [4, 5, 6, 7]
    (folder.path / "later").rename(folder.checkpoint_file(1))
    keeper.on_end(WatchedTrial("1", 1), {})
    assert kept(folder) == [1, 4, 5, 6]


def test_nothing_is_removed_of_what_could_not_be_written(folder: SweepFolder) -> None:
    patience = Patience(print)
    settings = SweepSettings(keep_checkpoints=9)
    keeper = KeptCheckpoints(folder, settings, study(folder), patience)
    before = kept(folder)
    patience.lost = RecordLostError("gone")
    keeper.on_end(WatchedTrial("4", 4), None)
    assert kept(folder) == before
