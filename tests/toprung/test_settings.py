"""A sweep's own settings: durations, ranges, defaults of the space and what the user gives."""

from typing import Any

import pytest

from toprung.settings import SweepSettings, resolve, seconds
from toprung.trainables.system.typed_settings import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d2h3m4s", 93784),
        ("1.5h", 5400),
        (" 2H ", 7200),
        ("45", 45),
        (45, 45),
        (0.5, 0.5),
    ],
)
def test_durations(text: str | float, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "2x", "2h 3", "two hours", "1h30", "-1h", "h2"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="a duration"):
        seconds(text)


@pytest.mark.parametrize("text", ["0", "0s", -3, "inf", "nan", 0.0])
def test_a_duration_is_above_zero(text: str | float) -> None:
    with pytest.raises(ValueError, match="a duration above zero"):
        seconds(text)


def test_what_is_given_is_laid_over_the_defaults_of_the_space() -> None:
    defaults = {"trials": 24, "max_epochs": 8, "sampler": "random", "data": "digits"}
    settings = resolve(defaults, {"trials": 3, "max_epochs": None, "time_budget": "2m"})
    assert (settings.trials, settings.max_epochs, settings.sampler) == (3, 8, "random")
    assert settings.time_budget == 120
    assert settings.metric == SweepSettings().metric


def test_fewer_epochs_than_the_space_s_grace_bring_the_grace_down() -> None:
    defaults = {"max_epochs": 27, "grace_epochs": 3}
    assert resolve(defaults, {"max_epochs": 2}).grace_epochs == 2
    assert resolve(defaults, {"max_epochs": 9}).grace_epochs == 3


def test_a_grace_that_the_user_gives_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="grace_epochs = 5 must be at most max_epochs = 2"):
        resolve({}, {"max_epochs": 2, "grace_epochs": 5})
    defaults = {"max_epochs": 2, "grace_epochs": 5, "trial_scheduler": "none"}
    assert resolve(defaults, {}).grace_epochs == 5


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ConfigError, match="grace_epochs: has no effect with trial_scheduler"):
        resolve({"trial_scheduler": "none"}, {"grace_epochs": 2})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "trials = 0: must be greater than 0"),
        ({"max_epochs": -1}, "max_epochs = -1: must be greater than 0"),
        ({"reduction_factor": 1}, "reduction_factor = 1: must be greater than or equal to 2"),
        ({"seed": 2**32}, "seed = 4294967296: must be less than"),
        ({"sampler": "tpee"}, "sampler = 'tpee': must be 'tpe', 'random', 'grid' or 'gp'"),
        ({"trial_scheduler": "hyperband"}, "trial_scheduler = 'hyperband': must be 'asha'"),
        ({"metric": "accuracy"}, "metric = 'accuracy': must be 'val_accuracy', 'val_mean"),
        ({"time_budget": "soon"}, "time_budget = 'soon': must be a duration such as 90s"),
        ({"time_budget": "0s"}, "time_budget = '0s': must be a duration above zero"),
        ({"gpus_per_trial": -1}, "gpus_per_trial = -1: must be greater than or equal to 0"),
        ({"gpus_per_trial": 0.00001}, "= 1e-05: a fraction must be at least 0.0001"),
        ({"cpus_per_trial": 0}, "cpus_per_trial = 0: must be greater than 0"),
        ({"trails": 3}, "trails: there is no such setting; nearest: trials"),
    ],
)
def test_wrong_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve({}, given)
    assert str(error.value).startswith("the sweep has 1 mistake: ")
    assert message in str(error.value)


def test_several_mistakes_at_once() -> None:
    with pytest.raises(ConfigError, match="the sweep has 3 mistakes"):
        resolve({"max_epoch": 3}, {"trials": 0, "concurrency": 0})


def test_a_space_s_defaults_may_be_wrong_too() -> None:
    with pytest.raises(ConfigError, match="max_epochs = 'many'"):
        resolve({"max_epochs": "many", "grace_epochs": 1}, {})
    with pytest.raises(ConfigError, match="grace_epochs = 'few'"):
        resolve({"grace_epochs": "few"}, {"max_epochs": 3})
