"""Our ASHA decides as Ray Tune's does, for whichever reports come in whichever order."""

import math
import random
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from toprung.search.asha import Asha
from toprung.settings import SweepSettings


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
@pytest.mark.parametrize(
    ("epochs", "grace", "factor"), [(9, 1, 3), (8, 1, 3), (1000, 1, 10), (30, 2, 4), (7, 7, 2)]
)
@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_it_stops_whom_rays_stops(metric: str, epochs: int, grace: int, factor: int) -> None:
    settings = SweepSettings(
        metric=metric, max_epochs=epochs, grace_epochs=grace, reduction_factor=factor
    )
    ours = Asha(settings)
    rays = AsyncHyperBandScheduler(
        "epoch",
        "score",
        "max" if metric == "val_accuracy" else "min",
        max_t=epochs,
        grace_period=grace,
        reduction_factor=factor,
    )
    draws = random.Random(f"{metric} {epochs} {factor}")
    trials = dict.fromkeys(range(40), 0.0)
    for number in trials:
        rays.on_trial_add(None, SimpleNamespace(trial_id=number))
    stopped = 0
    while trials:
        number = draws.choice(list(trials))
        trials[number] += draws.choice([0.5, 1, 1, 1, factor])
        score = draws.choice([draws.random(), math.nan, 0.5])
        told = {"epoch": trials[number], "score": score}
        trial = SimpleNamespace(trial_id=number)
        decision = rays.on_trial_result(None, trial, told)
        assert ours.stops(number, trials[number], score) == (decision == TrialScheduler.STOP)
        if decision == TrialScheduler.STOP:
            stopped += trials[number] < epochs
            rays.on_trial_complete(None, trial, told)
            ours.note(number, trials.pop(number), score)
    assert stopped or grace == epochs
