"""A trial that gets more epochs when it is resumed goes on as a longer trial would."""

from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
from torch.optim import Optimizer

from tests.support.helpers import figures, tiny_config, tiny_data
from toprung.trainables.config import TrialConfig
from toprung.trainables.recipe.lr_schedules import LrSchedule
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.fit import fit
from toprung.trainables.training.state import read_checkpoint

DATA = tiny_data()
LR_SCHEDULES = [s.model_fields["name"].default for s in get_args(get_args(LrSchedule)[0])]
KNOW_NO_LENGTH = ["constant", "step", "cyclic", "reduce_on_plateau"]
SETTINGS: dict[str, dict[str, Any]] = {
    "step": {"step_epochs": 2, "gamma": 0.5},
    "cosine": {"min_lr": 0.001},
    "cyclic": {"half_cycle_epochs": 0.7},
    "reduce_on_plateau": {"patience_epochs": 0, "factor": 0.5},
}
SHORT, LONG, STEPS_PER_EPOCH = 2, 4, 3


def config_of(schedule: str, epochs: int) -> TrialConfig:
    """A trial with a learning rate for each stage."""
    return tiny_config(
        lr_schedule={"name": schedule, **SETTINGS.get(schedule, {})},
        training__epochs=epochs,
        model__freeze_policy="gradual_unfreezing:1",
        optimizer={"name": "sgd", "lr": 0.05, "momentum": 0.9, "stage_lr_decay": 0.5},
    )


def run(
    config: TrialConfig, folder: Path, validations: int | None = None, *, resume: bool = False
) -> list[dict[str, float]]:
    """The figures of so many validations, or all; the folder holds the checkpoint of the last."""
    seen = []
    for validation in islice(
        fit(config, DATA, resume_from=folder if resume else None), validations
    ):
        validation.save_checkpoint(folder)
        seen.append(figures(validation.record))
    return seen


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The learning rates of the groups of parameters, at each step that is taken from now on."""
    seen: list[list[float]] = []
    zero_grad = Optimizer.zero_grad

    def noting(self: Optimizer) -> None:
        seen.append([group["lr"] for group in self.param_groups])
        zero_grad(self)

    monkeypatch.setattr(Optimizer, "zero_grad", noting)
    return seen


@pytest.mark.parametrize("after", [1, SHORT])
@pytest.mark.parametrize("schedule", LR_SCHEDULES)
def test_continues_with_the_longer_trial_s_learning_rates(
    schedule: str, after: int, tmp_path: Path, rates: list[list[float]]
) -> None:
    whole = run(config_of(schedule, LONG), tmp_path)
    wanted = rates[after * STEPS_PER_EPOCH :]
    run(config_of(schedule, SHORT), tmp_path, after)
    rates.clear()
    rest = run(config_of(schedule, LONG), tmp_path, resume=True)
    assert rates == wanted
    assert [figure["epoch"] for figure in rest] == list(range(after, LONG + 1))
    if schedule in KNOW_NO_LENGTH:
        assert rest == whole[after - 1 :]
    assert run(config_of(schedule, LONG), tmp_path, resume=True) == rest[-1:]


def test_one_that_had_ended_reports_again_and_stays_longer(tmp_path: Path) -> None:
    short = run(config_of("constant", SHORT), tmp_path)
    longer = config_of("constant", LONG)
    again = next(fit(longer, DATA, resume_from=tmp_path))
    assert figures(again.record) == short[-1]
    assert not again.finished
    again.save_checkpoint(tmp_path)
    assert TrialConfig.model_validate(read_checkpoint(tmp_path)["config"]) == longer


def test_one_that_is_out_of_patience_stays_finished(tmp_path: Path) -> None:
    def patient(epochs: int) -> TrialConfig:
        return tiny_config(
            optimizer__lr=1.5,
            training__epochs=epochs,
            training__patience_epochs=2,
            training__metric="val_loss",
        )

    short = run(patient(20), tmp_path)
    assert len(short) < 20
    assert run(patient(40), tmp_path, resume=True) == short[-1:]


def test_fewer_epochs_or_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(config_of("constant", LONG), tmp_path, 1)
    fewer = tiny_config(training__epochs=3, optimizer={"name": "adam", "lr": 0.05})
    with pytest.raises(ConfigError) as raised:
        next(fit(fewer, DATA, resume_from=tmp_path))
    message = str(raised.value)
    assert "training/epochs = 3, was 4, can only grow" in message
    assert "optimizer/name = 'adam', was 'sgd'" in message
    assert "optimizer/beta1 = 0.9, was 'not there'" in message
    assert "data/" not in message
