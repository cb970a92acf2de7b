"""What a network's layers hold and give, guided backpropagation, and the pictures of both."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import NeuronGuidedBackprop
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from tests.analysis.test_sweep import CONFIG, Made
from tests.support.helpers import tiny_config, tiny_data
from toprung.analysis.drawing.picture import Rows, parts_in
from toprung.analysis.drawing.tiles import each_stretched, grid_shape, tiled
from toprung.analysis.findings.results import Results
from toprung.analysis.inside_model.augmentation_samples import (
    augmented,
    compared,
    some_images,
    steps,
)
from toprung.analysis.inside_model.guided_backprop import guided_backprop, strongest_neurons
from toprung.analysis.inside_model.layers import (
    activation_maps,
    convolutions,
    filters,
    layer_at,
    network_input,
)
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.pictures import data as data_pictures
from toprung.analysis.pictures import inside as inside_pictures
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import prepare
from toprung.trainables.networks.build import build_network
from toprung.trainables.recipe.augmentation_settings import AugmentationSettings
from toprung.trainables.system.typed_settings import ConfigError

RNG = np.random.default_rng(0)


def built(size: int, channels: int = 3, seed: int = 0, **model: Any) -> TrainedModel:
    """A network with random weights."""
    data = {"source": "tiny", "image_size": size, "channels": channels}
    config = TrialConfig.model_validate({"data": data, "model": model})
    torch.manual_seed(seed)
    network = build_network(config.model, config.image_shape, 3).network
    weights = dict(network.state_dict())
    return TrainedModel(config, weights, ("a", "b", "c"), (0.5,) * channels, (0.25,) * channels)


def around(network: nn.Module, size: int, channels: int = 3) -> TrainedModel:
    """A model whose network is this one, whatever its config says."""
    config = tiny_config(data={"source": "tiny", "image_size": size, "channels": channels})
    model = TrainedModel(config, {}, ("a", "b"), (0.5,) * channels, (0.5,) * channels)
    model.__dict__["network"] = network.eval()
    return model


def pixels(size: int, channels: int = 3) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (size, size, channels)).astype(np.uint8)


def num_hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


@pytest.fixture(scope="module")
def cnn() -> TrainedModel:
    return built(8, 1, num_blocks=2, filters=4, batch_norm="before", dense=8)


@pytest.fixture(scope="module")
def squeezenet() -> TrainedModel:
    return built(32, architecture="squeezenet1_0")


@pytest.fixture(scope="module")
def resnet() -> TrainedModel:
    return built(32, architecture="resnet18")


class TestLayers:
    def test_convolutions_in_the_order_in_which_they_run(
        self, cnn: TrainedModel, squeezenet: TrainedModel, resnet: TrainedModel
    ) -> None:
        assert convolutions(cnn) == ("blocks.0.0", "blocks.1.0")
        of_squeezenet = convolutions(squeezenet)
        assert (of_squeezenet[0], of_squeezenet[-1]) == ("features.0", "features.12.expand3x3")
        assert not [path for path in of_squeezenet if path.startswith("classifier")]  # the head
        assert convolutions(resnet)[::19] == ("conv1", "layer4.1.conv2")

    def test_filters(self, squeezenet: TrainedModel) -> None:
        weights_OIHW = filters(squeezenet, "features.0")
        assert weights_OIHW.shape == (96, 3, 7, 7)
        np.testing.assert_array_equal(weights_OIHW, squeezenet.weights["features.0.weight"])

    def test_maps_before_and_after_batch_norm_and_activation(self, cnn: TrainedModel) -> None:
        image_HWC, block = pixels(8, 1), cnn.network.get_submodule("blocks.0")
        assert isinstance(block, nn.Sequential)
        maps = activation_maps(cnn, image_HWC, "blocks.0.0")
        with torch.no_grad():
            before = block[0](network_input(cnn, image_HWC))
            after = block[2](block[1](before))
        np.testing.assert_array_equal(maps.before_CHW, before[0])
        assert maps.after_CHW is not None
        np.testing.assert_array_equal(maps.after_CHW, after[0])
        assert maps.activation == "ReLU"

    def test_an_activation_in_place_does_not_change_what_came_before(
        self, squeezenet: TrainedModel
    ) -> None:
        maps = activation_maps(squeezenet, pixels(32), "features.0")
        assert maps.after_CHW is not None
        assert maps.before_CHW.min() < 0
        np.testing.assert_array_equal(maps.after_CHW, maps.before_CHW.clip(0))

    def test_one_relu_for_a_whole_residual_block(self, resnet: TrainedModel) -> None:
        image_HWC, network = pixels(32), resnet.network
        ends = activation_maps(resnet, image_HWC, "layer4.1").before_CHW
        maps = activation_maps(resnet, image_HWC, "layer4.1.conv2")
        assert maps.after_CHW is not None
        np.testing.assert_array_equal(maps.after_CHW, ends)  # the block adds, then activates
        first = activation_maps(resnet, image_HWC, "conv1")
        with torch.no_grad():
            conv1 = network.get_submodule("conv1")(network_input(resnet, image_HWC))
            after = functional.relu(network.get_submodule("bn1")(conv1))
        assert first.after_CHW is not None
        np.testing.assert_array_equal(first.before_CHW, conv1[0])
        np.testing.assert_array_equal(first.after_CHW, after[0])
        assert activation_maps(resnet, image_HWC, "layer1.0.relu").after_CHW is None

    def test_activations_that_are_functions_and_auxiliary_classifiers(self) -> None:
        model = built(64, architecture="googlenet")
        paths = convolutions(model)
        assert (paths[0], len(paths)) == ("conv1.conv", 57)
        maps = activation_maps(model, pixels(64), "conv1.conv")
        assert (maps.activation, maps.after_CHW is not None) == ("ReLU", True)
        with pytest.raises(ConfigError, match=r"aux1\.conv\.conv.*does not run for a prediction"):
            activation_maps(model, pixels(64), "aux1.conv.conv")
        assert guided_backprop(model, pixels(64), paths[9], [0]).shape == (1, 3, 64, 64)

    def test_a_transformer(self) -> None:
        network = VisionTransformer(8, 4, 1, 2, 8, 16, num_classes=2)
        model = around(network, 8)
        assert convolutions(model) == ("conv_proj",)
        maps = activation_maps(model, pixels(8), "conv_proj")
        assert (maps.before_CHW.shape, maps.after_CHW) == ((8, 2, 2), None)
        with pytest.raises(ConfigError, match="has the shape 5x8; maps are channels"):
            activation_maps(model, pixels(8), "encoder.layers.encoder_layer_0")
        with pytest.raises(ConfigError, match="has no ReLU"):
            guided_backprop(model, pixels(8), "conv_proj", [0])

    def test_an_svm_on_a_backbone(self) -> None:
        model = built(32, architecture="svm", backbone="squeezenet1_1", weights="none")
        paths = convolutions(model)
        assert (paths[0], paths[-1]) == ("backbone.features.0", "backbone.features.12.expand3x3")
        assert guided_backprop(model, pixels(32), paths[-1], [2]).any()

    def test_a_layer_that_is_not_there(self, cnn: TrainedModel) -> None:
        with pytest.raises(ConfigError, match=r"layer 'block\.0\.0'.*nearest: blocks\.0\.0"):
            activation_maps(cnn, pixels(8, 1), "block.0.0")
        with pytest.raises(ConfigError, match="layer ''"):
            layer_at(cnn.network, "")

    def test_hooks_are_taken_off_again(self, cnn: TrainedModel) -> None:
        activation_maps(cnn, pixels(8, 1), "blocks.0.0")
        guided_backprop(cnn, pixels(8, 1), "blocks.1.0", [0])
        for refused in ("dense.0.0", "head"):
            with pytest.raises(ConfigError):
                activation_maps(cnn, pixels(8, 1), refused)
        with pytest.raises(ConfigError):
            guided_backprop(cnn, pixels(8, 1), "blocks.1.0", [99])
        assert num_hooks(cnn.network) == num_hooks(built(8, 1, filters=4).network)


class Functional(nn.Module):
    """Two convolutions and an activation that is a function, or the same as a module."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
        self.activation = activation

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.last(self.activation(self.first(images_BCHW))).amax((2, 3))  # type: ignore[no-any-return]


