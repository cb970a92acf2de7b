"""LR schedules: each curve against its formula."""

from math import cos, pi
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import Parameter
from torch.optim.lr_scheduler import ReduceLROnPlateau

from toprung.trainables.recipe.lr_schedules import LrSchedule

LR = 0.2
STEPS_PER_EPOCH = 5
EPOCHS = 4
TOTAL = STEPS_PER_EPOCH * EPOCHS


def curve(schedule: LrSchedule) -> list[float]:
    """The learning rate of every optimizer step of a trial, moved on as `fit` does it."""
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))], lr=LR)
    scheduler = schedule.build(optimizer, STEPS_PER_EPOCH, EPOCHS)
    rates = []
    for step in range(1, TOTAL + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule.advances == "step" or step % STEPS_PER_EPOCH == 0:
            scheduler.step()
    return rates


def schedule_of(**settings: Any) -> LrSchedule:
    schedule: LrSchedule = TypeAdapter(LrSchedule).validate_python(settings)
    return schedule


def annealed(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + cos(pi * fraction)) / 2


def test_constant() -> None:
    assert curve(schedule_of(name="constant")) == [LR] * TOTAL


def test_step() -> None:
    expected = [LR * 0.5 ** (step // STEPS_PER_EPOCH // 2) for step in range(TOTAL)]
    assert curve(schedule_of(name="step", step_epochs=2, gamma=0.5)) == pytest.approx(expected)
    assert expected[-1] == LR / 2


@pytest.mark.parametrize("min_lr", [0.0, 0.05])
def test_cosine(min_lr: float) -> None:
    expected = [annealed(LR, min_lr, step / TOTAL) for step in range(TOTAL)]
    assert curve(schedule_of(name="cosine", min_lr=min_lr)) == pytest.approx(expected)


def test_one_cycle() -> None:
    settings = {"warmup_fraction": 0.4, "initial_division": 10.0, "final_division": 100.0}
    top = 0.4 * TOTAL - 1
    up = [annealed(LR / 10, LR, step / top) for step in range(8)]
    down = [annealed(LR, LR / 1000, (step - top) / (TOTAL - 1 - top)) for step in range(8, TOTAL)]
    rates = curve(schedule_of(name="one_cycle", **settings))
    assert rates == pytest.approx(up + down)
    assert max(rates) == pytest.approx(LR)
    assert rates[-1] == pytest.approx(LR / 1000)


@pytest.mark.parametrize("steps", [2, 4, 5, 10])
def test_one_cycle_with_a_warm_up_of_one_step(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = schedule_of(name="one_cycle", warmup_fraction=1 / steps)
    scheduler = schedule.build(optimizer, steps, 1)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[1] == pytest.approx(0.1, rel=0.01)


def test_one_cycle_leaves_the_momentum_alone() -> None:
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    scheduler = schedule_of(name="one_cycle").build(optimizer, STEPS_PER_EPOCH, EPOCHS)
    momenta = []
    for _ in range(TOTAL):
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    assert momenta == [0.9] * TOTAL


@pytest.mark.parametrize(("warmup_epochs", "num_warmup"), [(1.0, 5), (0.5, 2), (0.01, 1)])
def test_warmup_cosine(warmup_epochs: float, num_warmup: int) -> None:
    up = [LR * (step + 1) / num_warmup for step in range(num_warmup)]
    rest = TOTAL - num_warmup
    down = [annealed(LR, 0, step / rest) for step in range(rest)]
    rates = curve(schedule_of(name="warmup_cosine", warmup_epochs=warmup_epochs))
    assert rates == pytest.approx(up + down)


def test_a_warmup_longer_than_the_trial_only_rises() -> None:
    rates = curve(schedule_of(name="warmup_cosine", warmup_epochs=99))
    assert rates == pytest.approx([LR * (step + 1) / TOTAL for step in range(TOTAL)])


def test_reduce_on_plateau() -> None:
    settings = {"factor": 0.5, "patience_epochs": 1, "min_lr": 0.08}
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))], lr=LR)
    scheduler = schedule_of(name="reduce_on_plateau", **settings).build(optimizer, 5, 4)
    assert isinstance(scheduler, ReduceLROnPlateau)
    rates = []
    for val_loss in (1.0, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9):
        scheduler.step(val_loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.08, 0.08]


@pytest.mark.parametrize(
    "name", ["constant", "step", "cosine", "one_cycle", "warmup_cosine", "reduce_on_plateau"]
)
def test_a_trial_of_a_single_step(name: str) -> None:
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))], lr=LR)
    schedule_of(name=name).build(optimizer, 1, 1)
    assert 0 < optimizer.param_groups[0]["lr"] <= LR
