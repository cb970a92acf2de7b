"""What the searcher tells the study, without Ray running: each way in which a trial can end."""

import copy
import re
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from yaml import safe_load as load_yaml

from tests.support.helpers import tiny_config, tiny_data
from toprung.analysis.study.confirmation import Confirmation as ReadConfirmation
from toprung.analysis.study.confirmation import read_confirmation
from toprung.analysis.study.trials import read_trials
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.cluster.placement.packing import Packing
from toprung.search.confirmation_runs import Confirmation
from toprung.search.proposals import Proposals
from toprung.search.samplers import sampler_of
from toprung.search.study_books import StudyBooks
from toprung.search_spaces import load
from toprung.settings import resolve
from toprung.trainables.results.columns import failure_report, to_report
from toprung.trainables.results.failures import CODE_ERROR, DIVERGED, KINDS
from toprung.trainables.training.fit import fit
from toprung.tune.searcher import StudySearcher

FOLDER_PAGE = Path(__file__).parents[3] / "docs" / "running.md"


def space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "data": {"source": "tiny", "image_size": 6, "channels": 1},
        "model": {"num_blocks": trial.suggest_int("model/num_blocks", 1, 4), "filters": 2},
        "optimizer": {"name": "sgd", "lr": trial.suggest_float("optimizer/lr", 0.01, 0.1)},
    }


