"""Importance and correlation of parameters, against Optuna and against SciPy."""

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
from scipy.stats import pearsonr, rankdata

from toprung.analysis.findings.importance import importances, parameters_of

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "blocks": IntDistribution(1, 3),
    "fixed": FloatDistribution(0.5, 0.5),
    "optimizer": CategoricalDistribution(["adam", "sgd", None, True]),
    "momentum": FloatDistribution(0, 1),
}


def study_of(num_trials: int, *, constant: bool = False) -> optuna.Study:
    """A study in which the learning rate matters, and momentum only with sgd."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(3)
    study = optuna.create_study(direction="maximize")
    for _ in range(num_trials):
        params: dict[str, Any] = {
            "lr": float(10 ** rng.uniform(-4, -1)),
            "blocks": int(rng.integers(1, 4)),
            "fixed": 0.5,
            "optimizer": [None, "sgd", "adam"][rng.integers(3)],
        }
        if params["optimizer"] == "sgd":
            params["momentum"] = float(rng.uniform())
        value = np.log10(params["lr"]) + (params["optimizer"] == "sgd") + rng.normal(0, 0.1)
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={name: DISTRIBUTIONS[name] for name in params},
                value=1.0 if constant else float(value),
            )
        )
    return study


def test_parameters() -> None:
    lr, blocks, optimizer, momentum = parameters_of(study_of(40))
    assert (lr.name, lr.log, lr.choices, len(lr.values)) == ("lr", True, (), 40)
    assert (blocks.log, blocks.choices) == (False, ())
    assert optimizer.choices == ("adam", "sgd", None)
    assert [optimizer.position(value) for value in optimizer.choices] == [0, 1, 2]
    assert 0 < len(momentum.values) < 40


def test_importance_is_optuna_s() -> None:
    study = study_of(60)
    varying = ["lr", "blocks", "optimizer", "momentum"]
    expected = optuna.importance.get_param_importances(study, params=varying)
    found = importances(study)
    assert {one.parameter.name: one.share for one in found} == expected
    assert found[0].parameter.name == "lr"
    assert [one.share for one in found] == sorted(expected.values(), reverse=True)


def test_correlation_is_that_of_the_ranks() -> None:
    study = study_of(60)
    scores = [trial.value for trial in study.trials]
    by_name = {one.parameter.name: one for one in importances(study)}
    rates = [trial.params["lr"] for trial in study.trials]
    expected = pearsonr(rankdata(rates), rankdata(scores)).statistic
    assert by_name["lr"].correlations[0][1] == pytest.approx(expected)
    has_sgd = [trial.params["optimizer"] == "sgd" for trial in study.trials]
    expected = pearsonr(rankdata(has_sgd), rankdata(scores)).statistic
    assert dict(by_name["optimizer"].correlations)["sgd"] == pytest.approx(expected)
    strongest = by_name["optimizer"].strongest
    assert strongest is not None
    assert strongest[0] == "sgd"


def test_a_conditional_parameter_counts_over_the_trials_that_have_it() -> None:
    study = study_of(60)
    (momentum,) = [one for one in importances(study) if one.parameter.name == "momentum"]
    having = [trial for trial in study.trials if "momentum" in trial.params]
    assert momentum.num_trials == len(having) < 60
    values = [trial.params["momentum"] for trial in having]
    expected = pearsonr(rankdata(values), rankdata([t.value for t in having])).statistic
    assert momentum.correlations[0][1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("num_trials", "constant"), [(0, False), (1, False), (3, False), (30, True)]
)
def test_nothing_is_said_where_nothing_can_be(num_trials: int, constant: bool) -> None:
    found = importances(study_of(num_trials, constant=constant))
    assert all(one.share is None and one.strongest is None for one in found)
