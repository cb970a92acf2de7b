"""A small sweep whose test set is sealed, and the same after it was resumed with a better trial."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.analysis.test_sweep import CONFIG, Made
from tests.support.helpers import remember_configs
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import prepare

ID = "0123456789abcdef" * 2


class Sealed(NamedTuple):
    """Folders of one sweep: as it ended, and as it ended after one more, better trial."""

    first: Path
    resumed: Path


@pytest.fixture(scope="session")
def seal_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seal-cache")


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, seal_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a state folder of its own: ledgers must not know of other tests."""
    use_records(tmp_path / "state", monkeypatch)
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(seal_cache))


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory, seal_cache: Path) -> Sealed:
    """Not to be changed; see `unopened`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(seal_cache))
        folder = tmp_path_factory.mktemp("sealed")
        longer = CONFIG.training.model_copy(update={"epochs": 4})
        prepared = prepare(CONFIG.data)
        pinned = CONFIG.model_copy(update={"data": prepared.settings})
        made = Made(folder / "sweep", pinned)
        prepared.write_splits(made.folder.splits)
        said = yaml.safe_load(made.folder.settings.read_text())
        said |= {"id": ID, "data": said["data"] | {"num_test": prepared.num_test}}
        made.folder.settings.write_text(yaml.safe_dump(said))
        made.trial(attributes.FINISHED)
        shutil.copytree(made.folder.path, folder / "first" / "sweep")
        made.config = TrialConfig(**{**dict(pinned), "training": longer})
        made.trial(attributes.FINISHED)
        assert Sweep(made.folder.path).best().number == 1
    return Sealed(folder / "first" / "sweep", made.folder.path)


@pytest.fixture
def unopened(sealed: Sealed, tmp_path: Path) -> Sweep:
    """A copy of the sweep as it ended, for one test to open."""
    return Sweep(shutil.copytree(sealed.first, tmp_path / "sweeps" / "sweep"))


def use_records(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, the user's records are in this folder; the sweep is the user's own."""
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    remember_configs(ID, [CONFIG])


def resume(sweep: Path, sealed: Sealed) -> Sweep:
    """Let a sweep be as if it had been resumed, and had found a better trial."""
    shutil.copytree(sealed.resumed, sweep, dirs_exist_ok=True)
    return Sweep(sweep)
