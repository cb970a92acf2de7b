"""A model's layers and costs, against arithmetic by hand."""

import pytest
import torch
from torch import nn

from toprung.search_spaces.study_c_networks import SIMPLE
from toprung.trainables.inference.summary import Layer, summarise
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.cnn_settings import CnnSettings


def on_meta(settings: CnnSettings, shape_CHW: tuple[int, int, int], classes: int) -> nn.Module:
    with torch.device("meta"):
        return build_network(settings, shape_CHW, classes).network


def test_a_convolution_and_a_dense_layer_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 4, 7))
    summary = summarise(model.to("meta"), (3, 10, 8))
    assert summary.layers == (
        Layer("0", "Conv2d", (8, 6, 4), 3 * 25 * 8 + 8),
        Layer("1", "ReLU", (8, 6, 4), 0),
        Layer("2", "Flatten", (192,), 0),
        Layer("3", "Linear", (7,), 192 * 7 + 7),
    )
    assert summary.num_multiply_accumulates == 3 * 25 * 8 * 6 * 4 + 192 * 7
    assert summary.num_parameters == summary.num_trainable == 3 * 25 * 8 + 8 + 192 * 7 + 7


def test_frozen_parameters_are_no_trainable_ones() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)).to("meta")
    model[1].requires_grad_(False)
    summary = summarise(model, (1, 2, 2))
    assert (summary.num_parameters, summary.num_trainable) == (15 + 8, 8)


def test_study_c_simple() -> None:
    settings = CnnSettings(**SIMPLE["model"])
    summary = summarise(on_meta(settings, (3, 32, 32), 10), (3, 32, 32))
    convs = 25 * (3 * 32 * 32**2 + 32 * 64 * 16**2 + 64 * 128 * 8**2)
    assert summary.num_multiply_accumulates == convs + 128 * 4 * 4 * 64 + 64 * 10
    assert summary.num_parameters == sum(layer.num_parameters for layer in summary.layers)
    assert [layer.name for layer in summary.layers][:3] == [
        "blocks.0.0",
        "blocks.0.1",
        "blocks.0.2",
    ]
    assert summary.layers[-1].name == "head"
    assert summary.layers[-1].output_shape == (10,)


def test_the_largest_network_that_is_allowed_takes_no_memory() -> None:
    settings = CnnSettings(num_blocks=1, filters=1024, dense=900)
    summary = summarise(on_meta(settings, (3, 64, 64), 10), (3, 64, 64))
    assert summary.num_parameters > 9 * 10**8


@pytest.mark.parametrize("batch_norm", ["before", "after"])
def test_batch_norm_counts_its_scale_and_shift(batch_norm: str) -> None:
    settings = CnnSettings(num_blocks=1, filters=6, dense=(), batch_norm=batch_norm)
    summary = summarise(on_meta(settings, (1, 4, 4), 3), (1, 4, 4))
    (norm,) = [layer for layer in summary.layers if layer.type == "BatchNorm2d"]
    assert norm.num_parameters == 12
    assert summary.num_parameters == 9 * 6 + 6 + 12 + 6 * 4 * 3 + 3
