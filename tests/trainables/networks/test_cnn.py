"""The configurable CNN: its shapes, its counts, its settings, and what every network must do."""

from itertools import pairwise, product
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import nn

from toprung.search_spaces.study_c_networks import GOOD, GOODEST, SIMPLE
from toprung.trainables.inference.summary import summarise
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.cnn import ACTIVATIONS, Cnn
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.system.typed_settings import ConfigError, parse

# torch's remark on an even kernel with "same" padding, which it pads rightly.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

CIFAR = (3, 32, 32)


def settings_of(values: dict[str, Any]) -> CnnSettings:
    return parse(CnnSettings, values, "the network")


def network_of(
    settings: CnnSettings, image_shape: tuple[int, int, int] = CIFAR, num_classes: int = 10
) -> Cnn:
    return cast("Cnn", build_network(settings, image_shape, num_classes).network)


def count(values: dict[str, Any]) -> int:
    with torch.device("meta"):
        network = network_of(settings_of(values))
    return summarise(network, CIFAR).num_parameters


def conv(kernel: int, in_channels: int, out_channels: int) -> int:
    return kernel * kernel * in_channels * out_channels + out_channels


def linear(in_features: int, out_features: int) -> int:
    return in_features * out_features + out_features


def block_layers(values: dict[str, Any]) -> list[str]:
    network = network_of(settings_of(values))
    return [type(layer).__name__ for layer in cast("nn.Sequential", network.blocks[0])]


def modules_of(values: dict[str, Any], kind: type[nn.Module]) -> list[Any]:
    network = network_of(settings_of(values))
    return [module for module in network.modules() if isinstance(module, kind)]


class TestStudyC:
    def test_simple_has_the_published_number_of_parameters(self) -> None:
        assert count(SIMPLE["model"]) == 390_410

    def test_good(self) -> None:
        convs = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
        expected = sum(conv(3, m, n) + 2 * n for m, n in convs)
        assert count(GOOD["model"]) == expected + linear(128 * 4 * 4, 64) + linear(64, 10)

    def test_goodest(self) -> None:
        widths = (3, 64, 128, 256, 512)
        convs = [pair for m, n in pairwise(widths) for pair in ((m, n), (n, n))]
        expected = sum(conv(3, m, n) + 2 * n for m, n in convs)
        expected += linear(512 * 2 * 2, 1024) + linear(1024, 1024) + 2 * 2 * 1024
        assert count(GOODEST["model"]) == expected + linear(1024, 10)


class TestShapes:
    @pytest.mark.parametrize("input_shape", [(1, 9, 9), (3, 16, 11)])
    @pytest.mark.parametrize("downsampling", ["max_pool", "strided_conv", "none"])
    def test_the_arithmetic_agrees_with_the_network(
        self, downsampling: str, input_shape: tuple[int, int, int]
    ) -> None:
        choices = product((1, 2, 3, 4, 5), ("same", 0, 1, 2, 3), (1, 2, 3), (2, 3), (1, 2))
        num_possible = 0
        for kernel_size, padding, stride, pool_size, convs_per_block in choices:
            if downsampling == "none" and pool_size != 2:
                continue
            if downsampling == "strided_conv" and convs_per_block == 1 and stride > 1:
                continue
            settings = settings_of(
                {
                    "num_blocks": 2,
                    "filters": 2,
                    "kernel_size": kernel_size,
                    "padding": padding,
                    "stride": stride,
                    "pool_size": pool_size,
                    "convs_per_block": convs_per_block,
                    "downsampling": downsampling,
                    "dense": 2,
                }
            )
            try:
                expected = settings.feature_shape(input_shape)
            except ImpossibleNetworkError:
                with pytest.raises(ImpossibleNetworkError):
                    build_network(settings, input_shape, 2)
                continue
            with torch.device("meta"):
                network = network_of(settings, input_shape, 2)
                images_BCHW = torch.empty(2, *input_shape)
            assert tuple(network.blocks(images_BCHW).shape) == (2, *expected), settings
            assert tuple(network(images_BCHW).shape) == (2, 2)
            num_possible += 1
        assert num_possible > 50

    def test_same_padding_keeps_the_size_also_with_an_even_kernel(self) -> None:
        settings = settings_of({"kernel_size": 4, "downsampling": "none", "filters": 2})
        assert settings.feature_shape((3, 7, 5)) == (8, 7, 5)
        with torch.device("meta"):
            network = network_of(settings, (3, 7, 5), 2)
            assert network.blocks(torch.empty(1, 3, 7, 5)).shape == (1, 8, 7, 5)

    def test_an_impossible_network_names_its_block(self) -> None:
        settings = settings_of({"num_blocks": 4, "filters": 2})
        with pytest.raises(ImpossibleNetworkError, match="block 4 of 4: the 1x1 picture shrinks"):
            settings.feature_shape((1, 8, 8))
        with pytest.raises(ImpossibleNetworkError, match="block 4 of 4"):
            settings.check((1, 8, 8))
        with pytest.raises(ImpossibleNetworkError, match="block 4 of 4"):
            build_network(settings, (1, 8, 8), 10)

    def test_the_shorter_side_decides(self) -> None:
        settings = settings_of({"num_blocks": 3, "filters": 2})
        with pytest.raises(ImpossibleNetworkError, match="block 3 of 3: the 16x1 picture"):
            settings.feature_shape((1, 64, 4))

    def test_a_kernel_larger_than_the_padded_picture_is_impossible(self) -> None:
        settings = settings_of({"num_blocks": 1, "kernel_size": 9, "padding": 0})
        with pytest.raises(ImpossibleNetworkError, match="kernel 9, padding 0"):
            settings.feature_shape((1, 8, 8))


