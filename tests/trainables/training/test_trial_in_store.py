"""A trial whose checkpoint is kept in an object store."""

import os
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.helpers import tiny_config, tiny_data
from tests.support.s3 import BUCKET, S3Server
from toprung.trainables.config import TrialConfig
from toprung.trainables.files.object_store import ObjectStore, StoreError
from toprung.trainables.results import columns
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.training import trial_in_store
from toprung.trainables.training.trial_in_store import train_stored, when_it_answers

DATA = tiny_data()
CPU = torch.device("cpu")
CONFIG = tiny_config()


@pytest.fixture
def url(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a trial's place; what is on this machine meanwhile is below `tmp_path`."""
    del s3
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return f"s3://{BUCKET}/{tmp_path.name}"


def scratch(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("toprung-scratch-*/*"))


def trained(url: str, config: TrialConfig = CONFIG, most: int | None = None) -> list[Any]:
    reports = train_stored(config, DATA, CPU, url)
    taken = [report | {"seconds": 0.0, "best_seconds": 0.0} for report in islice(reports, most)]
    reports.close()
    return taken


def test_resumes_from_the_store_and_leaves_nothing_on_the_machine(url: str, tmp_path: Path) -> None:
    whole = trained(f"{url}/whole")
    assert trained(f"{url}/cut", most=1) == whole[:1]
    assert scratch(tmp_path) == []
    assert trained(f"{url}/cut") == whole
    assert list(ObjectStore(f"{url}/cut").list()) == [CHECKPOINT_FILE]
    assert scratch(tmp_path) == []


def test_starts_over_if_the_store_has_another_trial_s_checkpoint(url: str) -> None:
    trained(url, CONFIG.model_copy(update={"seed": 1}), most=1)
    reports = trained(url)
    assert "another trial: seed = 0, was 1" in reports[0][columns.RESTARTED]


def test_what_a_killed_process_left_on_the_machine_is_removed(url: str, tmp_path: Path) -> None:
    reports = train_stored(CONFIG, DATA, CPU, url)
    next(reports)
    (in_use,) = scratch(tmp_path)
    left = in_use.with_name("left")
    left.mkdir()
    (left / CHECKPOINT_FILE).write_bytes(b"a checkpoint")
    trained(f"{url}/other", most=1)
    assert scratch(tmp_path) == [in_use]
    reports.close()


def test_takes_nothing_away_where_a_link_leads(url: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "folder"
    mine.mkdir(parents=True)
    (tmp_path / f"toprung-scratch-{os.getuid()}").symlink_to(mine.parent)
    with pytest.raises(PermissionError, match="is not a folder that this user owns"):
        trained(url, most=1)
    assert mine.is_dir()


def test_waits_for_a_store_that_is_away_but_not_for_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial_in_store, "SECONDS_BETWEEN_ATTEMPTS", 0)
    errors = [StoreError("away", may_pass=True), StoreError("away", may_pass=True)]

    def answer() -> str:
        if errors:
            raise errors.pop()
        return "here"

    assert when_it_answers(answer) == "here"
    errors += [StoreError("refused"), StoreError("away", may_pass=True)]
    with pytest.raises(StoreError, match="refused"):
        when_it_answers(answer)
