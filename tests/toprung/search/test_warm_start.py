"""A sweep that begins with what another one has found: what it tries first, what it knows."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.results import Results
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.study.trials import read_trials
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.errors import ToprungError
from toprung.search.distributions import can_be
from toprung.search.proposals import Proposals
from toprung.search.samplers import sampler_of
from toprung.search.warm_start import WarmStart, warm_start
from toprung.search_spaces import SearchSpace
from toprung.settings import resolve
from toprung.trainables.config import as_plain

Space = Callable[[optuna.Trial], dict[str, Any]]
DATA = "a"
BEST_LR = 10**-2.5
LR = FloatDistribution(1e-4, 1e-1, log=True)


def space(trial: optuna.Trial) -> dict[str, Any]:
    """The configs that `simulated_sweep` writes, of data that lie elsewhere."""
    name = trial.suggest_categorical("optimizer/name", ["adamw", "sgd"])
    optimizer = {"name": name, "lr": trial.suggest_float("optimizer/lr", 1e-4, 1e-1, log=True)}
    if name == "sgd":
        optimizer["momentum"] = trial.suggest_float("optimizer/momentum", 0.0, 0.9)
    return with_optimizer(optimizer)


def narrow(trial: optuna.Trial) -> dict[str, Any]:
    """No sgd, and small learning rates; but the width is searched."""
    name = trial.suggest_categorical("optimizer/name", ["adamw", "adam"])
    lr = trial.suggest_float("optimizer/lr", 1e-4, 3e-3, log=True)
    filters = trial.suggest_int("model/filters", 2, 8, step=2)
    return with_optimizer({"name": name, "lr": lr}, filters)


def labelled(trial: optuna.Trial) -> dict[str, Any]:
    kind = trial.suggest_categorical("labels/kind", ["a", "b"])
    return space(trial) | {"labels": {"kind": kind}}


def with_optimizer(optimizer: dict[str, Any], filters: int = 4) -> dict[str, Any]:
    return {
        "data": {"image_size": 6, "channels": 1},
        "model": {"num_blocks": 1, "filters": filters, "dense": 8},
        "optimizer": optimizer,
        "training": {"batch_size": 8},
    }


def score(lr: float, name: str) -> float:
    return float(0.9 - 0.2 * (np.log10(lr / BEST_LR)) ** 2 + 0.02 * (name == "adamw"))


def tried(
    lr: float, name: str = "adamw", ended: str = attributes.FINISHED, **settings: Any
) -> Simulated:
    """A trial of `space`; one that was stopped early has three epochs of nine."""
    parameters: dict[str, Any] = {"optimizer/name": name, "optimizer/lr": lr}
    distributions: dict[str, BaseDistribution] = {
        "optimizer/name": CategoricalDistribution(["adamw", "sgd"]),
        "optimizer/lr": LR,
    }
    if name == "sgd":
        parameters["optimizer/momentum"] = 0.5
        distributions["optimizer/momentum"] = FloatDistribution(0.0, 0.9)
    epochs = 9 if ended == attributes.FINISHED else 3
    curve = score(lr, name) * (1 - 0.5 ** np.arange(1, epochs + 1))
    return Simulated(curve.tolist(), ended, parameters, distributions, settings)


TRIALS = [
    tried(0.05, "sgd"),
    tried(0.02),
    tried(2e-4, ended=attributes.STOPPED_EARLY),
    tried(0.004),
    tried(0.004, ended=attributes.FAILED),
    tried(0.002),
    tried(0.002),
    tried(0.003, "sgd"),
    tried(0.006),
    tried(0.03, ended=attributes.RUNNING),
]
RANKED = [3, 5, 8, 7, 1]
"""The best of them, of each config one."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> SweepRecord:
    return simulated_sweep(tmp_path_factory.mktemp("sweeps") / "other", TRIALS).sweep


