"""Staged search: which stage a trial is in, what it fixes, and what is refused."""

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from toprung.search.proposals import Proposals
from toprung.search.staged_search import StagePlan, fixing_sampler
from toprung.search_spaces import SearchSpace, SearchSpaceError
from toprung.settings import SweepSettings, resolve
from toprung.trainables.system.typed_settings import ConfigError

STAGES = [
    {"name": "optimizer", "share": 3, "searches": ["optimizer/*"]},
    {"name": "network", "searches": ["model/filters"]},
]
START = {"model/filters": 8}
NUMBER = FloatDistribution(0, 10)
DISTRIBUTIONS = {"optimizer/name": CategoricalDistribution(["sgd", "adam"])}
PARAMETERS = ["optimizer/lr", "optimizer/name", "model/filters"]


def settings_of(trials: int = 8, **changed: Any) -> SweepSettings:
    return resolve({"trials": trials, "stages": STAGES, "start": START} | changed, {})


def plan(trials: int = 8, parameters: list[str] | None = None, **changed: Any) -> StagePlan:
    distributions = {name: DISTRIBUTIONS.get(name, NUMBER) for name in parameters or PARAMETERS}
    return StagePlan("mine", settings_of(trials, **changed), distributions, [])


def names(stages: StagePlan, trials: int) -> list[str | None]:
    found = [stages.stage_of(number) for number in range(trials)]
    return [stage.name if stage else None for stage in found]


@pytest.mark.parametrize(("trials", "first"), [(2, 1), (4, 3), (8, 5), (9, 6)])
def test_trials_are_shared_out(trials: int, first: int) -> None:
    stages = names(plan(trials), trials + 1)
    assert stages == ["optimizer"] * first + ["network"] * (trials - first) + [None]


def test_a_sweep_without_stages_has_none() -> None:
    assert StagePlan("mine", SweepSettings(), {}, []).stage_of(0) is None


def test_a_stage_fixes_the_parameters_of_the_others() -> None:
    stages = plan()
    first, second = stages.stage_of(0), stages.stage_of(6)
    assert first is not None
    assert second is not None
    assert stages.fixed(first, {}) == {"model/filters": 8}
    best = {"optimizer/lr": 0.1, "optimizer/name": "sgd", "model/filters": 16}
    assert stages.fixed(second, best) == {"optimizer/lr": 0.1, "optimizer/name": "sgd"}


@pytest.mark.parametrize(
    ("parameters", "changed", "message"),
    [
        ([*PARAMETERS, "seed"], {}, "the parameter seed belongs to no stage; it must"),
        (PARAMETERS, {"start": {}}, r"model/filters is searched in a later stage"),
        (PARAMETERS[:2], {}, "stage 'network' has no parameter to search: model/filters"),
        ([*PARAMETERS, "labels/stage"], {}, "labels/stage is the label of the stage"),
        (PARAMETERS, {"start": {**START, "model/filter": 8}}, "has model/filter, which is no"),
        (PARAMETERS, {"start": {"model/filters": 11}}, "model/filters = 11 must be 0 to 10"),
        (
            PARAMETERS,
            {"start": {**START, "optimizer/name": "sdg"}},
            "optimizer/name = 'sdg' must be one of sgd, adam",
        ),
        (
            PARAMETERS,
            {"stages": [*STAGES, {"name": "again", "searches": ["model/*"]}]},
            "model/filters belongs to the stages network, again",
        ),
    ],
)
def test_stages_that_do_not_fit_the_space(
    parameters: list[str], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        plan(8, parameters, **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trials": 1}, "must be at least one for each of the 2 stages"),
        ({"sampler": "grid"}, "sampler = 'grid' tries everything at once"),
        ({"stages": []}, "start has no effect without stages"),
        ({"stages": [STAGES[0], STAGES[0]]}, "two stages have the same name: optimizer, optimizer"),
    ],
)
def test_settings_that_make_no_sense(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(**changed)


def test_fixed_parameters_are_in_the_trial_and_the_others_vary() -> None:
    sampler = fixing_sampler({"x": 0.25}, optuna.samplers.TPESampler(seed=0))
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=15)
    assert {trial.params["x"] for trial in study.trials} == {0.25}
    assert len({trial.params["y"] for trial in study.trials}) == 15


def space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "data": {"source": "digits", "image_size": 8, "channels": 1},
        "model": {"num_blocks": 1, "filters": trial.suggest_int("model/filters", 4, 16)},
        "optimizer": {"name": "adamw", "lr": trial.suggest_float("optimizer/lr", 0.01, 0.1)},
    }


def test_a_trial_s_config_says_its_stage() -> None:
    proposals = Proposals(SearchSpace("mine", space), settings_of(), {})
    trial = optuna.create_study().ask()
    assert proposals.config(trial, "network").labels == {"stage": "network"}


def test_a_pinned_parameter_needs_no_stage_and_is_not_told_as_fixed() -> None:
    stages = [{"name": "network", "searches": ["model/*"]}]
    settings = resolve({"stages": stages, "start": {"optimizer/lr": 0.02}}, {})
    plan = Proposals(SearchSpace("mine", space), settings, {"optimizer/lr": 0.05}).stages
    stage = plan.stage_of(0)
    assert stage is not None
    assert plan.fixed(stage, {}) == {}


def test_the_label_of_the_stage_cannot_be_set() -> None:
    with pytest.raises(SearchSpaceError, match="labels/stage is the label of the stage"):
        Proposals(SearchSpace("mine", space), settings_of(), {"labels/stage": "mine"})