class TestOrganisation:
    @pytest.mark.parametrize(
        ("organisation", "filters", "expected"),
        [
            ("equal", 12, (12, 12, 12)),
            ("doubling", 12, (12, 24, 48)),
            ("halving", 13, (13, 6, 3)),
            ("listed", [5, 3, 7], (5, 3, 7)),
        ],
    )
    def test_filters_of_the_blocks(
        self, organisation: str, filters: Any, expected: tuple[int, ...]
    ) -> None:
        values = {"organisation": organisation, "filters": filters}
        assert settings_of(values).block_filters == expected
        assert tuple(c.out_channels for c in modules_of(values, nn.Conv2d)) == expected

    @pytest.mark.parametrize(
        ("organisation", "dropout", "expected"),
        [
            ("constant", 0.3, [0.3, 0.3, 0.3]),
            ("rising", 0.3, [0.1, 0.2, 0.3]),
            ("listed", [0.4, 0.0, 0.2], [0.4, 0.2]),
            ("constant", 0.0, []),
        ],
    )
    def test_dropout_after_the_blocks(
        self, organisation: str, dropout: Any, expected: list[float]
    ) -> None:
        values = {"block_dropout_organisation": organisation, "block_dropout": dropout}
        assert [d.p for d in modules_of(values, nn.Dropout)] == pytest.approx(expected)

    def test_dense_layers(self) -> None:
        values = {"dense": [7, 5], "dense_dropout": 0.25, "dense_batch_norm": True}
        shapes = [(m.in_features, m.out_features) for m in modules_of(values, nn.Linear)]
        assert shapes == [(128 * 4 * 4, 7), (7, 5), (5, 10)]
        assert [d.p for d in modules_of(values, nn.Dropout)] == [0.25, 0.25]
        assert [b.num_features for b in modules_of(values, nn.BatchNorm1d)] == [7, 5]

    def test_no_dense_layer_at_all(self) -> None:
        (head,) = modules_of({"dense": []}, nn.Linear)
        assert (head.in_features, head.out_features) == (128 * 4 * 4, 10)


def test_the_stages_are_the_blocks_and_the_hidden_dense_layers() -> None:
    classifier = build_network(
        settings_of({"num_blocks": 2, "dense": [7, 5], "batch_norm": "after"}), CIFAR, 3
    )
    assert list(classifier.stages) == ["blocks.0", "blocks.1", "dense.0", "dense.1"]
    stages = [location.stage for location in classifier.parameter_locations()]
    assert (
        stages
        == ["blocks.0"] * 4 + ["blocks.1"] * 4 + ["dense.0"] * 2 + ["dense.1"] * 2 + ["head"] * 2
    )
    assert classifier.num_features == 5
    outputs = classifier(torch.randn(4, *CIFAR))
    head = cast("Cnn", classifier.network).head
    assert torch.equal(outputs.logits_BK, head(outputs.features_BF))