class TestGuidedBackprop:
    @pytest.mark.parametrize(
        ("weight", "pixel", "expected"),
        [
            (2.0, 255, 2.0),  # an open ReLU lets the gradient through
            (-3.0, 255, 0.0),  # it is negative: guided, the ReLU stops it
            (2.0, 0, 0.0),  # a shut ReLU lets nothing through
        ],
    )
    def test_by_hand(self, weight: float, pixel: int, expected: float) -> None:
        """The neuron is weight * relu(x), for x of -1 or 1."""
        model = built(1, 1, num_blocks=2, filters=1, kernel_size=1, downsampling="none",
                      organisation="equal", dense=())  # fmt: skip
        with torch.no_grad():
            for name, parameter in model.network.named_parameters():
                parameter.fill_(0 if name.endswith("bias") else 1)
            model.network.get_parameter("blocks.1.0.weight").fill_(weight)
        image_HWC = np.full((1, 1, 1), pixel, np.uint8)
        assert guided_backprop(model, image_HWC, "blocks.1.0", [0]).item() == expected

    @pytest.mark.parametrize("layer", ["blocks.0.0", "blocks.1.0", "dense.0.0", "head"])
    def test_as_captum_s_own(self, cnn: TrainedModel, layer: str) -> None:
        image_HWC = pixels(8, 1)
        ours = guided_backprop(cnn, image_HWC, layer, [0, 2])
        for gradient_CHW, neuron in zip(ours, [0, 2], strict=True):
            expected_CHW = captum_s(cnn, image_HWC, layer, neuron)
            np.testing.assert_allclose(gradient_CHW, expected_CHW, rtol=1e-4, atol=1e-6)

    def test_shared_functional_and_in_place_relus(self) -> None:
        image_HWC = pixels(9)
        plain = around(Functional(nn.ReLU()), 9)
        expected = captum_s(plain, image_HWC, "last", 1)
        assert expected.any()
        shared: list[Callable[[Tensor], Tensor]] = [
            functional.relu,
            torch.relu,
            torch.relu_,
            lambda x: x.relu(),
            lambda x: functional.relu(x, inplace=True),
            nn.ReLU(inplace=True),
        ]
        for activation in shared:
            model = around(Functional(activation), 9)
            ours = guided_backprop(model, image_HWC, "last", [1])
            np.testing.assert_array_equal(ours[0], expected)

    def test_relu6_is_a_relu_with_a_ceiling(self) -> None:
        image_HWC = pixels(9)
        expected = guided_backprop(around(Functional(nn.ReLU()), 9), image_HWC, "last", [1])
        for relu6 in (nn.ReLU6(), functional.relu6):
            ours = guided_backprop(around(Functional(relu6), 9), image_HWC, "last", [1])
            np.testing.assert_array_equal(ours, expected)  # nothing here reaches 6

    def test_the_network_stays_as_it_was(self, squeezenet: TrainedModel) -> None:
        image_HWC = pixels(32)
        before = squeezenet.logits(image_HWC[np.newaxis])
        guided_backprop(squeezenet, image_HWC, "features.12.expand3x3", [5])
        assert torch.equal(squeezenet.logits(image_HWC[np.newaxis]), before)
        assert all(parameter.grad is None for parameter in squeezenet.network.parameters())

    def test_without_relu(self) -> None:
        model = built(8, 1, num_blocks=1, filters=4, activation="gelu", dense=())
        with pytest.raises(ConfigError, match="'cnn': this network has no ReLU"):
            guided_backprop(model, pixels(8, 1), "blocks.0.0", [0])

    def test_a_neuron_that_is_not_there(self, cnn: TrainedModel) -> None:
        with pytest.raises(ConfigError, match=r"layer 'blocks\.0\.0' has 4 neurons, from 0 to 3"):
            guided_backprop(cnn, pixels(8, 1), "blocks.0.0", [0, 4])

    def test_strongest_neurons(self, cnn: TrainedModel) -> None:
        image_HWC = pixels(8, 1)
        greatest_C = activation_maps(cnn, image_HWC, "blocks.1.0").before_CHW.max((1, 2))
        neurons = strongest_neurons(cnn, image_HWC, "blocks.1.0", 3)
        assert list(neurons) == np.argsort(-greatest_C)[:3].tolist()


