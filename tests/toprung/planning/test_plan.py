"""What a sweep refuses before anything is written."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from rich.console import Console

from tests.support.helpers import tiny_config
from toprung.errors import ToprungError
from toprung.planning.data_pins import DataPins
from toprung.planning.plan import SweepPlan, plan_sweep
from toprung.planning.study_location import checked_url
from toprung.trainables.config import dump_config

DIGITS = {"source": "digits", "image_size": 8, "channels": 1}


def space(trial: optuna.Trial) -> dict[str, Any]:
    lr = trial.suggest_float("optimizer/lr", 0.01, 0.1)
    return {"data": DIGITS, "model": {"num_blocks": 1}, "optimizer": {"name": "sgd", "lr": lr}}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "plan-cache"
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(folder))


def plan(out: Path, **changes: Any) -> SweepPlan:
    arguments: dict[str, Any] = {"space": space, "config": None, "given": {}, "overrides": {}}
    arguments |= {"data": None, "out": out, "name": "sweep", "console": Console(quiet=True)}
    return plan_sweep(**(arguments | changes))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "trial.yaml"
    path.write_text(dump_config(tiny_config(data=DIGITS, seed=7)))
    return path


def test_nothing_is_written_by_planning(tmp_path: Path) -> None:
    planned = plan(tmp_path / "out")
    assert planned.data.first.num_test == 359
    assert not (tmp_path / "out").exists()


def test_a_config_is_one_trial_of_its_own_seed_and_length(config: Path, tmp_path: Path) -> None:
    planned = plan(tmp_path, space=None, config=config)
    settings = planned.settings
    assert (settings.trials, settings.max_epochs, settings.seed) == (1, 3, 7)
    assert {example.seed for example in planned.proposals.rehearsal.configs} == {7}


@pytest.mark.parametrize("setting", ["trials", "max_epochs", "seed", "sampler", "metric"])
def test_a_config_takes_no_settings_of_a_search(setting: str, config: Path, tmp_path: Path) -> None:
    with pytest.raises(ToprungError, match=f"{setting}: applies to a search space"):
        plan(tmp_path, space=None, config=config, given={setting: 4})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b", "must be the name of a folder"),
        ("", "must be the name of a folder"),
        (f"hf_{'aB3dE5gH7j' * 3}", "name: looks like a secret"),
        ("n" * 300, "cannot be created: File name too long"),
    ],
)
def test_names_that_cannot_be(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ToprungError, match=message):
        plan(tmp_path, name=name)


def test_the_name_if_none_is_given(tmp_path: Path) -> None:
    assert plan(tmp_path, name=None).folder.path.name.startswith("space-")


def test_a_folder_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    with pytest.raises(ToprungError, match="already contains something else"):
        plan(tmp_path)
    (tmp_path / "sweep" / "sweep.yaml").touch()
    with pytest.raises(ToprungError, match="already contains another sweep"):
        plan(tmp_path)


def test_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    overrides = {"optimizer/lr": np.float64(0.5), "training/batch_size": np.int64(7)}
    (example, *_) = plan(tmp_path, overrides=overrides).proposals.rehearsal.configs
    assert (example.optimizer.lr, example.training.batch_size) == (0.5, 7)


def test_data_given_twice(tmp_path: Path) -> None:
    with pytest.raises(ToprungError, match="data is given twice"):
        plan(tmp_path, data="digits", overrides={"data/source": "digits"})


def test_other_splits_are_refused_every_time() -> None:
    pins = DataPins(Console(quiet=True))
    pins(tiny_config(data=DIGITS))
    other = tiny_config(data={**DIGITS, "split_seed": 5})
    for _ in range(2):
        with pytest.raises(ToprungError, match="must have the same images in the same splits"):
            pins(other)


@pytest.mark.parametrize("url", ["postgresql://u@127.0.0.1:/x", "postgresql://u@h:1x/y", "/x"])
def test_a_storage_that_is_not_a_url(url: str) -> None:
    with pytest.raises(ToprungError, match="must be a URL such as"):
        checked_url(url)
