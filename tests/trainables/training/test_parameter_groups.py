"""Parameter groups, the LR schedules on top, and whether a trial's parts fit together."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.helpers import tiny_config
from toprung.trainables.config import TrialConfig
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.networks.freezing import FreezeError
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.compatibility import check_network
from toprung.trainables.training.parameter_groups import parameter_groups

IMAGE = (3, 8, 8)
LR = 0.2
STAGES = ["head", "dense.0", "blocks.1", "blocks.0"]


def config_of(
    policy: str = "nothing_frozen", loss: Any = None, lr_schedule: Any = None, **optimizer: Any
) -> TrialConfig:
    return tiny_config(
        model={"num_blocks": 2, "filters": 4, "dense": 6, "freeze_policy": policy},
        optimizer={"name": "adamw", "lr": LR, "weight_decay": 0.1, **optimizer},
        **({"loss": loss} if loss else {}),
        **({"lr_schedule": lr_schedule} if lr_schedule else {}),
    )


def classifier_of(config: TrialConfig) -> Classifier:
    assert isinstance(config.model, CnnSettings)
    return build_network(config.model, IMAGE, 3)


def optimizer_of(config: TrialConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(config, classifier_of(config), nn.CrossEntropyLoss())
    return config.optimizer.build(groups)


def names_of(group: dict[str, Any], classifier: Classifier) -> list[str]:
    name_of = {id(p): name for name, p in classifier.network.named_parameters()}
    return [name_of[id(parameter)] for parameter in group["params"]]


def test_without_decay_there_is_one_group_as_torch_would_make_it() -> None:
    config = config_of()
    classifier = classifier_of(config)
    (group,) = parameter_groups(config, classifier, nn.CrossEntropyLoss())
    assert names_of(group, classifier) == [n for n, _ in classifier.network.named_parameters()]
    plain = config.optimizer.build(classifier.network.parameters())
    grouped = config.optimizer.build([group])
    assert grouped.state_dict() == plain.state_dict()


def test_what_never_trains_is_in_no_group() -> None:
    config = config_of("head_only")
    classifier = classifier_of(config)
    (group,) = parameter_groups(config, classifier, nn.CrossEntropyLoss())
    assert names_of(group, classifier) == ["head.weight", "head.bias"]
    later = config_of("gradual_unfreezing:2")
    (group,) = parameter_groups(later, classifier, nn.CrossEntropyLoss())
    assert len(group["params"]) == len(list(classifier.network.parameters()))


def test_with_decay_each_stage_is_a_group_from_the_head_down() -> None:
    config = config_of(stage_lr_decay=0.5)
    classifier = classifier_of(config)
    groups = parameter_groups(config, classifier, nn.CrossEntropyLoss())
    optimizer = config.optimizer.build(groups)
    assert [g["lr"] for g in optimizer.param_groups] == [LR, LR / 2, LR / 4, LR / 8]
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.1}
    for group, stage in zip(groups, STAGES, strict=True):
        names = names_of(group, classifier)
        assert names
        assert all(name.startswith(f"{stage}.") for name in names)


def test_a_frozen_stage_has_no_group_but_counts() -> None:
    config = config_of("freeze_pattern:^dense", stage_lr_decay=0.5)
    assert [g["lr"] for g in optimizer_of(config).param_groups] == [LR, LR / 4, LR / 8]


@pytest.mark.parametrize("policy", ["head_only", "first_stages_frozen:3"])
def test_a_decay_over_a_single_stage_is_refused(policy: str) -> None:
    with pytest.raises(ConfigError, match=f"stage_lr_decay = 0.5 has no effect: .*{policy}"):
        optimizer_of(config_of(policy, stage_lr_decay=0.5))
    assert (
        len(optimizer_of(config_of("head_and_stage:dense.0", stage_lr_decay=0.5)).param_groups) == 2
    )


@pytest.mark.parametrize("stage_lr_decay", [1.0, 0.5])
def test_the_centers_have_their_own_learning_rate_and_no_weight_decay(
    stage_lr_decay: float,
) -> None:
    config = config_of(loss={"name": "center", "center_lr": 0.7}, stage_lr_decay=stage_lr_decay)
    classifier = classifier_of(config)
    loss = config.loss.build(3, classifier.num_features, np.array([4, 4, 4]))
    groups = parameter_groups(config, classifier, loss)
    *others, last = config.optimizer.build(groups).param_groups
    assert last["params"] == list(loss.parameters())
    assert (last["lr"], last["weight_decay"]) == (0.7, 0.0)
    assert (others[0]["lr"], others[0]["weight_decay"]) == (LR, 0.1)


def test_a_smaller_learning_rate_moves_a_stage_less() -> None:
    config = config_of(stage_lr_decay=0.1, weight_decay=0.0)
    classifier = classifier_of(config)
    groups = parameter_groups(config, classifier, nn.CrossEntropyLoss())
    optimizer = config.optimizer.build(groups)
    before = {name: p.detach().clone() for name, p in classifier.network.named_parameters()}
    classifier(torch.randn(8, *IMAGE)).logits_BK.square().sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    # Adam's first step is the learning rate, wherever there is a gradient.
    for group, stage in zip(optimizer.param_groups, STAGES, strict=True):
        name = f"{stage}.weight" if stage == "head" else f"{stage}.0.weight"
        step = (classifier.network.get_parameter(name) - before[name]).abs().max().item()
        assert step == pytest.approx(group["lr"], rel=1e-3)


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "constant"},
        {"name": "step", "step_epochs": 1},
        {"name": "cosine", "min_lr": 0.05},
        {"name": "one_cycle"},
        {"name": "cyclic"},
        {"name": "warmup_cosine"},
    ],
)
def test_schedules_keep_the_learning_rates_in_proportion(schedule: dict[str, Any]) -> None:
    config = config_of(stage_lr_decay=0.5)
    lr_schedule = config_of(lr_schedule=schedule).lr_schedule
    grouped, plain = optimizer_of(config), optimizer_of(config_of())
    schedulers = [lr_schedule.build(optimizer, 5, 4) for optimizer in (grouped, plain)]
    for _ in range(20 if lr_schedule.advances == "step" else 4):
        rates = [group["lr"] for group in grouped.param_groups]
        assert rates == pytest.approx([rates[0] / 2**height for height in range(4)])
        assert rates[0] == pytest.approx(plain.param_groups[0]["lr"])
        for optimizer, scheduler in zip((grouped, plain), schedulers, strict=True):
            optimizer.step()
            scheduler.step()


def test_a_plateau_lowers_all_groups_to_their_share_of_the_floor() -> None:
    schedule = {"name": "reduce_on_plateau", "factor": 0.5, "patience_epochs": 0, "min_lr": 0.08}
    optimizer = optimizer_of(config_of(stage_lr_decay=0.5))
    lr_schedule = config_of(lr_schedule=schedule).lr_schedule
    scheduler: Any = lr_schedule.build(optimizer, 5, 4)
    for head_lr in (0.2, 0.1, 0.08, 0.08):
        scheduler.step(1.0)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([head_lr / 2**height for height in range(4)])


def test_cosine_is_torch_s_own_to_the_last_bit() -> None:
    config, total = config_of(), 37
    ours, torch_s = optimizer_of(config), optimizer_of(config)
    lr_schedule = tiny_config(lr_schedule={"name": "cosine"}).lr_schedule
    schedulers = [
        (ours, lr_schedule.build(ours, total, 1)),
        (torch_s, torch.optim.lr_scheduler.CosineAnnealingLR(torch_s, total)),
    ]
    for _ in range(total):
        for optimizer, scheduler in schedulers:
            optimizer.step()
            scheduler.step()
        assert ours.param_groups[0]["lr"] == torch_s.param_groups[0]["lr"]


class TestCheckNetwork:
    def test_says_what_trains_and_leaves_the_random_state_alone(self) -> None:
        before = torch.get_rng_state()
        assignment = check_network(config_of("head_only", stage_lr_decay=1.0), 3)
        assert assignment.trains_ever() == {"head.weight", "head.bias"}
        assert torch.equal(before, torch.get_rng_state())

    def test_of_an_svm_nothing_trains(self) -> None:
        model = {"architecture": "svm", "backbone": "resnet18", "weights": "none"}
        config = TrialConfig.model_validate({"data": {"source": "tiny"}, "model": model})
        assert check_network(config, 3).trains_ever() == set()

    @pytest.mark.parametrize("loss", ["center", "triplet"])
    def test_a_loss_on_features_that_never_change_is_refused(self, loss: str) -> None:
        with pytest.raises(ConfigError, match=f"loss/name = '{loss}' has no effect: .*'head_only'"):
            check_network(config_of("head_only", loss={"name": loss}), 3)
        check_network(config_of("gradual_unfreezing:2", loss={"name": loss}), 3)

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(FreezeError, match="batch norms"):
            check_network(config_of("head_and_batch_norms"), 3)
        with pytest.raises(ConfigError, match=r"stage_lr_decay = 0\.5 has no effect"):
            check_network(config_of("head_only", stage_lr_decay=0.5), 3)
        weights = {"name": "cross_entropy", "class_weights": [1.0, 2.0]}
        with pytest.raises(ConfigError, match="2 weights, but the data has 3 classes"):
            check_network(config_of(loss=weights), 3)
        check_network(config_of(loss=weights), 2)
