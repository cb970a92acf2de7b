"""Huge numbers in a config: one line with the value and the bound, before anything is allocated."""

from typing import Any

import pytest
import torch

from tests.support.helpers import tiny_config
from toprung.settings import resolve
from toprung.trainables.config import TrialConfig, as_plain
from toprung.trainables.networks.base import ImpossibleNetworkError, NetworkSettings
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.networks.limits import MAX_PARAMETERS
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.system.typed_settings import ConfigError, parse

HUGE = 2_000_000_000
MANY_TRANSFORMS = [{"name": "horizontal_flip"}] * 101


@pytest.mark.parametrize(
    ("path", "value", "bound"),
    [
        ("model/filters", HUGE, "65536"),
        ("model/filters", 10**5000, "65536"),
        ("model/num_blocks", HUGE, "100"),
        ("model/convs_per_block", HUGE, "100"),
        ("model/kernel_size", HUGE, "1023"),
        ("model/padding", HUGE, "1023"),
        ("model/stride", HUGE, "1023"),
        ("model/pool_size", HUGE, "1023"),
        ("model/dense", HUGE, "65536"),
        ("model/dense", [1] * 101, "100 items"),
        ("model/freeze_policy", f"first_stages_frozen:{HUGE}", "1,000"),
        ("model/freeze_policy", f"gradual_unfreezing:{HUGE}", "1,000"),
        ("model/freeze_policy", "first_stages_frozen:" + "9" * 1_000_000, "1,000"),
        ("data/image_size", HUGE, "8192"),
        ("data/image_size", [8192, 8192], "16,777,216"),
        ("data/num_classes", HUGE, "1000000"),
        ("training/epochs", HUGE, "1000000"),
        ("training/batch_size", HUGE, "1000000"),
        ("training/validations_per_epoch", HUGE, "1000000"),
        ("training/patience_epochs", HUGE, "1000000"),
        ("lr_schedule", {"name": "step", "step_epochs": HUGE}, "1000000"),
        ("lr_schedule", {"name": "reduce_on_plateau", "patience_epochs": HUGE}, "1000000"),
        ("augmentation", {"stored_views": HUGE, "transforms": MANY_TRANSFORMS[:1]}, "1000"),
        ("augmentation/transforms", MANY_TRANSFORMS, "100 items"),
        ("augmentation/transforms", [{"name": "rotation", "degrees": HUGE}], "180"),
        ("augmentation/transforms", [{"name": "rand_augment", "num_ops": HUGE}], "100"),
    ],
    ids=lambda value: "" if isinstance(value, int) else str(value)[:30],
)
def test_a_setting(path: str, value: Any, bound: str) -> None:
    values = as_plain(tiny_config())
    group, _, name = path.partition("/")
    if name:
        values[group][name] = value
    else:
        values[group] = value
    with pytest.raises(ConfigError) as error:
        parse(TrialConfig, values, "config x")
    assert path.rpartition("/")[2] in str(error.value)
    assert bound in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["trials", "max_epochs", "concurrency", "confirm", "seeds"])
def test_a_setting_of_a_sweep(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = {HUGE}: must be less than or equal to 1000"):
        resolve({}, {name: HUGE})


IMAGE = (3, 224, 224)
TOO_LARGE: list[tuple[NetworkSettings, tuple[int, int, int], str]] = [
    (CnnSettings(num_blocks=60, downsampling="none"), (3, 8, 8), "parameters|multiply"),
    (CnnSettings(dense=(65_536, 65_536)), IMAGE, "parameters"),
    (CnnSettings(kernel_size=1023, filters=4096), IMAGE, "multiply-accumulates"),
    (CnnSettings(filters=4096, num_blocks=1, kernel_size=1), (3, 2048, 2048), "values in the"),
    (
        CnnSettings(padding=1023, num_blocks=20, organisation="equal"),
        (3, 64, 64),
        "values|multi",
    ),
    (TorchvisionSettings(architecture="vit_b_16"), (3, 4096, 4096), "2048x2048"),
]


@pytest.mark.parametrize(("settings", "image_shape", "what"), TOO_LARGE)
def test_a_network(settings: NetworkSettings, image_shape: tuple[int, int, int], what: str) -> None:
    for see in (settings.check, lambda shape: build_network(settings, shape, 10)):
        with pytest.raises(ImpossibleNetworkError, match=what):
            see(image_shape)


@pytest.mark.parametrize(
    "settings",
    [
        CnnSettings(),
        TorchvisionSettings(architecture="resnet18"),
        TorchvisionSettings(architecture="resnet18", head_hidden=65_536),
        SvmSettings(backbone="resnet18", weights="none"),
    ],
)
def test_a_network_for_a_great_many_classes(settings: NetworkSettings) -> None:
    with pytest.raises(ImpossibleNetworkError, match=f"at most {MAX_PARAMETERS:,} are allowed"):
        build_network(settings, (3, 64, 64), HUGE)


def test_too_many_layers() -> None:
    with pytest.raises(ValueError, match="num_blocks = 100 times convs_per_block = 100"):
        CnnSettings(num_blocks=100, convs_per_block=100)


@pytest.mark.parametrize(
    "settings",
    [
        CnnSettings(),
        CnnSettings(batch_norm="after", dense=(), padding=1, stride=2, num_blocks=2),
        CnnSettings(kernel_size=4, convs_per_block=3, dense=(9, 8), dense_batch_norm=True),
        CnnSettings(filters=(3, 5), num_blocks=2, organisation="listed", batch_norm="before"),
        CnnSettings(downsampling="strided_conv", organisation="halving"),
    ],
)
def test_parameters_are_counted_without_torch(settings: CnnSettings) -> None:
    with torch.device("meta"):
        network = build_network(settings, (3, 40, 32), 7).network
    true = sum(parameter.numel() for parameter in network.parameters())
    assert settings.num_parameters((3, 40, 32), 7) == true


@pytest.mark.parametrize(
    ("architecture", "head_hidden", "image_size", "num_classes"),
    [
        ("vit_l_16", None, 224, 21_841),
        ("regnet_y_128gf", 4096, 384, 21_841),
        ("vgg19_bn", 4096, 1024, 1000),
        ("resnet18", None, 2048, 100_000),
    ],
)
def test_what_people_train(
    architecture: str, head_hidden: int | None, image_size: int, num_classes: int
) -> None:
    settings = TorchvisionSettings(architecture=architecture, head_hidden=head_hidden)
    settings.check((3, image_size, image_size))
    with torch.device("meta"):
        network = build_network(settings, (3, image_size, image_size), num_classes).network
    assert sum(p.numel() for p in network.parameters()) <= MAX_PARAMETERS


def test_large_settings_that_people_use() -> None:
    config = tiny_config(
        data__image_size=1024,
        training__batch_size=2048,
        training__epochs=1000,
        model__num_blocks=6,
        model__dense=4096,
    )
    config.check()
