"""torchvision's classifiers: their heads, inputs and sizes. See `test_contract` for the rest."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from toprung.trainables.config import TrialConfig
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.classifier import Classifier, Outputs
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.system.typed_settings import ConfigError, parse

NUM_CLASSES = 7


@pytest.fixture(autouse=True, scope="module")
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def settings_of(architecture: str, **settings: Any) -> TorchvisionSettings:
    return parse(TorchvisionSettings, {"architecture": architecture, **settings}, "model")


def build(
    architecture: str, size: int | tuple[int, int], channels: int = 3, **settings: Any
) -> Classifier:
    height, width = (size, size) if isinstance(size, int) else size
    torch.manual_seed(0)
    return build_network(
        settings_of(architecture, **settings), (channels, height, width), NUM_CLASSES
    )


def on_meta(architecture: str, size: int, **settings: Any) -> Classifier:
    with torch.device("meta"):
        return build(architecture, size, **settings)


def run(classifier: Classifier, size: int | tuple[int, int], channels: int = 3) -> Outputs:
    height, width = (size, size) if isinstance(size, int) else size
    device = next(classifier.network.parameters()).device
    return classifier(torch.rand(2, channels, height, width, device=device))


def test_the_gradient_reaches_a_head_with_a_hidden_layer() -> None:
    classifier = on_meta("squeezenet1_1", 32, head_hidden=5, head_dropout=0.5)
    run(classifier, 32).logits_BK.sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in classifier.network.parameters())


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "googlenet"])
def test_grey_images_are_given_three_times(architecture: str) -> None:
    grey, colour = build(architecture, 32, channels=1), build(architecture, 32)
    images = torch.rand(2, 1, 32, 32)
    grey.network.eval()
    colour.network.eval()
    assert torch.equal(grey(images).logits_BK, colour(images.repeat(1, 3, 1, 1)).logits_BK)


def test_a_network_for_grey_images_can_be_copied_and_pickled() -> None:
    network = build("squeezenet1_1", 32, channels=1).network.eval()
    images = torch.rand(2, 1, 32, 32)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(images), network(images))


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_a_hidden_layer_follows_the_features(architecture: str) -> None:
    plain = on_meta(architecture, 32)
    classifier = on_meta(architecture, 32, head_hidden=5, head_activation="mish", head_dropout=0.25)
    assert run(classifier, 32).features_BF.shape == run(plain, 32).features_BF.shape
    head = classifier.network.get_submodule(classifier.heads[0])
    assert isinstance(head, nn.Sequential)
    hidden, activation, dropout, output = head
    assert isinstance(hidden, nn.Linear | nn.Conv2d)
    assert isinstance(output, type(hidden))
    assert hidden.weight.shape[:2] == (5, run(plain, 32).features_BF.shape[1])
    assert isinstance(activation, nn.Mish)
    assert isinstance(dropout, nn.Dropout)
    assert dropout.p == 0.25
    assert output.weight.shape[:2] == (NUM_CLASSES, 5)


def test_dropout_alone_stands_before_the_output_layer() -> None:
    head = on_meta("resnet18", 32, head_dropout=0.5).network.get_submodule("fc")
    assert isinstance(head, nn.Sequential)
    assert [type(layer) for layer in head] == [nn.Dropout, nn.Linear]


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_1"])
def test_xavier_draws_the_heads_weights_and_no_biases(architecture: str) -> None:
    classifier = build(architecture, 32, head_initialisation="xavier")
    layer = classifier.network.get_submodule(classifier.heads[0])
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    assert layer.bias is not None
    outputs, inputs = layer.weight.shape[:2]
    assert layer.weight.std().item() == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.1)
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("architecture", "size", "num_heads"),
    [("googlenet", 32, 3), ("inception_v3", 299, 2), ("inception_v3", 298, 1)],
)
def test_auxiliary_classifiers_are_trained_where_they_can_be(
    architecture: str, size: int, num_heads: int
) -> None:
    classifier = on_meta(architecture, size)
    assert len(classifier.heads) == num_heads
    classifier.network.train()
    auxiliary = run(classifier, size).auxiliary_logits
    assert [logits.shape for logits in auxiliary] == [(2, NUM_CLASSES)] * (num_heads - 1)


@pytest.mark.parametrize(
    ("architecture", "size", "rule"),
    [
        ("alexnet", (62, 80), "of at least 63x63 pixels; these are 62x80"),
        ("inception_v3", (80, 74), "of at least 75x75"),
        ("swin_t", (3, 3), "of at least 4x4"),
        ("vit_b_16", (32, 40), "square, of a multiple of its patches' 16"),
        ("vit_b_16", (40, 40), "square, of a multiple of its patches' 16"),
        ("maxvit_t", (220, 220), "square, of a multiple of 224"),
        ("maxvit_t", (224, 448), "square, of a multiple of 224"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_before_torch_meets_it(
    architecture: str, size: tuple[int, int], rule: str
) -> None:
    with pytest.raises(ImpossibleNetworkError, match=rule):
        settings_of(architecture).check((3, *size))


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("alexnet", (63, 80)),
        ("densenet121", (29, 40)),
        ("efficientnet_v2_s", (32, 1)),
        ("inception_v3", (75, 75)),
        ("squeezenet1_0", (21, 21)),
        ("swin_t", (4, 9)),
        ("swin_v2_t", (4, 9)),
        ("vit_b_16", (48, 48)),
        ("vit_h_14", (28, 28)),
        ("maxvit_t", (221, 221)),
    ],
)
def test_the_smallest_and_the_oddest_images_are_possible(
    architecture: str, size: tuple[int, int]
) -> None:
    with torch.device("meta"):
        classifier = build(architecture, size)
    classifier.network.train()
    assert run(classifier, size).logits_BK.shape == (2, NUM_CLASSES)


def test_two_channels_are_refused() -> None:
    with pytest.raises(ImpossibleNetworkError, match="1 or 3 channels, these have 2"):
        settings_of("resnet18").check((2, 32, 32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "resnet19"}, "no such architecture; nearest: resnet1"),
        ({"architecture": "xyz"}, "choose from cnn, svm, alexnet, "),
        ({"weights": "IMAGENET1K_V2"}, "choose from none, DEFAULT, IMAGENET1K_V1, or a file"),
        ({"weights": "resnet.bin"}, r"\.pth, \.pt, \.safetensors"),
        ({"head_activation": "gelu"}, "no effect: head_hidden is None"),
        ({"head_hidden": 0}, "greater than 0"),
        ({"head_dropout": 1.0}, "less than 1"),
        ({"freeze_policy": "from_scratch", "weights": "DEFAULT"}, "trains random weights"),
    ],
)
def test_a_mistake_is_reported(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(**{"architecture": "resnet18"} | settings)


def test_a_trial_names_an_architecture_of_torchvision() -> None:
    values = {"data": {"source": "digits"}, "model": {"architecture": "resnet18"}}
    model = parse(TrialConfig, values, "config").model
    assert isinstance(model, TorchvisionSettings)


def test_a_files_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_of("resnet18", weights="a.pth").weights == str(tmp_path / "a.pth")


@pytest.mark.parametrize(("num_classes", "keeps_head"), [(1000, True), (7, False)])
def test_a_file_keeps_its_head_of_1000_classes_if_the_data_have_as_many(
    num_classes: int, keeps_head: bool, tmp_path: Path
) -> None:
    file = tmp_path / "trained.pth"
    trained = build_network(settings_of("squeezenet1_1"), (3, 32, 32), 1000).network.state_dict()
    torch.save(trained, file)
    settings = settings_of("squeezenet1_1", weights=str(file))
    loaded = build_network(settings, (3, 32, 32), num_classes).network.state_dict()
    heads = "classifier.1.weight", "classifier.1.bias"
    same = {key for key, tensor in loaded.items() if torch.equal(tensor, trained[key])}
    assert same == set(trained) - (set() if keeps_head else set(heads))


def test_torchvisions_named_weights_always_get_a_new_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "squeezenet.pth"
    trained = build_network(settings_of("squeezenet1_1"), (3, 32, 32), 1000).network.state_dict()
    torch.save(trained, file)
    monkeypatch.setattr(TorchvisionSettings, "fetch_weights", lambda _: file)
    named = build_network(settings_of("squeezenet1_1", weights="DEFAULT"), (3, 32, 32), 1000)
    loaded = named.network.state_dict()
    assert torch.equal(loaded["features.0.weight"], trained["features.0.weight"])
    assert not torch.equal(loaded["classifier.1.weight"], trained["classifier.1.weight"])


def test_a_new_head_s_logits_can_be_negative() -> None:
    torch.manual_seed(0)
    network = build("squeezenet1_1", 32).network.eval()
    assert (network(torch.randn(8, 3, 32, 32)) < 0).any()