def begin(
    other: SweepRecord,
    function: Space = space,
    overrides: dict[str, Any] | None = None,
    data: str = DATA,
    **given: Any,
) -> tuple[WarmStart, Proposals, optuna.Study]:
    """A new sweep's warm start, its proposals and its study, in which it has begun."""
    defaults = {"data": "elsewhere", "trials": 20, "max_epochs": 9} | given
    settings = resolve(defaults, {})
    proposals = Proposals(SearchSpace("mine", function, defaults), settings, overrides or {})
    start = warm_start(other, proposals, settings, data)
    study = optuna.create_study(direction="maximize", sampler=sampler_of(settings))
    start.begin(study)
    return start, proposals, study


def told(start: WarmStart) -> list[str]:
    prefix = "warm start from other: "
    assert all(line.startswith(prefix) and "\n" not in line for line in start.messages)
    return [line.removeprefix(prefix) for line in start.messages]


class TestFirst:
    def test_the_best_configs_are_tried_just_as_they_were(self, other: SweepRecord) -> None:
        start, proposals, study = begin(other)
        assert told(start)[0] == "its best configs are tried first: trials 3, 5, 8, 7, 1"
        for number in RANKED:
            config = proposals.config(study.ask())
            was = other.trial(number).config
            assert was is not None
            same = {"model", "optimizer", "training", "augmentation", "loss", "lr_schedule"}
            assert config.model_dump(include=same) == was.model_dump(include=same)
        assert not study.get_trials(states=[TrialState.WAITING])

    def test_the_confirmed_winner_comes_before_the_luckiest(self, tmp_path: Path) -> None:
        runs = [
            replace(TRIALS[number], curve=[value], confirms=number)
            for number, value in ((3, 0.8), (3, 0.7), (8, 0.85), (8, 0.84))
        ]
        confirmed = simulated_sweep(tmp_path / "other", [*TRIALS[:9], *runs]).sweep
        attribute = {"done": True, "told": "", "candidates": [3, 8]}
        confirmed.study.set_user_attr(attributes.CONFIRMATION, attribute)
        start, _, _ = begin(Sweep(confirmed.folder.path))
        assert told(start)[0].endswith("trials 8, 3, 5, 7, 1")
        assert len(start.taken) == 8  # no run that confirms

    def test_no_more_than_the_sweep_has_trials(self, other: SweepRecord) -> None:
        assert told(begin(other, trials=2)[0])[0].endswith("trials 3, 5")

    def test_what_does_not_fit_is_left_to_the_sampler(self, other: SweepRecord) -> None:
        start, proposals, study = begin(other, narrow)
        assert start.enqueued[0] == {"optimizer/name": "adamw", "model/filters": 4}
        assert start.enqueued[1]["optimizer/lr"] == 0.002
        assert start.enqueued[2] == {"optimizer/lr": 0.003, "model/filters": 4}
        assert told(start)[:-1] == [
            "its best configs are tried first: trials 3, 5, 7",  # 8 and 1 fit only as 3 does
            "does not fit: optimizer/lr = 0.004, 0.006, 0.02 (here 0.0001 to 0.003 on a log scale)",
            "does not fit: optimizer/name = sgd (here one of adamw, adam)",
            "does not fit: optimizer/momentum = 0.5 (here absent)",
        ]
        for _ in start.enqueued:
            assert proposals.config(study.ask()).optimizer.lr <= 3e-3  # and Optuna does not warn

    def test_what_the_user_has_fixed_is_left_out(self, other: SweepRecord) -> None:
        start, proposals, study = begin(other, overrides={"optimizer/lr": 0.01})
        assert start.enqueued == (
            {"optimizer/name": "adamw"},
            {"optimizer/name": "sgd", "optimizer/momentum": 0.5},
        )
        rates = "0.004, 0.002, 0.006, 0.003, 0.02"
        assert told(start)[1] == f"does not fit: optimizer/lr = {rates} (here 0.01)"
        assert proposals.config(study.ask()).optimizer.lr == 0.01

    def test_what_its_trials_never_had(self, other: SweepRecord) -> None:
        start, _, _ = begin(other, labelled)
        assert "does not fit: labels/kind = absent (here one of a, b)" in told(start)
        assert start.enqueued[0] == {"optimizer/name": "adamw", "optimizer/lr": 0.004}
        assert not start.taken

    def test_nothing_fits(self, other: SweepRecord) -> None:
        fixed = {"optimizer/name": "adamw", "optimizer/lr": 0.01}
        start, _, study = begin(other, labelled, fixed)
        assert told(start)[0] == "none of its best configs fits, so none is tried first"
        assert not study.trials

    def test_a_few_of_the_other_settings_that_differ_are_told(self, other: SweepRecord) -> None:
        def different(trial: optuna.Trial) -> dict[str, Any]:
            return space(trial) | {
                "augmentation": {"mix": "mixup"},
                "training": {"batch_size": 4, "patience_epochs": 3},
                "loss": {"label_smoothing": 0.1},
                "lr_schedule": {"name": "cosine"},
            }

        line = told(begin(other, different)[0])[1]
        assert line.startswith("does not fit: loss/label_smoothing = 0 (here 0.1), ")
        assert line.endswith(" more")
        assert line.count("(here ") == 4

    def test_the_first_stage_tries_them_whole(self, other: SweepRecord) -> None:
        stages = [
            {"name": "optimizer", "searches": ["optimizer/lr"], "share": 1},
            {"name": "width", "searches": ["optimizer/[nm]*", "model/*"], "share": 1},
        ]
        first = {"optimizer/name": "sgd", "optimizer/momentum": 0.1}
        start, _, _ = begin(other, trials=6, stages=stages, start=first)
        how = "with all parameters, in the first search stage"
        expected = f"its best configs are tried first, {how}: trials 3, 5, 8"
        assert told(start)[0] == expected
        assert start.enqueued[0] == {"optimizer/name": "adamw", "optimizer/lr": 0.004}

    def test_networks_that_cannot_be_here(self, other: SweepRecord) -> None:
        def deep(trial: optuna.Trial) -> dict[str, Any]:
            config = space(trial)
            blocks = 1 if config["optimizer"]["name"] == "sgd" else 9
            return config | {"model": {"num_blocks": blocks, "filters": 4, "dense": 8}}

        start, _, _ = begin(other, deep)
        assert len(start.enqueued) == 5  # the search refuses them and tells the sampler why
        assert told(start)[1].startswith("does not fit: its config is refused here (block 3 of 9")
        assert [trial.params["optimizer/name"] for trial in start.taken] == ["sgd", "sgd"]


