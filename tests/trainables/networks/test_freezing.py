"""Freeze policies: how they are written, what they catch, and that what is frozen stays as is."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toprung.trainables.networks import freezing
from toprung.trainables.networks.base import NetworkSettings
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.networks.freeze_policies import policy_forms
from toprung.trainables.networks.freezing import FreezeError, resolve
from toprung.trainables.networks.parameter_locations import ParameterLocation
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings
from toprung.trainables.system.typed_settings import ConfigError, parse

IMAGE = (3, 8, 8)
CNN = CnnSettings(
    num_blocks=2, filters=4, batch_norm="before", dense=(8, 6), dense_dropout=0.5,
    dense_batch_norm=True, block_dropout=0.5,
)  # fmt: skip
Trains = Callable[[str], bool]


def of_prefix(*prefixes: str) -> Trains:
    return lambda name: name.startswith(prefixes)


def without(*prefixes: str) -> Trains:
    return lambda name: not name.startswith(prefixes)


CNN_POLICIES: dict[str, Trains] = {
    "nothing_frozen": without(),
    "from_scratch": without(),
    "head_only": of_prefix("head."),
    "convolutions_frozen": without("blocks.0.0.", "blocks.1.0."),
    "fully_connected_frozen": without("dense.0.0.", "dense.1.0.", "head."),
    "fully_connected_frozen_except_head": without("dense.0.0.", "dense.1.0."),
    "first_stages_frozen:1": without("blocks.0."),
    "first_stages_frozen:3": of_prefix("dense.1.", "head."),
    "head_and_stage:dense.0": of_prefix("dense.0.", "head."),
    "head_and_convolutions": of_prefix("blocks.0.0.", "blocks.1.0.", "head."),
    "head_and_batch_norms": of_prefix(
        "blocks.0.1.", "blocks.1.1.", "dense.0.1.", "dense.1.1.", "head."
    ),
    r"train_pattern:^blocks\.1|bias$": lambda name: name.startswith("blocks.1.") or "bias" in name,
    "freeze_pattern:^(?:blocks|head)": of_prefix("dense."),
    "gradual_unfreezing:2": of_prefix("head."),
}


def names(classifier: Classifier) -> list[str]:
    return [name for name, _ in classifier.network.named_parameters()]


def trained(classifier: Classifier) -> list[str]:
    return [name for name, p in classifier.network.named_parameters() if p.requires_grad]


@cache
def torchvision_network(architecture: str) -> Classifier:
    with torch.device("meta"):
        settings = TorchvisionSettings(architecture=architecture)
        return build_network(settings, (3, 224, 224), 7, with_weights=False)


def test_every_policy_that_fits_the_cnn_is_tried_on_it() -> None:
    tried = {policy.partition(":")[0] for policy in CNN_POLICIES}
    policies = {form.partition(":")[0] for form in policy_forms()}
    assert policies - tried == {"head_and_downsampling", "nothing_trains"}


@pytest.mark.parametrize(("policy", "trains"), CNN_POLICIES.items())
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_step_moves_what_trains_and_nothing_else(
    policy: str, trains: Trains, optimizer: Any
) -> None:
    torch.manual_seed(0)
    classifier = build_network(CNN, IMAGE, 3)
    network = classifier.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    freezing.apply(policy, classifier, epoch=0)
    freezing.train_mode(classifier)
    # Every parameter: what is frozen must not move even by weight decay.
    steps = optimizer(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        _loss(classifier).backward()  # type: ignore[no-untyped-call]
        steps.step()
    for name, parameter in network.named_parameters():
        if trains(name):
            assert parameter.grad is not None, name
        else:
            assert parameter.grad is None, name
            assert torch.equal(parameter, before[name]), name
    frozen_norms = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        and not any(trains(f"{name}.{end}") for end in ("weight", "bias"))
    }
    after = network.state_dict()
    moved = {name for name, old in before.items() if not torch.equal(after[name], old)}
    assert moved & set(names(classifier)) == {name for name in names(classifier) if trains(name)}
    for name in before.keys() - set(names(classifier)):
        assert (name in moved) == (name.rpartition(".")[0] not in frozen_norms), name


def _loss(classifier: Classifier) -> Tensor:
    logits_BK = classifier(torch.randn(16, *IMAGE)).logits_BK
    return nn.functional.cross_entropy(logits_BK, torch.arange(16) % 3)


def test_dropout_drops_also_in_a_frozen_network() -> None:
    classifier = build_network(CNN, IMAGE, 3)
    classifier.network.eval()
    freezing.apply("head_only", classifier, epoch=0)
    freezing.train_mode(classifier)
    training = {type(m).__name__: m.training for m in classifier.network.modules()}
    assert training["Dropout"]
    assert not training["BatchNorm2d"]


def test_a_batch_norm_without_parameters_is_frozen_with_the_module_around_it() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False)),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    classifier = Classifier(network, ["3"], {"0": ["0"], "1": ["1"]})
    freezing.apply("first_stages_frozen:1", classifier, epoch=0)
    freezing.train_mode(classifier)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [False, True]


def test_gradual_unfreezing_goes_from_the_top_down() -> None:
    classifier = build_network(CNN, IMAGE, 3)
    stages = {location.name: location.stage for location in classifier.parameter_locations()}
    seen = []
    for epoch in range(10):
        freezing.apply("gradual_unfreezing:2", classifier, epoch)
        seen.append(len({stages[name] for name in trained(classifier)}))
        assert "head" in {stages[name] for name in trained(classifier)}
    assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    freezing.apply("gradual_unfreezing:2", classifier, epoch=2)
    assert {stages[name] for name in trained(classifier)} == {"head", "dense.1"}
    assert resolve("gradual_unfreezing:2", classifier.parameter_locations()).trains_ever() == set(
        stages
    )


RESNET, ALEXNET, SQUEEZENET, DENSENET = "resnet18", "alexnet", "squeezenet1_0", "densenet121"


def _is_norm_of_resnet(name: str) -> bool:
    return "bn" in name or "downsample.1" in name


@pytest.mark.parametrize(
    ("architecture", "policy", "trains"),
    [
        *(
            (architecture, "head_only", of_prefix(head))
            for architecture, head in [
                (RESNET, "fc."),
                (ALEXNET, "classifier.6."),
                (SQUEEZENET, "classifier.1."),
                (DENSENET, "classifier."),
            ]
        ),
        *(
            (architecture, "nothing_frozen", without())
            for architecture in (RESNET, ALEXNET, SQUEEZENET, DENSENET)
        ),
        (RESNET, "convolutions_frozen", lambda n: n.startswith("fc.") or _is_norm_of_resnet(n)),
        (RESNET, "fully_connected_frozen", without("fc.")),
        (RESNET, "head_and_stage:layer4", of_prefix("layer4.", "fc.")),
        (RESNET, "head_and_batch_norms", lambda n: n.startswith("fc.") or _is_norm_of_resnet(n)),
        (RESNET, "head_and_convolutions", lambda name: not _is_norm_of_resnet(name)),
        (RESNET, "train_pattern:layer[34]|^fc", of_prefix("layer3.", "layer4.", "fc.")),
        (RESNET, "freeze_pattern:layer1", without("layer1.")),
        (ALEXNET, "convolutions_frozen", of_prefix("classifier.")),
        (ALEXNET, "fully_connected_frozen", of_prefix("features.")),
        (ALEXNET, "fully_connected_frozen_except_head", of_prefix("features.", "classifier.6.")),
        (ALEXNET, "head_and_convolutions", of_prefix("features.", "classifier.6.")),
        (SQUEEZENET, "convolutions_frozen", of_prefix("classifier.1.")),
        (SQUEEZENET, "freeze_pattern:squeeze", lambda name: "squeeze" not in name),
        (DENSENET, "convolutions_frozen", lambda n: "conv" not in n.split(".")[-2]),
        (DENSENET, "head_and_batch_norms", lambda n: "norm" in n or n.startswith("classifier.")),
    ],
)
def test_exactly_the_right_parameters_of_torchvision_networks_train(
    architecture: str, policy: str, trains: Trains
) -> None:
    classifier = torchvision_network(architecture)
    freezing.apply(policy, classifier, epoch=0)
    assert trained(classifier) == [name for name in names(classifier) if trains(name)]
    freezing.train_mode(classifier)
    for name, module in classifier.network.named_modules():
        is_frozen_norm = isinstance(module, nn.BatchNorm2d) and not trains(f"{name}.weight")
        assert module.training != is_frozen_norm, name


@pytest.mark.parametrize("architecture", [RESNET, ALEXNET, SQUEEZENET, DENSENET])
def test_stages_are_counted_from_the_input(architecture: str) -> None:
    classifier = torchvision_network(architecture)
    locations = classifier.parameter_locations()
    stages = list(classifier.stages)
    for count in range(1, len(stages)):
        ever = resolve(f"first_stages_frozen:{count}", locations).trains_ever()
        assert {p.stage for p in locations if p.name in ever} == {*stages[count:], "head"}
    for height in range(len(stages) + 1):
        at = resolve("gradual_unfreezing:3", locations).trains_at(3 * height)
        assert {p.stage for p in locations if p.name in at} == {
            "head", *stages[len(stages) - height :]
        }  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "parts"),
    [
        (RESNET, ["layer2.0.downsample", "layer3.0.downsample", "layer4.0.downsample"]),
        ("resnext50_32x4d", [f"layer{n}.0.downsample" for n in (1, 2, 3, 4)]),
        (DENSENET, [f"features.transition{n}" for n in (1, 2, 3)]),
        ("regnet_y_400mf", [f"trunk_output.block{n}.block{n}-0.proj" for n in (1, 2, 3, 4)]),
        ("shufflenet_v2_x0_5", [f"stage{n}.0.branch1" for n in (2, 3, 4)]),
        ("swin_t", [f"features.{n}" for n in (2, 4, 6)]),
        ("swin_v2_t", [f"features.{n}" for n in (2, 4, 6)]),
        ("convnext_tiny", [f"features.{n}" for n in (2, 4, 6)]),
        ("maxvit_t", [f"blocks.{n}.layers.0.layers.MBconv.proj" for n in range(4)]),
        ("inception_v3", ["Mixed_6a", "Mixed_7a"]),
        *((name, []) for name in (ALEXNET, SQUEEZENET, "vgg11_bn", "googlenet", "vit_b_16")),
        *((name, []) for name in ("mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5")),
        *((name, []) for name in ("efficientnet_b0", "efficientnet_v2_s")),
    ],
)
def test_downsampling_parts_of_each_family(architecture: str, parts: list[str]) -> None:
    classifier = torchvision_network(architecture)
    found = [
        location.name for location in classifier.parameter_locations() if location.downsampling
    ]
    prefixes = tuple(f"{part}." for part in parts)
    assert sorted(found) == sorted(n for n in names(classifier) if n.startswith(prefixes))
    for prefix in prefixes:
        assert any(name.startswith(prefix) for name in found)


def test_attentions_input_projection_is_a_linear_layer() -> None:
    kinds = {
        location.name: location.layer
        for location in torchvision_network("vit_b_16").parameter_locations()
    }
    attention = "encoder.layers.encoder_layer_0.self_attention"
    assert kinds[f"{attention}.in_proj_weight"] == kinds[f"{attention}.in_proj_bias"] == "linear"
    assert kinds["class_token"] == kinds["encoder.ln.weight"] == "other"


def test_nothing_of_an_svm_trains_and_its_policy_says_so() -> None:
    settings = SvmSettings(backbone=RESNET, weights="none")
    with torch.device("meta"):
        classifier = build_network(settings, (3, 64, 64), 5, with_weights=False)
    classifier.network.requires_grad_(True)
    freezing.apply(settings.freeze_policy, classifier, epoch=0)
    assert trained(classifier) == []
    (line,) = resolve(settings.freeze_policy, classifier.parameter_locations()).lines()
    assert line.startswith("everything frozen: 60 parameters with 11,176,512 values, in ")


NOTHING_FROZEN = "no parameter would be frozen; if that is intended, choose 'nothing_frozen'"
NOTHING_TRAINS = "no parameter would train"


@pytest.mark.parametrize(
    ("settings", "policy", "message"),
    [
        (TorchvisionSettings(architecture=ALEXNET), "head_and_batch_norms", "'batch norms trains'"),
        (
            TorchvisionSettings(architecture=ALEXNET),
            "head_and_downsampling",
            "no downsampling layers known",
        ),
        (TorchvisionSettings(architecture=SQUEEZENET), "fully_connected_frozen", "convolution ("),
        (TorchvisionSettings(architecture=SQUEEZENET), "head_and_convolutions", NOTHING_FROZEN),
        (TorchvisionSettings(architecture=RESNET), "nothing_trains", NOTHING_TRAINS),
        (TorchvisionSettings(architecture=RESNET), "head_and_stage:layer5", "layer4, head"),
        (TorchvisionSettings(architecture=RESNET), "head_and_stage:head", "'stage head trains'"),
        (CNN, "first_stages_frozen:5", "'stage 5 from the input frozen'"),
        (CNN, "train_pattern:conv", "'names with conv trains'"),
        (CNN, "train_pattern:.", NOTHING_FROZEN),
        (CNN, "freeze_pattern:.", NOTHING_TRAINS),
        (CNN, "nothing_trains", NOTHING_TRAINS),
        (CnnSettings(dense=()), "head_and_convolutions", NOTHING_FROZEN),
        (SvmSettings(backbone=RESNET, weights="none"), "head_only", "'head trains'"),
        (SvmSettings(backbone=RESNET, weights="none"), "freeze_pattern:.", NOTHING_TRAINS),
    ],
)
def test_a_rule_without_a_match_and_a_policy_of_nothing_or_everything_are_refused(
    settings: NetworkSettings, policy: str, message: str
) -> None:
    with torch.device("meta"):
        locations = build_network(
            settings, (3, 64, 64), 5, with_weights=False
        ).parameter_locations()
    with pytest.raises(FreezeError) as error:
        resolve(policy, locations)
    assert f"freeze_policy = {policy!r} does not fit this network" in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("head", "choose from nothing_frozen, from_scratch, nothing_trains, head_only"),
        ("hed_only", "nearest: head_only"),
        ("first_stages", "first_stages_frozen:COUNT"),
        ("head_only:3", "head_only takes no argument"),
        ("head_only:", "head_only takes no argument"),
        ("head_and_stage", "head_and_stage needs its argument: head_and_stage:STAGE"),
        ("first_stages_frozen:", "first_stages_frozen needs its argument"),
        ("first_stages_frozen:0", "COUNT must be a whole number above 0, is '0'"),
        ("first_stages_frozen:-1", "COUNT must be a whole number above 0"),
        ("gradual_unfreezing:1.5", "EPOCHS must be a whole number above 0, is '1.5'"),
        ("first_stages_frozen:1001", "COUNT must be at most 1,000, is '1001'"),
        ("train_pattern:(", "PATTERN must be a regular expression, is '('"),
        ("train_pattern:(?=fc)", "neither lookaround nor backreferences"),
        (r"freeze_pattern:(a)\1", "neither lookaround nor backreferences"),
        ("train_pattern:(a{1000}){1000}", "PATTERN must be a regular expression"),
        ("train_pattern:\udcff", "is not Unicode"),
    ],
)
def test_wrong_policies(policy: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(CnnSettings, {"freeze_policy": policy}, "the network")
    assert f"freeze_policy = {policy!r}: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("pattern", ["(.*.*)*!", "(.+)+!", "(.|.|.)*!", "(?:.?){900}.{900}!"])
def test_patterns_that_explode_in_other_engines(pattern: str) -> None:
    names = [f"features.denseblock4.denselayer{n}.conv1.weight" for n in range(500)]
    locations = [ParameterLocation(name, "features", 0, "convolution", False, 1) for name in names]
    lines = resolve(f"freeze_pattern:{pattern}|5", locations).lines()
    assert any("frozen: 95 parameters" in line for line in lines)


def test_from_scratch_refuses_weights() -> None:
    with pytest.raises(ConfigError, match="'from_scratch' trains random weights, but weights = "):
        parse(CnnSettings, {"freeze_policy": "from_scratch", "weights": "cnn.pt"}, "the network")


def test_the_description_of_a_policy() -> None:
    locations = build_network(
        CnnSettings(num_blocks=2, filters=4, dense=6), IMAGE, 3
    ).parameter_locations()
    assert resolve("convolutions_frozen", locations).lines() == [
        "convolutions frozen: 4 parameters with 408 values, in blocks.0, blocks.1",
        "everything else trains: 2 parameters with 198 values, in dense.0",
        "head trains: 2 parameters with 21 values, in head",
    ]
    rows = resolve("gradual_unfreezing:2", locations).stages()
    assert [(row.stage, row.num_values, row.num_trainable) for row in rows] == [
        ("blocks.0", 112, 112), ("blocks.1", 296, 296), ("dense.0", 198, 198), ("head", 21, 21),
    ]  # fmt: skip
    assert rows[0].rules == ("stages from the top down trains after 6 epochs",)
    (row, *_) = resolve("freeze_pattern:bias", locations).stages()
    assert (row.num_values, row.num_trainable) == (112, 108)
    assert row.rules == ("everything else trains", "names with bias frozen")