class TestBlocks:
    @pytest.mark.parametrize(
        ("batch_norm", "expected"),
        [
            ("none", ["Conv2d", "ReLU", "MaxPool2d"]),
            ("before", ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]),
            ("after", ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d"]),
        ],
    )
    def test_batch_norm_before_or_after_the_activation(
        self, batch_norm: str, expected: list[str]
    ) -> None:
        assert block_layers({"batch_norm": batch_norm}) == expected

    def test_two_convolutions_and_dropout(self) -> None:
        expected = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"]
        assert block_layers({"convs_per_block": 2, "block_dropout": 0.1}) == expected

    def test_a_strided_convolution_takes_the_place_of_the_pooling(self) -> None:
        values = {"downsampling": "strided_conv", "convs_per_block": 2, "pool_size": 3}
        assert block_layers(values) == ["Conv2d", "ReLU", "Conv2d", "ReLU"]
        assert [c.stride for c in modules_of(values, nn.Conv2d)] == [(1, 1), (3, 3)] * 3

    def test_the_stride_is_that_of_the_first_convolution(self) -> None:
        values = {"convs_per_block": 2, "stride": 2, "num_blocks": 2}
        assert [c.stride for c in modules_of(values, nn.Conv2d)] == [(2, 2), (1, 1)] * 2

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_activation(self, activation: str) -> None:
        values = {"activation": activation, "num_blocks": 2}
        assert len(modules_of(values, ACTIVATIONS[activation])) == 3

    def test_every_activation_can_be_chosen(self) -> None:
        annotation = CnnSettings.model_fields["activation"].annotation
        assert set(ACTIVATIONS) == set(annotation.__args__)  # type: ignore[union-attr]


class TestInitialisation:
    # Wide enough for a standard deviation to show: fan in 3*5*5 and 32*5*5, fan out 32*5*5.
    VALUES: ClassVar[dict[str, Any]] = {
        "num_blocks": 2,
        "kernel_size": 5,
        "organisation": "equal",
        "dense": 512,
    }

    @pytest.mark.parametrize(
        ("initialisation", "std_of_fans"),
        [
            ("default", lambda fan_in, _: (1 / (3 * fan_in)) ** 0.5),
            ("xavier", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
            ("kaiming", lambda fan_in, _: (2 / fan_in) ** 0.5),
        ],
    )
    def test_standard_deviations(self, initialisation: str, std_of_fans: Any) -> None:
        torch.manual_seed(3)
        values = self.VALUES | {"initialisation": initialisation}
        first, second = modules_of(values, nn.Conv2d)
        dense, _ = modules_of(values, nn.Linear)
        std_first, std_second, std_dense = (m.weight.std().item() for m in (first, second, dense))
        assert std_first == pytest.approx(std_of_fans(3 * 25, 32 * 25), rel=0.1)
        assert std_second == pytest.approx(std_of_fans(32 * 25, 32 * 25), rel=0.05)
        assert std_dense == pytest.approx(std_of_fans(32 * 8 * 8, 512), rel=0.05)

    @pytest.mark.parametrize("initialisation", ["xavier", "kaiming"])
    def test_biases_are_zero(self, initialisation: str) -> None:
        values = self.VALUES | {"initialisation": initialisation}
        layers = [*modules_of(values, nn.Conv2d), *modules_of(values, nn.Linear)]
        assert all(not layer.bias.any() for layer in layers)


CONTRACT = [
    SIMPLE["model"],
    GOOD["model"] | {"filters": 4},
    GOODEST["model"] | {"filters": 4, "dense": [16, 16]},
    {"filters": [4, 5], "num_blocks": 2, "organisation": "listed", "dense": []},
    {"filters": 8, "organisation": "halving", "downsampling": "strided_conv", "kernel_size": 4},
    *({"activation": activation, "filters": 4} for activation in ACTIVATIONS),
]


@pytest.mark.parametrize("values", CONTRACT)
class TestContract:
    def test_every_parameter_gets_a_gradient(self, values: dict[str, Any]) -> None:
        torch.manual_seed(0)
        network = network_of(settings_of(values), num_classes=7)
        logits_BK = network(torch.randn(5, *CIFAR))
        assert logits_BK.shape == (5, 7)
        nn.functional.cross_entropy(logits_BK, torch.arange(5)).backward()  # type: ignore[no-untyped-call]
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name

    def test_evaluation_is_repeatable_and_has_no_batch_in_it(self, values: dict[str, Any]) -> None:
        torch.manual_seed(0)
        network = network_of(settings_of(values), num_classes=7).eval()
        images_BCHW = torch.randn(4, *CIFAR)
        whole, single = network(images_BCHW), network(images_BCHW[:1])
        torch.testing.assert_close(whole, network(images_BCHW), rtol=0, atol=0)
        torch.testing.assert_close(whole[:1], single)

    def test_the_weights_fit_another_network_of_these_settings(
        self, values: dict[str, Any]
    ) -> None:
        settings, images_BCHW = settings_of(values), torch.randn(2, *CIFAR)
        one, other = (network_of(settings, num_classes=7).eval() for _ in range(2))
        assert not torch.equal(one(images_BCHW), other(images_BCHW))
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(images_BCHW), other(images_BCHW))


