"""A trial goes on wherever it was killed; its process lives on if it fails."""

import errno
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.helpers import tiny_config, tiny_data
from toprung.trainables.config import TrialConfig
from toprung.trainables.results import columns, failures
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.training.state import read_checkpoint
from toprung.trainables.training.trial_in_folder import report_failure, train_kept

DATA = tiny_data()
CPU = torch.device("cpu")
CONFIG = tiny_config(training__log_steps=True, model__dense_dropout=0.3, training__epochs=5)


def kept(folder: Path, config: TrialConfig = CONFIG) -> Iterator[dict[str, Any]]:
    """What a trial reports, but for its times."""
    for reported in train_kept(config, DATA, CPU, folder):
        yield reported | {"seconds": 0.0, "best_seconds": 0.0}


def again(whole: list[dict[str, Any]], done: int) -> list[dict[str, Any]]:
    """What a trial reports, whole, that is resumed after so many validations."""
    before = [reported | {columns.REPLAYED: True} for reported in whole[: done - 1]]
    return before + whole[done - 1 :]


class TestKeptTrial:
    @pytest.fixture
    def whole(self, tmp_path: Path) -> list[dict[str, Any]]:
        return list(kept(tmp_path / "whole"))

    @pytest.mark.parametrize("done", [1, 2, 5])
    def test_resumes_where_it_was_and_reports_again_all_that_may_not_have_been_received(
        self, done: int, whole: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        folder = tmp_path / "folder"
        assert list(islice(kept(folder), done)) == whole[:done]
        (folder / f".{CHECKPOINT_FILE}.0a1b.tmp").write_bytes(b"half")
        assert list(kept(folder)) == again(whole, done)
        assert [path.name for path in folder.iterdir()] == [CHECKPOINT_FILE]

    def test_reports_all_again_however_often_it_was_resumed(
        self, whole: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        for done in (1, 2, 4):
            list(islice(kept(tmp_path), done))
        assert list(kept(tmp_path)) == again(whole, 4)

    @pytest.mark.parametrize("validations", [1, 3])
    def test_reports_all_again_of_part_epochs_and_of_a_trial_out_of_patience(
        self, validations: int, tmp_path: Path
    ) -> None:
        config = tiny_config(
            training__epochs=9, training__validations_per_epoch=validations,
            training__patience_epochs=1, optimizer__lr=1e-9,
        )  # fmt: skip
        whole = list(kept(tmp_path, config))
        assert whole[-1][columns.FINISHED]
        assert len(whole) < 9 * validations
        assert list(kept(tmp_path, config)) == again(whole, len(whole))

    def test_of_an_older_version_s_checkpoint_reports_the_best_and_the_last(
        self, tmp_path: Path
    ) -> None:
        whole = list(kept(tmp_path))
        saved = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
        older = saved | {"best_record": asdict(columns.record_of(whole[1])), "logged_steps": []}
        del older["history"]
        torch.save(older, tmp_path / CHECKPOINT_FILE)
        reports = list(kept(tmp_path))
        assert [report["validation"] for report in reports] == [2, 5]
        assert [report["best_validation"] for report in reports] == [2, 2]

    def test_has_its_checkpoint_before_it_reports(self, tmp_path: Path) -> None:
        for number, _ in enumerate(kept(tmp_path), start=1):
            assert read_checkpoint(tmp_path)["record"]["validation"] == number

    def test_reports_again_what_it_has_although_nothing_can_be_written(
        self, whole: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path) -> None:
            raise OSError(errno.EROFS, f"cannot write {path}")

        monkeypatch.setattr("toprung.trainables.training.checkpoint.atomic_file", full)
        assert list(kept(tmp_path / "whole")) == again(whole, 5)
        with pytest.raises(OSError, match="cannot write"):
            next(kept(tmp_path / "other"))

    def test_begins_again_if_its_checkpoint_is_damaged_and_says_so(
        self, whole: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        folder = tmp_path / "folder"
        next(kept(folder))
        checkpoint = folder / CHECKPOINT_FILE
        checkpoint.write_bytes(checkpoint.read_bytes()[:3000])
        begun_again = list(kept(folder))
        reasons = [reported.pop(columns.RESTARTED) for reported in begun_again]
        assert begun_again == whole
        assert all("the trial started over" in reason for reason in reasons)
        assert list(kept(folder)) == again(whole, 5)

    def test_begins_again_if_the_checkpoint_is_of_another_config_and_says_so(
        self, whole: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        folder = tmp_path / "folder"
        next(kept(folder, CONFIG.model_copy(update={"seed": 1})))
        begun_again = list(kept(folder))
        reasons = {reported.pop(columns.RESTARTED) for reported in begun_again}
        assert begun_again == whole
        assert reasons == {
            "the checkpoint belongs to another trial: seed = 0, was 1; the trial started over"
        }


def test_where_the_sweep_s_folder_is_not_shared_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not on this machine, and must be shared"):
        next(kept(tmp_path / "sweep" / "trial_00000"))
    assert not (tmp_path / "sweep").exists()


class _State:
    """Refers to itself, as the parts of a trial do to one another."""

    def __init__(self) -> None:
        self.itself = self


def failing(error: Exception, states: list[weakref.ref[_State]]) -> Callable[[], None]:
    def train() -> None:
        state = _State()
        states.append(weakref.ref(state))
        raise error

    return train


class TestFailures:
    @pytest.mark.parametrize(
        ("make", "kind"),
        [
            (lambda: MemoryError(), failures.OUT_OF_MEMORY),
            (lambda: torch.OutOfMemoryError("CUDA out of memory"), failures.GPU_OUT_OF_MEMORY),
            (lambda: ZeroDivisionError("by zero"), failures.CODE_ERROR),
        ],
        ids=["memory", "gpu", "code"],
    )
    def test_when_one_is_reported_the_trial_s_memory_is_free(
        self, make: Callable[[], Exception], kind: str
    ) -> None:
        states: list[weakref.ref[_State]] = []
        reported_failures = []

        def report(failure: dict[str, Any]) -> None:
            (state,) = states
            reported_failures.append((failure, state()))

        # Nobody else may hold the error, and with it the frames of its traceback.
        report_failure(lambda: failing(make(), states)(), report)
        ((failure, left),) = reported_failures
        assert left is None
        assert failure[columns.FAILURE_KIND] == kind
        assert "in train" in failure[columns.TRACEBACK]

    def test_one_that_diverged_has_no_traceback(self, tmp_path: Path) -> None:
        reported_failures: list[dict[str, Any]] = []
        config = tiny_config(optimizer__lr=1e30)
        report_failure(lambda: list(kept(tmp_path, config)).clear(), reported_failures.append)
        ((reason, kind, where),) = (failure.values() for failure in reported_failures)
        assert "NaN or infinite by epoch 1" in reason
        assert (kind, where) == (failures.DIVERGED, None)

    def test_a_gpu_error_is_reported_and_ends_the_process(self) -> None:
        reported_failures: list[dict[str, Any]] = []
        with pytest.raises(torch.AcceleratorError):
            report_failure(
                failing(torch.AcceleratorError("illegal access"), []), reported_failures.append
            )
        assert "illegal access" in reported_failures[0][columns.FAILURE]

    def test_nothing_is_reported_of_a_trial_that_ends_well(self, tmp_path: Path) -> None:
        reported_failures: list[dict[str, Any]] = []
        report_failure(lambda: list(kept(tmp_path)).clear(), reported_failures.append)
        assert not reported_failures