class TestSampler:
    def test_is_given_what_ended_and_did_not_fail(self, other: SweepRecord) -> None:
        start, _, study = begin(other)
        assert told(start)[1:] == ["its 8 trials are added to the sampler's history"]
        numbers = [0, 1, 2, 3, 5, 6, 7, 8]
        theirs = other.study.get_trials()
        for number, copy in zip(numbers, study.trials, strict=False):
            assert copy.user_attrs == {"taken_from": {"sweep": "other", "trial": number}}
            for attribute in ("state", "value", "params", "distributions", "intermediate_values"):
                assert getattr(copy, attribute) == getattr(theirs[number], attribute)

    def test_they_are_no_results_of_the_new_sweep(self, other: SweepRecord, tmp_path: Path) -> None:
        start, _, study = begin(other)
        assert not read_trials(study)
        new = simulated_sweep(tmp_path / "new", TRIALS[:3]).sweep
        new.study.add_trials(start.taken)
        results = Results(Sweep(new.folder.path))
        assert [trial.number for trial in results.trials] == [0, 1, 2]
        assert len(results.best_values.trials) == 3
        # Nor does a third sweep take them from this one.
        assert len(begin(results.sweep)[0].taken) == 3

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"data": "b"}, "its trials are not added to the sampler's history: the data differ"),
            ({"sampler": "random"}, "so no trials are added to its history"),
            ({"max_epochs": 5}, "for example: training/epochs = 9 (here 5)"),
            (
                {"metric": "val_loss"},
                "for example: training/metric = val_accuracy (here val_loss)",
            ),
            ({"overrides": {"model/filters": 8}}, "for example: model/filters = 4 (here 8)"),
        ],
    )
    def test_is_not_given_what_is_not_the_same(
        self, other: SweepRecord, changed: dict[str, Any], reason: str
    ) -> None:
        start, _, _ = begin(other, **changed)
        assert not start.taken
        assert len(start.enqueued) == 5
        assert told(start)[-1].endswith(reason)

    def test_is_given_the_part_that_a_narrower_space_can_make(self, other: SweepRecord) -> None:
        start, _, _ = begin(other, narrow)
        assert [trial.user_attrs["taken_from"]["trial"] for trial in start.taken] == [2, 5, 6]
        assert start.taken[0].distributions["optimizer/lr"].high == 3e-3  # type: ignore[attr-defined]
        assert start.taken[0].params["model/filters"] == 4
        assert told(start)[-1].startswith("3 of its 8 trials are added to the sampler's history")

    def test_draws_near_the_other_s_optimum_and_the_same_each_time(self, tmp_path: Path) -> None:
        rates = 10 ** np.random.default_rng(0).uniform(-4, -1, 30)
        known = simulated_sweep(tmp_path / "other", [tried(float(lr)) for lr in rates]).sweep

        def distances(*, warm: bool) -> list[float]:
            _, proposals, study = begin(known)
            if not warm:
                study = optuna.create_study(direction="maximize", sampler=study.sampler)
            drawn = []
            for _ in range(12):
                trial = study.ask()
                drawn.append(proposals.config(trial).optimizer.lr)
                study.tell(trial, state=TrialState.FAIL)  # of which it learns nothing
            return [abs(float(np.log10(lr / BEST_LR))) for lr in drawn]

        drawn = distances(warm=True)
        assert drawn == distances(warm=True)
        assert np.mean(drawn[5:]) < 0.5 * np.mean(distances(warm=False))


