"""Every classifier of torchvision keeps the contract of an architecture."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from trainables.catalogue import first
from trainables.classifier import Classifier, Outputs
from trainables.config import TrialConfig
from trainables.network import ImpossibleNetworkError
from trainables.settings import ConfigError, parse
from trainables.torchvision_settings import TorchvisionSettings

ALL = models.list_models(module=models)
FAMILIES = {
    "alexnet": 63,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_v2_s": 32,
    "googlenet": 32,
    "inception_v3": 299,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "swin_v2_t": 32,
    "vgg11_bn": 32,
    "vit_b_32": 224,
}
"""One small member of each family, with a size of image that it can do with."""
BIG = {"vgg11_bn", "vit_b_32"}  # take seconds
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
    return settings_of(architecture, **settings).build((channels, height, width), NUM_CLASSES)


def on_meta(architecture: str, size: int, **settings: Any) -> Classifier:
    with torch.device("meta"):
        return build(architecture, size, **settings)


def run(classifier: Classifier, size: int | tuple[int, int], channels: int = 3) -> Outputs:
    height, width = (size, size) if isinstance(size, int) else size
    device = next(classifier.network.parameters()).device
    return classifier(torch.rand(2, channels, height, width, device=device))


def parameters_without_gradient(classifier: Classifier, outputs: Outputs) -> list[str]:
    loss = sum(logits.sum() for logits in (outputs.logits_BK, *outputs.auxiliary_logits))
    loss.backward()  # type: ignore[union-attr]
    return [name for name, p in classifier.network.named_parameters() if p.grad is None]


@pytest.mark.parametrize("architecture", ALL)
def test_an_architecture_has_a_head_and_stages_and_gives_logits_and_features(
    architecture: str,
) -> None:
    size = first(architecture).crop_size
    classifier = on_meta(architecture, size)
    head = classifier.network.get_submodule(classifier.heads[0])
    assert isinstance(head, nn.Linear | nn.Conv2d)

    classifier.network.eval()
    outputs = run(classifier, size)
    assert outputs.logits_BK.shape == (2, NUM_CLASSES)
    assert outputs.features_BF.shape == (2, head.weight.shape[1])
    assert outputs.auxiliary_logits == ()

    places = classifier.places()
    assert [p.name for p in places if p.depth == 0]
    assert {p.name for p in places if p.in_head} == {
        name
        for name, _ in classifier.network.named_parameters()
        if name.rpartition(".")[0] in classifier.heads
    }
    assert 5 <= len(classifier.stages) == len({p.stage for p in places}) - 1


@pytest.mark.parametrize(("architecture", "size"), FAMILIES.items())
def test_the_gradient_reaches_every_parameter(architecture: str, size: int) -> None:
    classifier = on_meta(architecture, size, head_hidden=5, head_dropout=0.5)
    classifier.network.train()
    assert parameters_without_gradient(classifier, run(classifier, size)) == []


@pytest.mark.parametrize(
    ("architecture", "size"), [item for item in FAMILIES.items() if item[0] not in BIG]
)
def test_the_weights_are_torchvisions_own(architecture: str, size: int) -> None:
    classifier = build(architecture, size)
    classifier.network.eval()
    options = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    theirs = models.get_model(architecture, num_classes=NUM_CLASSES, **options)
    theirs.load_state_dict(classifier.network.state_dict())
    images = torch.rand(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(images), classifier(images).logits_BK)


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_1", "googlenet"])
def test_grey_images_are_given_three_times(architecture: str) -> None:
    grey, colour = build(architecture, 32, channels=1), build(architecture, 32)
    images = torch.rand(2, 1, 32, 32)
    grey.network.eval()
    colour.network.eval()
    assert torch.equal(grey(images).logits_BK, colour(images.repeat(1, 3, 1, 1)).logits_BK)


def test_a_network_for_grey_images_can_be_copied_and_pickled() -> None:
    network = build("resnet18", 32, channels=1).network.eval()
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
    ("settings", "told"),
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
def test_a_mistake_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings_of(**{"architecture": "resnet18"} | settings)


def test_a_trial_names_an_architecture_of_torchvision() -> None:
    values = {"data": {"source": "digits"}, "model": {"architecture": "resnet18"}}
    model = parse(TrialConfig, values, "config").model
    assert isinstance(model, TorchvisionSettings)


def test_a_files_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_of("resnet18", weights="a.pth").weights == str(tmp_path / "a.pth")
