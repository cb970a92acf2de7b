"""Checks of built networks: told once, misfits refused, and nothing to search if none fits."""

from pathlib import Path

import pytest
import torch

from tests.support.helpers import tiny_config
from toprung.planning.network_checks import NetworkChecks
from toprung.trainables.networks.freezing import FreezeError
from toprung.trainables.system.typed_settings import ConfigError

NORMED = tiny_config(model__batch_norm="before", model__freeze_policy="head_and_batch_norms")
PLAIN = tiny_config(model__freeze_policy="head_and_batch_norms")


def test_what_trains_is_told_once_for_each_policy() -> None:
    told: list[str] = []
    checks = NetworkChecks(2, told.append)
    assert checks(NORMED) is NORMED
    checks(NORMED.model_copy(update={"seed": 5}))
    assert told[0] == "cnn, freeze policy head_and_batch_norms:"
    assert {line.split(":")[0].strip() for line in told[1:]} == {
        "head trains",
        "batch norms trains",
        "everything else frozen",
        "the frozen parts have random weights (model/weights = none)",
    }


def test_networks_that_train_whole_are_not_told() -> None:
    told: list[str] = []
    NetworkChecks(2, told.append)(tiny_config())
    assert not told


def test_a_policy_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FreezeError, match="batch norms"):
        NetworkChecks(2, lambda _: None)(PLAIN)


def test_a_space_of_which_some_fits_can_be_searched() -> None:
    checks = NetworkChecks(2, lambda _: None)
    checks.rehearse([PLAIN, NORMED])
    with pytest.raises(FreezeError):
        checks.rehearse([PLAIN, PLAIN])


def test_a_loss_that_does_not_fit_the_data_is_refused_before_any_trial() -> None:
    config = tiny_config(loss={"name": "cross_entropy", "class_weights": [1.0, 2.0, 3.0]})
    with pytest.raises(ConfigError, match="loss/class_weights has 3 weights"):
        NetworkChecks(2, lambda _: None).rehearse([config])


def test_a_file_of_other_weights_is_refused_before_any_trial(tmp_path: Path) -> None:
    torch.save({"some.weight": torch.zeros(2)}, tmp_path / "other.pth")
    config = tiny_config(model__weights=str(tmp_path / "other.pth"))
    with pytest.raises(ConfigError, match="belong to another network"):
        NetworkChecks(2, lambda _: None).rehearse([config])
