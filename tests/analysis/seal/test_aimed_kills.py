"""A process that is killed at any durable step of an opening: none is lost, and one is unmarked."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import toprung
from tests.analysis.seal.conftest import Sealed, resume, use_records
from tests.support.s3 import BUCKET, S3Server
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.seal.evidence import read_seal
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import stored_files
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.files.object_store import ObjectStore


class Killed(BaseException):
    """In the place of `kill -9`: nothing that catches an Exception is to see it."""


@contextmanager
def killed_before(due: Callable[[int, str], bool]) -> Iterator[list[str]]:
    """A durable step does not happen, nor any after it; gives those that did.

    Args:
        due: says by its number, from 0, and its name whether it is the one.
    """
    steps: list[str] = []

    def counted(real: Callable[..., Any], place: str) -> Callable[..., Any]:
        def step(self: Any, other: Any, *given: Any) -> Any:
            name = f"{place}{Path(other).name}"
            if due(len(steps), name):
                raise Killed
            steps.append(name)
            return real(self, other, *given)

        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted(Path.replace, ""))
        for verb in ("write", "delete"):
            patch.setattr(ObjectStore, verb, counted(getattr(ObjectStore, verb), "store: "))
        yield steps


def is_step(number: int, now: int, _: str) -> bool:
    return now == number


def kinds(steps: list[str]) -> list[str]:
    """What each step has written, in a word."""
    known = {".images": "images", ".json": "intent", ".npz": "predictions"}
    return ["record" if "sealed" in step else known[Path(step).suffix] for step in steps]


def unmarked(sweep: Sweep) -> list[int]:
    """The trials whose opening is not marked as forced, whether its result is known or not."""
    seal = read_seal(sweep)
    unknown = [one.intent for one in seal.unknown if one.intent]
    known = [result.trial for result in seal.results if not result.forced]
    return known + [intent.trial for intent in unknown if not intent.forced]


def test_in_a_folder(sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = None
    for number in count():
        home = tmp_path / str(number)
        use_records(home / "state", monkeypatch)
        path = shutil.copytree(sealed.first, home / "sweeps" / "sweep")
        with killed_before(partial(is_step, number)) as steps:
            try:
                expected = Sweep(path).test()
                break
            except Killed:
                pass
        told = kinds(steps)
        seal = read_seal(Sweep(path))
        assert len(seal.unknown) == ("intent" in told)
        assert not seal.results

        other = shutil.copytree(home, tmp_path / f"{number} resumed")
        # The same model completes what was interrupted.
        completed = Sweep(path).test()
        assert (completed.trial, completed.forced) == (0, False)
        assert json.loads((path / "sealed_test.json").read_text())[0]["trial"] == 0
        assert completed.earlier is not None
        assert (completed.earlier.openings, completed.num_models) == (0, 1)
        assert unmarked(Sweep(path)) == [0]

        # Or the sweep is resumed, and has another winner then.
        use_records(other / "state", monkeypatch)
        resumed = resume(other / "sweeps" / "sweep", sealed)
        if "intent" in told:
            with pytest.raises(
                SweepFolderError, match=r"result unknown: .* the process was killed"
            ):
                resumed.test()
            second = resumed.test(force=True)
            assert second.forced
            assert second.num_models == 2
        else:
            assert not resumed.test().forced
        assert len(unmarked(resumed)) == 1
    images_and_entry = ["images", "intent"]
    assert kinds(steps) == ["intent", *images_and_entry * 2, "predictions", "record"]
    assert expected is not None


def test_predictions_that_are_whole_are_used_instead_of_the_images(
    unopened: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_before(lambda _, name: "sealed" in name), pytest.raises(Killed):
        unopened.test()
    with monkeypatch.context() as patch:
        patch.setattr("toprung.analysis.seal.sealed_test.open_test_data", _must_not_be_opened)
        patch.setattr(TrainedModel, "predict_all", _must_not_be_opened)
        completed = unopened.test()
    assert completed.opening is not None
    for file in (unopened.folder.sealed_test, *unopened.folder.path.glob("test_*/*")):
        file.unlink()
    with pytest.raises(SweepFolderError, match="the ledger beside the sweep"):
        unopened.test()  # without its intent it is not an interrupted opening


def _must_not_be_opened(*_: object) -> None:
    raise AssertionError("the test set is opened a second time")


@pytest.mark.parametrize(
    ("step", "is_begun"),
    [
        (r"store: \w+\.json", False),  # the intent
        (r"store: .*\.images", True),
        (r"store: .*\.npz", True),
        (r"store: sealed_test\.json", True),
        (r"sealed_test\.json", True),
    ],
)
def test_in_a_store(
    step: str,
    is_begun: bool,
    s3: S3Server,
    sealed: Sealed,
    seal_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"s3://{BUCKET}/{tmp_path.name}/sweep"
    stored_files.publish(ObjectStore(url), sealed.first, sealed.first)
    this = shutil.copytree(seal_cache, tmp_path / "this machine")
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(this))
    here = toprung.open(url)
    with killed_before(lambda _, name: re.fullmatch(step, name) is not None), suppress(Killed):
        here.test()
        raise AssertionError("was not killed")

    # Another machine resumes the sweep.
    other = shutil.copytree(seal_cache, tmp_path / "another machine")
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(other))
    use_records(other / "state", monkeypatch)
    for name in ("study.db", "trials/trial_00001/checkpoint.pt"):
        ObjectStore(url).write(name, (sealed.resumed / name).read_bytes())
    resumed = toprung.open(url)
    if not is_begun:
        assert not resumed.test().forced
        return
    with pytest.raises(SweepFolderError, match=r"the test set was opened on .* for trial 0"):
        resumed.test()
    second = resumed.test(force=True)
    assert (second.forced, second.num_models) == (True, 2)
    assert unmarked(resumed) == [0]
    assert resumed.test(trial=0).forced is False
    assert not read_seal(resumed).unknown
