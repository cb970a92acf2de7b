"""An Optuna without what Toprung uses of it is refused in one line, before a sweep begins."""

import inspect
from pathlib import Path

import optuna
import pytest
from optuna.storages._rdb import models

from benchmarks.kills.pretended.sweep import begin
from toprung.errors import ToprungError
from toprung.storage.optuna_internals import check_optuna

ROOT = Path(__file__).parents[3]


def test_the_installed_one_fits() -> None:
    check_optuna()


def test_a_table_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(models, "TrialParamModel")
    with pytest.raises(ToprungError, match=r"models\.TrialParamModel does not exist, so the study"):
        begin(tmp_path / "sweep")


def test_a_column_of_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "TrialValueModel", models.TrialParamModel)
    with pytest.raises(ToprungError, match="TrialValueModel has no column objective, so the study"):
        check_optuna()


@pytest.mark.parametrize(
    ("table", "method"),
    [
        ("TrialValueModel", "value_to_stored_repr"),
        ("TrialIntermediateValueModel", "intermediate_value_to_stored_repr"),
    ],
)
def test_a_method_that_is_gone(table: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(getattr(models, table), method)
    with pytest.raises(ToprungError, match=f"{table} has no method {method}, so the study"):
        check_optuna()


def test_a_trial_that_is_made_of_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna, "Trial", inspect.Signature)
    with pytest.raises(ToprungError, match=r"optuna\.Trial is not made of a study and a trial_id"):
        check_optuna()


def test_no_other_file_reaches_into_optuna() -> None:
    reaching = ("._trial_id", "._storage.", "._study_id", "._contains(", "_rdb")
    found = {
        str(path.relative_to(ROOT))
        for folder in ("toprung", "analysis", "search_spaces", "trainables")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if any(name in line.replace("self._", "") for name in reaching)
    }
    assert found == {"toprung/storage/optuna_internals.py"}
