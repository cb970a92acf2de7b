"""What a sweep asks for, held against what there is."""

import pytest

from toprung.cluster.placement.resources import settle, without_gpus
from toprung.errors import ToprungError
from toprung.settings import SweepSettings
from toprung.trainables.system.typed_settings import ConfigError, parse

LAPTOP = {"CPU": 2.0, "GPU": 0.0}
SERVER = {"CPU": 16.0, "GPU": 4.0}


def settled(machines: list[dict[str, float]], **given: float) -> tuple[float, int | None]:
    settings = settle(parse(SweepSettings, {"trials": 100, **given}, "the sweep"), machines)
    return settings.each_trial["GPU"], settings.concurrency


def test_as_many_trials_as_fit_and_a_gpu_each_where_there_is_one() -> None:
    assert settled([LAPTOP]) == (0, 2)
    assert settled([SERVER]) == (1, 4)
    assert settled([SERVER], gpus_per_trial=0) == (0, 16)
    assert settled([SERVER, SERVER], cpus_per_trial=8) == (1, 4)
    assert settled([LAPTOP], trials=1) == (0, 1)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.5])
def test_fractions_of_a_gpu_add_up_to_it(share: float) -> None:
    one = {"CPU": 64.0, "GPU": 1.0}
    assert settled([one], gpus_per_trial=share) == (share, int(round(1 / share, 6)))


@pytest.mark.parametrize(
    ("machines", "given", "message"),
    [
        ([LAPTOP], {"cpus_per_trial": 8}, "cpus_per_trial = 8: there are 2 CPUs"),
        ([LAPTOP], {"gpus_per_trial": 1}, "gpus_per_trial = 1: there are 0 GPUs"),
        ([LAPTOP] * 4, {"cpus_per_trial": 4}, "there are 2 CPUs on one machine"),
        (
            [LAPTOP, {"CPU": 1.0, "GPU": 1.0}],
            {"cpus_per_trial": 2, "gpus_per_trial": 1},
            "together",
        ),
        ([LAPTOP], {"concurrency": 3}, "there are CPUs and GPUs for 2 trials"),
    ],
)
def test_more_than_there_is(
    machines: list[dict[str, float]], given: dict[str, float], message: str
) -> None:
    with pytest.raises(ToprungError, match=message):
        settled(machines, **given)


def test_a_trial_does_not_share_two_gpus() -> None:
    assert settled([SERVER], gpus_per_trial=0.6) == (0.6, 4)


def test_on_a_cluster_the_concurrency_stays_open_unless_it_was_asked_for() -> None:
    def concurrency(**given: int) -> int | None:
        settings = parse(SweepSettings, {"trials": 100, **given}, "the sweep")
        return settle(settings, [LAPTOP] * 3, elastic=True).concurrency

    assert concurrency() is None
    assert concurrency(concurrency=2) == 2


def test_an_autoscaler_may_bring_what_no_machine_has_now() -> None:
    asked = parse(SweepSettings, {"gpus_per_trial": 1, "cpus_per_trial": 4}, "the sweep")
    given = settle(asked, [LAPTOP], elastic=True, grows=True)
    assert (given.each_trial, given.concurrency) == ({"CPU": 4, "GPU": 1}, None)


@pytest.mark.parametrize("gpus", [None, "auto"])
def test_that_gpus_to_come_are_not_reckoned_with_is_said(gpus: str | None) -> None:
    asked = parse(SweepSettings, {"gpus_per_trial": gpus}, "the sweep")
    on_cpus = settle(asked, [LAPTOP], elastic=True, grows=True)
    assert "say gpus_per_trial = 1" in without_gpus(asked, on_cpus, grows=True)
    on_gpus = settle(asked, [SERVER], elastic=True, grows=True)
    assert without_gpus(asked, on_gpus, grows=True) == ""


def test_one_and_a_half_gpus() -> None:
    with pytest.raises(ConfigError, match="must be a whole number, or a fraction below 1"):
        settled([SERVER], gpus_per_trial=1.5)