def captum_s(
    model: TrainedModel, image_HWC: NDArray[np.uint8], layer: str, neuron: int
) -> NDArray[np.float32]:
    """gradient_CHW by captum alone, for a network of ReLU modules."""

    def at_its_greatest(output: Tensor) -> Tensor:
        return output[:, neuron].reshape(1, -1).max(1).values

    image_BCHW = network_input(model, image_HWC).requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks")
        captum = NeuronGuidedBackprop(model.network, model.network.get_submodule(layer))
        gradient: NDArray[np.float32] = (
            captum.attribute(image_BCHW, at_its_greatest)[0].detach().numpy()
        )
    return gradient


class TestTiles:
    @pytest.mark.parametrize(
        ("count", "shape"),
        [(96, (8, 12)), (64, (8, 8)), (16, (4, 4)), (128, (8, 16)), (32, (4, 8)), (1, (1, 1)),
         (13, (4, 4)), (3, (1, 3)), (7, (3, 3))],
    )  # fmt: skip
    def test_grid_shape(self, count: int, shape: tuple[int, int]) -> None:
        assert grid_shape(count) == shape

    def test_each_image_is_in_its_place(self) -> None:
        images = np.stack([np.full((60, 60, 1), n / 10, np.float32) for n in range(5)])
        grid = tiled(images, 3)
        gap = (grid.shape[1] - 3 * 60) // 4
        assert grid.shape == (2 * 60 + 3 * gap, 3 * 60 + 4 * gap, 3)
        centres = [grid[gap + 30, gap + 30 + n * (60 + gap), 0] for n in range(3)]
        assert centres == pytest.approx([0, 0.1, 0.2])
        assert grid[2 * gap + 90, 2 * gap + 90, 1] == pytest.approx(0.4)

    def test_each_on_its_own_scale(self) -> None:
        images = np.array([[[[1.0], [3.0]]], [[[5.0], [5.0]]], [[[np.nan], [2.0]]]], np.float32)
        np.testing.assert_array_equal(
            each_stretched(images)[..., 0], [[[0, 1]], [[0, 0]], [[0, 1]]]
        )