class TestRefused:
    def test_that_the_other_s_test_set_was_opened_is_said(self, other: SweepRecord) -> None:
        opened = TestResult(3, "weights", 0.5, 1.5, 16, "data", "today", forced=False)
        other.folder.sealed_test.write_text(json.dumps([asdict(opened)] * 2))
        start = begin(other)[0]
        assert start.as_plain() == {"sweep": other.name, "test_openings": 2}
        assert told(start)[-1].startswith("its test set was opened (2 times): on the same test")

    def test_a_grid(self, other: SweepRecord) -> None:
        with pytest.raises(ToprungError, match="sampler = 'grid': a grid tries every combination"):
            begin(other, sampler="grid")

    def test_a_space_of_one_config(self, other: SweepRecord) -> None:
        config = other.trial(0).config
        assert config is not None
        with pytest.raises(ToprungError, match="needs a search space with a parameter to search"):
            begin(other, lambda _: as_plain(config))


@pytest.mark.parametrize(
    ("value", "distribution", "expected"),
    [
        (0.1, LR, True),
        (0.2, LR, False),
        (0, LR, False),
        (float("nan"), LR, False),
        ("0.1", LR, False),
        (None, LR, False),
        (4, IntDistribution(2, 8, step=2), True),
        (5, IntDistribution(2, 8, step=2), False),
        (4.5, IntDistribution(2, 8), False),
        (0.75, FloatDistribution(0, 1, step=0.25), True),
        (0.7, FloatDistribution(0, 1, step=0.25), False),
        (None, CategoricalDistribution([None, "a"]), True),
        ("b", CategoricalDistribution([None, "a"]), False),
        ([1, 2], CategoricalDistribution([None, "a"]), False),
    ],
)
def test_what_a_parameter_can_be(
    value: Any, distribution: BaseDistribution, expected: bool
) -> None:
    assert can_be(value, distribution) is expected