class TestWeights:
    VALUES: ClassVar[dict[str, Any]] = {"num_blocks": 1, "filters": 4, "dense": 5}

    def test_they_are_read_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "cnn.pt"
        state = network_of(settings_of(self.VALUES)).state_dict()
        torch.save(state, file)
        settings = settings_of(self.VALUES | {"weights": str(file)})
        settings.check(CIFAR)
        loaded = network_of(settings).state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
        other = build_network(settings, CIFAR, 10, with_weights=False).network.state_dict()
        assert not torch.equal(other["head.weight"], state["head.weight"])

    def test_those_of_another_network_are_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "cnn.pt"
        torch.save(network_of(settings_of(self.VALUES)).state_dict(), file)
        settings = settings_of(self.VALUES | {"weights": str(file), "dense": 6})
        with pytest.raises(ConfigError, match=r"dense.0.0.bias \(5 instead of 6\)"):
            build_network(settings, CIFAR, 10)

    def test_a_missing_file_is_reported_before_anything_is_built(self, tmp_path: Path) -> None:
        settings = settings_of({"weights": str(tmp_path / "cnn.safetensors")})
        with pytest.raises(ConfigError, match=r"cnn.safetensors: there is no such file"):
            settings.check(CIFAR)

    def test_the_file_is_found_from_another_folder_too(self) -> None:
        assert Path(settings_of({"weights": "cnn.pt"}).weights) == Path.cwd() / "cnn.pt"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": "DEFAULT"}, "weights = 'DEFAULT': must be 'none', or a file (.p"),
        ({"weights": "a.pt", "initialisation": "xavier"}, "initialisation = 'xavier' has no eff"),
        ({"num_blocks": 0}, "num_blocks = 0: must be greater than 0"),
        ({"filters": 0}, "filters = 0: must be greater than 0"),
        ({"filters": [8, 16, 32]}, "filters = (8, 16, 32) does not go with organisation = 'doub"),
        ({"organisation": "listed"}, "filters = 32 does not go with organisation = 'listed'"),
        ({"filters": [8], "organisation": "listed"}, "filters lists 1 values, but num_blocks = 3"),
        (
            {"block_dropout": [0.1, 0.1], "block_dropout_organisation": "listed"},
            "block_dropout lists 2 values, but num_blocks = 3",
        ),
        ({"block_dropout": 1.0}, "block_dropout = 1.0: must be less than 1"),
        ({"block_dropout_organisation": "listed"}, "block_dropout = 0.0 does not go with"),
        ({"filters": 3, "organisation": "halving"}, "filters = 3 cannot be halved 2 times"),
        ({"downsampling": "strided_conv", "stride": 2}, "stride = 2 has no effect"),
        ({"downsampling": "none", "pool_size": 3}, "pool_size = 3 has no effect"),
        ({"dense": [], "dense_dropout": 0.5}, "have no effect: dense is empty"),
        ({"pool_size": 1}, "pool_size = 1: must be greater than or equal to 2"),
        ({"padding": -1}, "padding = -1: must be greater than or equal to 0"),
        ({"padding": "valid"}, "padding = 'valid'"),
        ({"activation": "swish"}, "activation = 'swish': must be 'relu', 'leaky_relu', 'gelu'"),
        ({"dense": [8, 0]}, "dense/1 = 0: must be greater than 0"),
        ({"dense_dropout": float("nan")}, "dense_dropout = nan"),
        ({"kernel": 5}, "kernel: there is no such setting; nearest: kernel_size"),
    ],
)
def test_wrong_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings_of(values)
    assert message in str(error.value)


@pytest.mark.parametrize("values", [{"filters": -1}, {"dense": [8, -1]}, {"padding": 1.5}])
def test_a_wrong_value_is_one_mistake_though_the_setting_has_two_types(
    values: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError, match="has 1 mistake:"):
        settings_of(values)