FLIP_AND_ROTATE: dict[str, Any] = {
    "transforms": [{"name": "horizontal_flip"}, {"name": "rotation", "degrees": 20}]
}


class TestAugmentation:
    IMAGES = some_images(tiny_data(shape_HWC=(6, 6, 3)), seed=5)

    def test_images_are_training_images_and_the_seed_s(self) -> None:
        data = tiny_data()
        images = some_images(data, seed=5)
        assert images.shape == (6, 6, 6, 1)
        training = data.images_NHWC[data.train_indices] / np.float32(255)
        assert all(any((image == other).all() for other in training) for image in images)
        np.testing.assert_array_equal(images, some_images(data, seed=5))
        assert not np.array_equal(images, some_images(data, seed=6))
        assert len(some_images(tiny_data(num_train=4), seed=5)) == 4

    def test_each_transform_alone_on_every_image(self) -> None:
        settings = AugmentationSettings.model_validate(FLIP_AND_ROTATE | {"mix": "mixup"})
        alone = dict(steps(settings))
        assert list(alone) == ["horizontal_flip", "rotation", "mixup", "all, as in training"]
        flipped = augmented(alone["horizontal_flip"], self.IMAGES, 0)
        np.testing.assert_allclose(flipped, self.IMAGES[:, :, ::-1], atol=1e-6)
        assert alone["all, as in training"] == settings

    def test_one_certain_transform_is_shown_once(self) -> None:
        flip = {"transforms": [{"name": "horizontal_flip", "p": 1.0}]}
        (only,) = steps(AugmentationSettings.model_validate(flip))
        assert only[0] == "horizontal_flip"

    def test_the_same_each_time_and_the_caller_s_randomness_is_left(self) -> None:
        settings = AugmentationSettings.model_validate(FLIP_AND_ROTATE)
        state = torch.get_rng_state()
        first = augmented(settings, self.IMAGES, 3)
        assert torch.equal(torch.get_rng_state(), state)
        np.testing.assert_array_equal(first, augmented(settings, self.IMAGES, 3))
        assert not np.array_equal(first, augmented(settings, self.IMAGES, 4))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """Two trials with an augmentation each, and one without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        config = CONFIG.model_copy(
            update={
                "data": prepare(CONFIG.data).settings,
                "training": CONFIG.training.model_copy(update={"epochs": 1}),
            }
        )
        made = Made(tmp_path_factory.mktemp("sweeps") / "my sweep", config)
        for augmentation in ({}, FLIP_AND_ROTATE, {"transforms": [{"name": "erasing"}]}):
            settings = AugmentationSettings.model_validate(augmentation)
            made.config = config.model_copy(update={"augmentation": settings})
            made.trial(attributes.FINISHED)
        made.folder.splits.write_text("image,label,split\na,<x>,train\nb,<x>,test\nc,y,train\n")
        yield Results(Sweep(made.folder.path))


class TestPictures:
    def test_all_of_a_winner(self, results: Results) -> None:
        drawn = {
            part.name: part(results)
            for module in (inside_pictures, data_pictures)
            for part in parts_in(module)
        }
        assert set(drawn) == {
            "first_filters", "first_activations", "last_activations", "guided_neurons",
            "images_of_each_class", "normalisation", "augmentation_samples",
            "compared_augmentations",
        }  # fmt: skip
        winner = results.winner
        assert winner is not None
        assert winner.config is not None
        has_augmentation = bool(winner.config.augmentation.transforms)
        assert (drawn.pop("augmentation_samples") is not None) == has_augmentation
        assert drawn.pop("last_activations") is None  # there is one convolution
        assert all(drawn.values())

    def test_images_of_each_class(self, results: Results) -> None:
        rows = data_pictures.images_of_each_class(results)
        assert isinstance(rows, Rows)
        assert rows.rows == (("<x>", 1, 0, 1), ("y", 1, 0, 0), ("all classes", 2, 0, 1))

    def test_normalisation(self, results: Results) -> None:
        rows = data_pictures.normalisation(results)
        assert isinstance(rows, Rows)
        data = results.training_data
        training = data.images_NHWC[data.train_indices] / 255
        ((_, mean, std, used),) = rows.rows  # ImageNet is in colour
        assert (mean, std) == pytest.approx((training.mean(), training.std()))
        assert used is True

    def test_compared_augmentations_best_first(self, results: Results) -> None:
        kinds = [names for names, _ in compared(results.scored, results.metric)]
        assert sorted(kinds) == [("erasing",), ("horizontal_flip", "rotation")]

    def test_a_sweep_without_a_winner(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
        made = Made(tmp_path / "sweep", CONFIG)
        made.trial(attributes.FAILED, reason="no memory")
        empty = Results(Sweep(made.folder.path))
        for module in (inside_pictures, data_pictures):
            assert [part(empty) for part in parts_in(module)] == [None] * 4

    def test_images_that_are_not_here(
        self, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = Results(Sweep(results.sweep.folder.path, trust=True))
        gone = elsewhere.model.config.data.model_copy(update={"source": str(tmp_path / "gone")})
        config = elsewhere.model.config.model_copy(update={"data": gone})
        elsewhere.__dict__["model"] = replace(elsewhere.model, config=config)
        monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "other cache"))
        drawn = [part.name for part in parts_in(inside_pictures) if part(elsewhere)]
        assert drawn == ["first_filters"]
        assert data_pictures.normalisation(elsewhere) is None

    def test_after_the_opening_the_image_is_a_test_image(self, results: Results) -> None:
        assert inside_pictures.image_of(results) is not None
        Sweep(results.sweep.folder.path).test()
        opened = Results(results.sweep)
        shown = inside_pictures.image_of(opened)
        assert opened.test is not None
        assert shown is not None
        index = opened.test.random[0]
        assert shown.name == opened.test.names[index]
        np.testing.assert_array_equal(shown.pixels_HWC, opened.test.pixels_of(index))
