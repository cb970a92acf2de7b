"""Which problems of an incomplete record are reported when a sweep is resumed."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

import toprung
from benchmarks.kills.pretended.sweep import begin, go_on
from toprung import events
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.study_place import study_in_file
from toprung.cluster.replaced import replaced
from toprung.planning.record_check import problems
from toprung.search import proposals
from toprung.storage.retry import Patience
from toprung.storage.study_database import StudyFile

VALUES = {1: 0.5, 2: 0.25, 3: 0.75, 4: 0.5}


def trial(number: int = 0, values: dict[int, float] = VALUES, **attrs: Any) -> FrozenTrial:
    ended = attrs.get(attributes.ENDED) not in (None, attributes.RUNNING)
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.PRUNED if ended else TrialState.RUNNING,
        value=None,
        datetime_start=datetime(2026, 1, 1),
        datetime_complete=datetime(2026, 1, 1) if ended else None,
        params={},
        distributions={},
        user_attrs=attrs,
        system_attrs={},
        intermediate_values=values,
    )


def reported(number: int, validation: int, value: float) -> dict[str, Any]:
    return {"event": events.REPORTED, "trial": number, "validation": validation, "value": value}


PAST = [reported(0, number, value) for number, value in VALUES.items()]
END = events.ended(0, attributes.FINISHED)


class TestProblems:
    def test_there_are_none_while_a_trial_runs_and_when_it_has_ended_once(self) -> None:
        assert problems([trial()], PAST) == ""
        assert problems([trial(ended=attributes.FINISHED)], [*PAST, END]) == ""

    def test_a_gap_is_named(self) -> None:
        known = {1: 0.5, 4: 0.5}
        assert problems([trial(values=known)], [PAST[0], PAST[3]]) == (
            "trial 0 lacks validations 2, 3 of 4"
        )

    def test_what_is_there_twice_is_named(self) -> None:
        assert problems([trial()], [*PAST, PAST[1]]) == "trial 0 has validation 2 more than once"

    def test_a_study_that_has_other_values_is_named(self) -> None:
        for other in ({**VALUES, 2: 0.3}, {1: 0.5}):
            assert problems([trial(values=other)], PAST) == (
                "trial 0 has other values in the study than in the decisions"
            )

    @pytest.mark.parametrize("ends", [0, 2])
    def test_a_trial_that_has_not_ended_once_is_named(self, ends: int) -> None:
        found = problems([trial(ended=attributes.FINISHED)], [*PAST, *[END] * ends])
        assert found == f"trial 0 has ended {ends} times in the decisions"

    def test_a_trial_that_was_continued_has_another_end(self) -> None:
        again = events.sweep("resumed", taken_up_again=[0])
        assert problems([trial(ended=attributes.RUNNING)], [*PAST, END, again]) == ""
        assert problems([trial(ended=attributes.FINISHED)], [*PAST, END, again, END]) == ""

    def test_trials_of_another_sweep_were_not_decided_here(self) -> None:
        assert problems([trial(taken_from="other", ended=attributes.FINISHED)], []) == ""

    def test_many_make_a_short_line(self) -> None:
        past = [reported(number, 2, 0.5) for number in range(7)]
        found = problems([trial(number, {2: 0.5}) for number in range(7)], past)
        assert found.endswith("trial 4 lacks validation 1 of 2; and 2 more")


def test_are_told_at_each_resume_which_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILLS_SHOW", "1")
    path = tmp_path / "sweep"
    with replaced(proposals, "NUM_REHEARSALS", 10):
        begin(path, trials=1)
        folder = SweepFolder(path)
        place = study_in_file(folder.study)
        file = StudyFile(place, folder.decisions, Patience(print))
        file.write([reported(0, 9, 0.5) | {"epoch": 9.0, "score": 0.5}])
        file.close()
        with folder.decisions.open("a") as log:
            log.write(json.dumps(END) + "\n")
        capsys.readouterr()
        go_on(path)
        first = capsys.readouterr().err
        go_on(path, trials="+1")
        second = capsys.readouterr().err
    assert "1 of its lines are not in the study, and are dropped" in " ".join(first.split())
    for told in (first, second):
        found = "the sweep's record is incomplete, and will remain so: trial 0 lacks validations"
        assert found in " ".join(told.split())
    assert len(toprung.open(path).trials()) == 2
