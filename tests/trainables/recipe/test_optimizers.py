"""Optimizers: what is set reaches torch, and they learn."""

from typing import Any

import pytest
import torch
from torch.nn import Parameter

from tests.support.helpers import tiny_config
from toprung.trainables.system.typed_settings import ConfigError, parse


def build(**settings: Any) -> tuple[Parameter, torch.optim.Optimizer]:
    parameter = Parameter(torch.tensor([1.0, -2.0]))
    config = tiny_config(optimizer=settings)
    return parameter, config.optimizer.build([parameter])


@pytest.mark.parametrize(
    ("settings", "torch_class", "expected"),
    [
        (
            {"name": "sgd", "momentum": 0.8, "nesterov": True},
            torch.optim.SGD,
            {"momentum": 0.8, "nesterov": True, "dampening": 0},
        ),
        ({"name": "sgd"}, torch.optim.SGD, {"momentum": 0, "nesterov": False}),
        *(
            (
                {"name": name, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-5},
                torch_class,
                {"betas": (0.7, 0.95), "eps": 1e-5},
            )
            for name, torch_class in [
                ("adam", torch.optim.Adam),
                ("adamw", torch.optim.AdamW),
                ("nadam", torch.optim.NAdam),
                ("radam", torch.optim.RAdam),
            ]
        ),
        (
            {"name": "rmsprop", "smoothing": 0.9, "momentum": 0.5, "epsilon": 1e-6},
            torch.optim.RMSprop,
            {"alpha": 0.9, "momentum": 0.5, "eps": 1e-6},
        ),
    ],
)
def test_settings_reach_torch(
    settings: dict[str, Any], torch_class: type[torch.optim.Optimizer], expected: dict[str, Any]
) -> None:
    parameter, optimizer = build(**settings, lr=0.03, weight_decay=0.02)
    assert type(optimizer) is torch_class
    (group,) = optimizer.param_groups
    assert group["params"] == [parameter]
    assert {key: group[key] for key in expected} == expected
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.02)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "nadam", "radam", "rmsprop"])
def test_each_goes_downhill(name: str) -> None:
    parameter, optimizer = build(name=name, lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        parameter.square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert parameter.square().sum().item() < 0.5


def test_the_weight_decay_of_adamw_is_decoupled_and_that_of_adam_is_not() -> None:
    steps = {}
    for name in ("adam", "adamw"):
        parameter, optimizer = build(name=name, lr=0.1, weight_decay=0.5)
        parameter.grad = torch.zeros(2)
        optimizer.step()
        steps[name] = parameter.detach()
    # Adam normalises the decay away into a step of lr; AdamW multiplies by 1 - lr * decay.
    torch.testing.assert_close(steps["adam"], torch.tensor([0.9, -1.9]))
    torch.testing.assert_close(steps["adamw"], torch.tensor([0.95, -1.9]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "sgd", "lr": -1}, "optimizer/lr = -1: must be greater than 0"),
        ({"name": "sgd", "momentum": 1}, "optimizer/momentum = 1: must be less than 1"),
        ({"name": "sgd", "nesterov": True}, "optimizer: nesterov needs a momentum above 0"),
        ({"name": "adam", "beta2": 1.0}, "optimizer/beta2 = 1.0: must be less than 1"),
        ({"name": "adam", "weight_decay": -0.1}, "optimizer/weight_decay = -0.1: must be"),
        ({"name": "rmsprop", "beta1": 0.5}, "optimizer/beta1: is not a setting of rmsprop"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    values = {"data": {"source": "digits"}, "optimizer": settings}
    with pytest.raises(ConfigError) as error:
        parse(type(tiny_config()), values, "x")
    assert message in str(error.value)