class Sweep:
    """A searcher over an in-memory study, and what it says of refused trials."""

    def __init__(self, *, packing: Packing | None = None, **defaults: Any) -> None:
        self.settings = resolve(defaults, {})
        self.packing = packing or Packing(self.settings)
        self.at_once = 100
        sampler = sampler_of(self.settings)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.refused: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.written: list[optuna.trial.FrozenTrial] = []
        self.kept: dict[str, Any] = {}
        self.events: list[Mapping[str, Any]] = []
        self.searcher = self.driver()

    def driver(self) -> StudySearcher:
        """A searcher over the study as it is: the first one, or that of a resumed sweep."""
        proposals = Proposals(load(space), self.settings, {})
        return StudySearcher(
            books=StudyBooks(self.study, self.write),
            proposals=proposals,
            complete=lambda config: config,
            refused=lambda ended, reason: self.refused.append((ended, reason)),
            tell=self.told.append,
            confirmation=Confirmation(
                self.study,
                self.settings,
                proposals,
                keep=lambda event, told: self.write([event], (), told),
                show=self.told.append,
                decided=self.kept.get("confirmation"),
            ),
            at_once=lambda: self.at_once,
            settings=self.settings,
            folder=SweepFolder(Path("sweep")),
            past=self.events,
            packing=self.packing,
        )

    def write(
        self,
        events: Sequence[Mapping[str, Any]],
        trials: Sequence[FrozenTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.events += events
        self.written += copy.deepcopy(trials)
        self.kept |= attributes or {}

    def start(self) -> optuna.trial.FrozenTrial:
        self.study.enqueue_trial({"model/num_blocks": 1})
        self.searcher.suggest("ray")
        return self.study.trials[-1]

    @property
    def last(self) -> optuna.trial.FrozenTrial:
        return self.study.trials[-1]


@pytest.fixture
def sweep() -> Sweep:
    return Sweep()


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    """What Ray passes on of a real trial of three epochs."""
    return [to_report(v, "val_accuracy") for v in fit(tiny_config(), tiny_data())]


def test_a_trial_that_runs_its_course(sweep: Sweep, reports: list[dict[str, Any]]) -> None:
    sweep.start()
    for report in reports:
        sweep.searcher.on_trial_result("ray", report)
    sweep.searcher.on_trial_complete("ray", reports[-1])
    assert [len(written.intermediate_values) for written in sweep.written] == [0, 1, 2, 3, 3]
    assert [event["event"] for event in sweep.events] == [
        "suggested",
        "reported",
        "promoted",
        "reported",
        "reported",
        "promoted",
        "ended",
    ]
    assert sweep.written[-1] == sweep.last
    assert sweep.last.state == TrialState.COMPLETE
    assert sweep.last.value == max(report["val_accuracy"] for report in reports)
    assert list(sweep.last.intermediate_values) == [1, 2, 3]


def test_the_report_that_stopped_a_trial_is_told(
    sweep: Sweep, reports: list[dict[str, Any]]
) -> None:
    sweep.start()
    sweep.searcher.on_trial_result("ray", reports[0])
    sweep.searcher.on_trial_complete("ray", reports[1])
    assert sweep.last.state == TrialState.PRUNED
    assert sweep.last.user_attrs["ended"] == "stopped early"
    assert list(sweep.last.intermediate_values) == [1, 2]


def test_a_failure_after_good_epochs(sweep: Sweep, reports: list[dict[str, Any]]) -> None:
    sweep.start()
    sweep.searcher.on_trial_result("ray", reports[0])
    sweep.searcher.on_trial_complete("ray", failure_report(DIVERGED, "the loss became NaN"))
    assert sweep.last.state == TrialState.PRUNED  # samplers do not look at those that FAIL
    assert sweep.last.constraints == {"stays finite": 1.0}
    assert sweep.last.user_attrs["ended"] == "failed"
    assert sweep.last.user_attrs["failure_kind"] == "diverged"
    assert sweep.last.user_attrs["reason"] == "the loss became NaN"


def test_a_gpu_error_keeps_its_reason_though_the_process_dies(sweep: Sweep) -> None:
    sweep.start()
    sweep.searcher.on_trial_result("ray", failure_report(CODE_ERROR, "GPU error: illegal address"))
    sweep.searcher.on_trial_complete("ray", error=True)
    assert sweep.last.user_attrs["reason"] == "GPU error: illegal address"


def test_no_trial_is_suggested_before_there_is_a_place_for_it(
    sweep: Sweep, reports: list[dict[str, Any]]
) -> None:
    sweep.at_once = 1
    sweep.start()
    assert sweep.searcher.suggest("second") is None
    assert len(sweep.study.trials) == 1
    sweep.searcher.on_trial_complete("ray", reports[-1])
    assert sweep.searcher.suggest("second") is not None
    sweep.at_once = 3  # nodes came
    assert sweep.searcher.suggest("third") is not None
    sweep.at_once = 0  # they all went: those that run wait for places, and no more come
    assert sweep.searcher.suggest("fourth") is None


def test_one_trial_is_suggested_though_no_node_is_left(sweep: Sweep) -> None:
    sweep.at_once = 0
    assert sweep.searcher.suggest("first") is not None


def test_what_a_trial_tells_again_from_an_older_checkpoint_is_dropped(
    sweep: Sweep, reports: list[dict[str, Any]]
) -> None:
    """A process on a node that was cut off may have written its checkpoint over a newer one."""
    sweep.start()
    for report in [*reports[:2], reports[0], *reports[1:]]:
        sweep.searcher.on_trial_result("ray", report)
    sweep.searcher.on_trial_complete("ray", reports[-1])
    told = [event["epoch"] for event in sweep.events if event["event"] == "reported"]
    assert told == [1, 2, 3]
    assert [event["event"] for event in sweep.events].count("ended") == 1
    assert sweep.last.value == max(report["val_accuracy"] for report in reports)


def test_a_process_that_dies(sweep: Sweep) -> None:
    sweep.start()
    sweep.searcher.on_trial_complete("ray", error=True)
    assert sweep.last.state == TrialState.FAIL
    assert "its process died" in sweep.last.user_attrs["reason"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_trial_ends_in_the_state_that_the_docs_say(sweep: Sweep, kind: str) -> None:
    (row,) = re.findall(r"^\| `study.db` \|.*", FOLDER_PAGE.read_text("utf-8"), re.MULTILINE)
    (pruned,) = re.findall(r"so that samplers learn from it: failed as (.+?), as `", row)
    sweep.start()
    sweep.searcher.note_death("ray", kind, "why", "")
    sweep.searcher.on_trial_complete("ray", error=True)
    is_pruned = kind in re.split(", | or ", pruned)
    assert sweep.last.state == (TrialState.PRUNED if is_pruned else TrialState.FAIL)
    assert any(value > 0 for value in sweep.last.constraints.values()) == is_pruned
    assert sweep.last.user_attrs["failure_kind"] == kind


def test_what_the_time_budget_cuts_short_is_never_complete(
    sweep: Sweep, reports: list[dict[str, Any]]
) -> None:
    sweep.start()
    sweep.searcher.on_trial_result("ray", reports[0])
    sweep.searcher.close("time budget")
    assert sweep.last.state == TrialState.PRUNED
    assert sweep.last.user_attrs["ended"] == "time budget"
    assert sweep.last.user_attrs["best"]["epoch"] == 1


def test_cut_short_before_the_first_validation(sweep: Sweep) -> None:
    sweep.start()
    sweep.searcher.close("time budget")
    assert sweep.last.state == TrialState.FAIL
    assert sweep.last.user_attrs["ended"] == "time budget"
    assert "no validation" in sweep.last.user_attrs["reason"]


def test_what_is_interrupted_has_not_ended(sweep: Sweep) -> None:
    sweep.start()
    sweep.searcher.close("interrupted")
    assert sweep.last.state == TrialState.RUNNING
    assert sweep.kept["sweep_ended"] == "interrupted"


def test_the_best_so_far_is_in_the_study_while_a_trial_runs(
    sweep: Sweep, reports: list[dict[str, Any]]
) -> None:
    sweep.start()
    sweep.searcher.on_trial_result("ray", reports[0])
    assert sweep.last.state == TrialState.RUNNING
    assert sweep.last.user_attrs["best"]["val_accuracy"] == reports[0]["val_accuracy"]


def test_impossible_networks_are_refused_until_one_can_exist(sweep: Sweep) -> None:
    for num_blocks in (4, 3, 1):
        sweep.study.enqueue_trial({"model/num_blocks": num_blocks})
    suggested = sweep.searcher.suggest("ray")
    assert isinstance(suggested, dict)
    assert suggested["number"] == 2
    assert suggested["folder"] == "sweep/trials/trial_00002"
    assert [ended for ended, _ in sweep.refused] == ["infeasible", "infeasible"]
    assert [trial.state for trial in sweep.study.trials[:2]] == [TrialState.PRUNED] * 2
    assert all(max(trial.constraints.values()) > 0 for trial in sweep.study.trials[:2])


class TestStages:
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "trials": 4,
        "stages": [
            {"name": "optimizer", "searches": ["optimizer/lr"]},
            {"name": "network", "searches": ["model/num_blocks"]},
        ],
        "start": {"model/num_blocks": 1},
    }

    def test_the_second_stage_waits_for_the_first_and_fixes_what_it_found(
        self, reports: list[dict[str, Any]]
    ) -> None:
        sweep = Sweep(**self.DEFAULTS)
        for name in ("a", "b"):
            assert isinstance(sweep.searcher.suggest(name), dict)
        assert sweep.searcher.suggest("c") is None
        sweep.searcher.on_trial_complete("b", {**reports[-1], "best_val_accuracy": 0.875})
        assert sweep.searcher.suggest("c") is None
        sweep.searcher.on_trial_complete("a", {**reports[-1], "best_val_accuracy": 0.5})
        assert isinstance(sweep.searcher.suggest("c"), dict)
        first, second, *_, third = sweep.study.trials
        assert first.params["model/num_blocks"] == second.params["model/num_blocks"] == 1
        assert first.params["optimizer/lr"] != second.params["optimizer/lr"]
        assert third.params["optimizer/lr"] == second.params["optimizer/lr"]
        config = load_yaml(third.user_attrs["config"])
        assert config["labels"] == {"stage": "network"}
        assert sweep.told[1].startswith("stage network: searches model/num_blocks; fixed: optim")

    def test_a_stage_without_a_result_is_the_last(self) -> None:
        sweep = Sweep(**self.DEFAULTS)
        for name in ("a", "b"):
            sweep.searcher.suggest(name)
            sweep.searcher.on_trial_complete(name, failure_report(CODE_ERROR, "broke"))
        assert sweep.searcher.suggest("c") == "FINISHED"
        assert "no earlier trial succeeded" in sweep.told[-1]


class TestConfirming:
    """Two searched trials of three epochs, one better than the other."""

    def searched(self, reports: list[dict[str, Any]], **settings: Any) -> Sweep:
        sweep = Sweep(trials=2, max_epochs=3, **settings)
        for name, accuracy in (("a", 0.5), ("b", 0.875)):
            sweep.study.enqueue_trial({"model/num_blocks": 1})
            sweep.searcher.suggest(name)
            sweep.searcher.on_trial_complete(name, {**reports[-1], "best_val_accuracy": accuracy})
        return sweep

    def run(
        self, sweep: Sweep, reports: list[dict[str, Any]], accuracies: list[float]
    ) -> list[dict[str, Any]]:
        suggested = []
        for accuracy in accuracies:
            suggestion = sweep.searcher.suggest("again")
            assert isinstance(suggestion, dict)
            suggested.append(suggestion)
            report = {**reports[-1], "best_val_accuracy": accuracy}
            sweep.searcher.on_trial_complete("again", report)
        assert sweep.searcher.suggest("again") == "FINISHED"
        sweep.searcher.close("finished")
        return suggested

    def read(self, sweep: Sweep) -> ReadConfirmation:
        trials = read_trials(sweep.study)
        return read_confirmation(sweep.kept["confirmation"], trials, "val_accuracy")

    def test_the_best_are_trained_again_in_turn_with_fresh_seeds(
        self, reports: list[dict[str, Any]]
    ) -> None:
        sweep = self.searched(reports, confirm=2, seeds=2)
        runs = self.run(sweep, reports, [0.75, 0.5, 0.5, 0.75])
        assert [run["confirms"] for run in runs] == [1, 0, 1, 0]
        configs = [load_yaml(trial.user_attrs["config"]) for trial in sweep.study.trials]
        assert len({config["seed"] for config in configs}) == 6
        assert len({str(config | {"seed": 0}) for config in configs}) == 2
        assert all(trial.state == TrialState.COMPLETE for trial in sweep.study.trials)
        assert sweep.study.trials[2].params == sweep.study.trials[1].params

    def test_the_best_mean_is_chosen_and_its_best_run(self, reports: list[dict[str, Any]]) -> None:
        sweep = self.searched(reports, confirm=2, seeds=2)
        self.run(sweep, reports, [0.5, 0.75, 0.5, 0.625])
        confirmation = self.read(sweep)
        assert confirmation.done
        first, second = confirmation.candidates
        assert (first.mean, first.std, first.optimism) == (0.5, 0.0, 0.375)
        assert all(isnan(end) for end in first.interval)  # without any difference nobody knows
        assert confirmation.chosen == second
        assert second.optimism == -0.1875
        assert second.best.number == 3

    def test_the_search_waits_for_its_last_trial(self, reports: list[dict[str, Any]]) -> None:
        sweep = Sweep(trials=1, confirm=1)
        sweep.start()
        assert sweep.searcher.suggest("other") is None
        sweep.searcher.on_trial_complete("ray", reports[-1])
        assert isinstance(sweep.searcher.suggest("other"), dict)

    def test_a_candidate_with_a_failed_run_is_not_chosen(
        self, reports: list[dict[str, Any]]
    ) -> None:
        sweep = self.searched(reports, confirm=2, seeds=2)
        for report in (
            failure_report(DIVERGED, "the loss became NaN"),
            *({**reports[-1], "best_val_accuracy": 0.25} for _ in range(3)),
        ):
            sweep.searcher.suggest("again")
            sweep.searcher.on_trial_complete("again", report)
        sweep.searcher.suggest("again")
        sweep.searcher.close("finished")
        first, second = self.read(sweep).candidates
        assert first.trial.number == 1
        assert not first.held
        assert self.read(sweep).chosen == second

    def test_without_any_that_held_the_search_decides(self, reports: list[dict[str, Any]]) -> None:
        sweep = self.searched(reports, confirm=1, seeds=2)
        for _ in range(2):
            sweep.searcher.suggest("again")
            sweep.searcher.on_trial_complete(
                "again", failure_report(DIVERGED, "the loss became NaN")
            )
        sweep.searcher.suggest("again")
        sweep.searcher.close("finished")
        assert self.read(sweep).chosen is None
        assert "each candidate had a failed run" in self.read(sweep).summary

    def test_a_search_that_is_cut_off_is_confirmed(self, reports: list[dict[str, Any]]) -> None:
        sweep = Sweep(trials=9, confirm=1, seeds=2)
        sweep.start()
        sweep.searcher.on_trial_result("ray", reports[0])
        assert not sweep.searcher.is_cut_off("ray")
        assert sweep.searcher.cut_off()
        assert sweep.searcher.is_cut_off("ray")
        assert sweep.searcher.suggest("other") is None
        sweep.searcher.on_trial_complete("ray", reports[1])
        assert sweep.last.user_attrs["ended"] == "time budget"
        for name in ("a", "b"):
            assert isinstance(sweep.searcher.suggest(name), dict)
            assert not sweep.searcher.is_cut_off(name)
            sweep.searcher.on_trial_complete(name, reports[-1])
        assert sweep.searcher.suggest("c") == "FINISHED"
        sweep.searcher.close("time budget")
        assert self.read(sweep).chosen is not None

    def test_a_search_that_was_over_is_not_cut_off(self, reports: list[dict[str, Any]]) -> None:
        sweep = self.searched(reports, confirm=1, seeds=2)
        assert not sweep.searcher.cut_off()

    def test_what_was_cut_short_does_not_count(self, reports: list[dict[str, Any]]) -> None:
        sweep = self.searched(reports, confirm=2, seeds=2)
        sweep.searcher.suggest("again")
        sweep.searcher.close("interrupted")
        confirmation = self.read(sweep)
        assert confirmation.chosen is None
        assert "does not count" in confirmation.summary
        assert not any(candidate.held for candidate in confirmation.candidates)

    @pytest.mark.parametrize(("num_trials", "confirms"), [(30, False), (40, True)])
    def test_by_default_it_is_done_if_it_costs_less_than_a_quarter(
        self, reports: list[dict[str, Any]], num_trials: int, confirms: bool
    ) -> None:
        """Nine runs as long as the trials are .3 of thirty trials and .225 of forty."""
        sweep = Sweep(trials=num_trials, max_epochs=3)
        for _ in range(num_trials):
            sweep.study.enqueue_trial({"model/num_blocks": 1})
            sweep.searcher.suggest("ray")
            sweep.searcher.on_trial_complete("ray", {**reports[-1], "seconds": 3.0})
        assert isinstance(sweep.searcher.suggest("ray"), dict) == confirms
        share = "22%" if confirms else "30%"
        assert f"about {share} of " in sweep.kept["confirmation"]["told"]
        assert bool(sweep.told) == confirms

    def test_what_ends_by_itself_costs_no_more_the_next_time(
        self, reports: list[dict[str, Any]]
    ) -> None:
        """As an SVM does after its one epoch, or a trial out of patience."""
        sweep = Sweep(trials=40, max_epochs=100)
        for _ in range(40):
            sweep.study.enqueue_trial({"model/num_blocks": 1})
            sweep.searcher.suggest("ray")
            sweep.searcher.on_trial_complete("ray", {**reports[-1], "seconds": 3.0})
        assert isinstance(sweep.searcher.suggest("ray"), dict)

    def test_it_can_be_turned_off(self, reports: list[dict[str, Any]]) -> None:
        sweep = self.searched(reports, confirm=0)
        assert sweep.searcher.suggest("again") == "FINISHED"
        sweep.searcher.close("finished")
        assert self.read(sweep).summary == "not confirmed: not asked for"


def test_the_sampler_moves_away_from_what_diverges(reports: list[dict[str, Any]]) -> None:
    """Half of the range diverges; if the sampler were not told, nearly all would at last."""
    sweep = Sweep(trials=60, max_epochs=3, confirm=0)
    diverged = []
    for _ in range(60):
        sweep.searcher.suggest("ray")
        lr = sweep.last.params["optimizer/lr"]
        diverged.append(lr > 0.055)
        result = {**reports[-1], "best_val_accuracy": lr}  # the best lies at the edge
        if diverged[-1]:
            result = failure_report(DIVERGED, "the loss became NaN")
        sweep.searcher.on_trial_complete("ray", result)
    assert sum(diverged[:10]) >= 3
    assert sum(diverged[-30:]) <= 15


class TestGivingUp:
    def fail(self, searcher: StudySearcher, kind: str, reason: str, times: int = 1) -> None:
        for _ in range(times):
            assert isinstance(searcher.suggest("ray"), dict)
            searcher.on_trial_complete("ray", failure_report(kind, reason))

    def test_three_that_fail_alike_are_enough(self) -> None:
        sweep = Sweep(trials=20)
        self.fail(sweep.searcher, CODE_ERROR, "KeyError: 1", 2)
        assert sweep.searcher.verdict == ""
        resumed = sweep.driver()
        self.fail(resumed, CODE_ERROR, "KeyError: 2")
        assert resumed.verdict == "the first 3 trials all failed alike (code error): KeyError: 1"

    def test_what_the_sampler_can_move_away_from_is_borne_for_longer(self) -> None:
        sweep = Sweep(trials=20)
        self.fail(sweep.searcher, DIVERGED, "by epoch 1", 9)
        assert sweep.searcher.verdict == ""
        self.fail(sweep.searcher, DIVERGED, "by epoch 2")
        assert sweep.searcher.verdict.startswith("the first 10 trials all failed alike (diverged)")

    def test_failures_that_differ_are_no_reason(self) -> None:
        sweep = Sweep(trials=20)
        self.fail(sweep.searcher, CODE_ERROR, "KeyError: 1", 3)
        self.fail(sweep.searcher, CODE_ERROR, "ValueError: 1")
        assert sweep.searcher.verdict == ""

    def test_not_while_one_may_succeed(self, reports: list[dict[str, Any]]) -> None:
        sweep = Sweep(trials=20)
        sweep.searcher.suggest("good")
        sweep.searcher.on_trial_result("good", reports[0])
        self.fail(sweep.searcher, CODE_ERROR, "KeyError: 1", 3)
        assert sweep.searcher.verdict == ""
        assert sweep.driver().verdict == ""
        sweep.searcher.on_trial_complete("good", reports[-1])
        assert sweep.searcher.verdict == ""

    def test_after_giving_up_it_is_judged_anew(self) -> None:
        sweep = Sweep(trials=20)
        self.fail(sweep.searcher, CODE_ERROR, "KeyError: 1", 3)
        sweep.searcher.close("gave up")
        resumed = sweep.driver()
        assert resumed.verdict == ""
        self.fail(resumed, CODE_ERROR, "KeyError: 1", 2)
        assert sweep.driver().verdict == ""
        self.fail(resumed, CODE_ERROR, "KeyError: 1")
        assert sweep.driver().verdict != ""
