"""What every architecture keeps to: head, stages, freeze policies, gradients and checkpoints.

On the meta device, where nothing is computed, of every architecture there is; with numbers, of a
small one of each family.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from tests.support.helpers import TRUSTED, tiny_data
from toprung.analysis.models.model import model_from_checkpoint
from toprung.trainables.config import TrialConfig
from toprung.trainables.frozen_features import network_cut
from toprung.trainables.inference.predict import evaluation_mode
from toprung.trainables.networks import freezing
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.freeze_policies import policy_forms
from toprung.trainables.networks.freezing import FreezeError, resolve
from toprung.trainables.pretrained.catalogue import first
from toprung.trainables.results.records import Record
from toprung.trainables.training.state import TrainingState

NUM_CLASSES = 7
SIZES = {name: first(name).crop_size for name in models.list_models(module=models)} | {"cnn": 32}
FAMILIES = {
    "cnn": 8,
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
SLOW = {
    "alexnet", "convnext_tiny", "efficientnet_v2_s", "inception_v3", "maxvit_t",
    "resnext50_32x4d", "swin_v2_t", "vgg11_bn", "vit_b_32",
}  # fmt: skip
"""Those that take seconds to build and save."""
EACH = [
    pytest.param(name, marks=[] if name in FAMILIES else [pytest.mark.every_architecture])
    for name in SIZES
]
"""By default one of each family; `pytest -m every_architecture` runs the others."""


def config_of(architecture: str, size: int, **model: Any) -> TrialConfig:
    small = {"num_blocks": 2, "filters": 4, "batch_norm": "before"}
    return TrialConfig.model_validate(
        {
            "data": {"source": "tiny", "image_size": size},
            "model": {
                "architecture": architecture,
                **(small if architecture == "cnn" else {}),
                **model,
            },
        }
    )


def build(architecture: str, size: int) -> Classifier:
    return build_network(config_of(architecture, size).model, (3, size, size), NUM_CLASSES)


@dataclass(frozen=True)
class Parameter:
    """Where a parameter is, as torch tells it."""

    name: str
    layer: nn.Module
    in_head: bool
    in_first_stage: bool
    in_last_stage: bool
    downsampling: bool


class OnMeta:
    """A classifier on the meta device and its parameters."""

    def __init__(self, architecture: str) -> None:
        self.size = SIZES[architecture]
        with torch.device("meta"):
            self.classifier = build(architecture, self.size)
        self.locations = self.classifier.parameter_locations()
        network, stages = self.classifier.network, list(self.classifier.stages)
        self.parameters = [
            Parameter(
                location.name,
                network.get_submodule(location.name.rpartition(".")[0]),
                location.name.rpartition(".")[0] in self.classifier.heads,
                location.stage == stages[0],
                location.stage == stages[-1],
                location.downsampling,
            )
            for location in self.locations
        ]
        self.last_stage = stages[-1]


@pytest.fixture(scope="module", params=EACH)
def on_meta(request: pytest.FixtureRequest) -> OnMeta:
    return OnMeta(request.param)


def test_a_state_dict_holds_all_of_it(on_meta: OnMeta) -> None:
    network = on_meta.classifier.network  # what weights are loaded into is not initialised before
    assert not any(module._non_persistent_buffers_set for module in network.modules())


def test_it_has_a_head_and_stages_and_gives_logits_and_features(on_meta: OnMeta) -> None:
    classifier, size = on_meta.classifier, on_meta.size
    classifier.network.eval()
    outputs = classifier(torch.rand(2, 3, size, size, device="meta"))
    head = classifier.network.get_submodule(classifier.heads[0])
    assert isinstance(head, nn.Linear | nn.Conv2d)
    assert outputs.logits_BK.shape == (2, NUM_CLASSES)
    assert outputs.features_BF.shape == (2, classifier.num_features)
    assert head.weight.shape[:2] == (NUM_CLASSES, classifier.num_features)
    assert outputs.auxiliary_logits == ()
    assert [p.name for p in on_meta.locations if p.in_head] == [
        p.name for p in on_meta.parameters if p.in_head
    ]
    assert len(on_meta.locations) == len(list(classifier.network.parameters()))
    assert 3 <= len(classifier.stages) == len({p.stage for p in on_meta.locations}) - 1


def is_convolution(parameter: Parameter) -> bool:
    return isinstance(parameter.layer, nn.Conv2d)


def is_linear(parameter: Parameter) -> bool:
    return isinstance(parameter.layer, nn.Linear | nn.MultiheadAttention)


def in_head_or(also: Callable[[Parameter], bool]) -> Callable[[Parameter], bool]:
    return lambda parameter: parameter.in_head or also(parameter)


TRAINS: dict[str, Callable[[Parameter], bool]] = {
    "nothing_frozen": lambda _: True,
    "from_scratch": lambda _: True,
    "nothing_trains": lambda _: False,
    "head_only": lambda p: p.in_head,
    "convolutions_frozen": in_head_or(lambda p: not is_convolution(p)),
    "fully_connected_frozen": lambda p: not is_linear(p),
    "fully_connected_frozen_except_head": in_head_or(lambda p: not is_linear(p)),
    "first_stages_frozen:1": lambda p: not p.in_first_stage,
    "head_and_stage:LAST": in_head_or(lambda p: p.in_last_stage),
    "head_and_convolutions": in_head_or(is_convolution),
    "head_and_batch_norms": in_head_or(lambda p: isinstance(p.layer, nn.BatchNorm2d)),
    "head_and_downsampling": in_head_or(lambda p: p.downsampling),
    "train_pattern:bias$": lambda p: p.name.endswith("bias"),
    "freeze_pattern:bias$": lambda p: not p.name.endswith("bias"),
    "gradual_unfreezing:2": lambda _: True,
}
"""Of every policy, what is to train at some epoch. `LAST` stands for the last stage."""


def test_every_policy_is_tried() -> None:
    tried = {policy.partition(":")[0] for policy in TRAINS}
    assert tried == {form.partition(":")[0] for form in policy_forms()}


def test_a_policy_trains_what_it_says_or_is_refused_for_a_reason(on_meta: OnMeta) -> None:
    everything = {p.name for p in on_meta.parameters}
    heads = {p.name for p in on_meta.parameters if p.in_head}
    for form, trains in TRAINS.items():
        policy = form.replace("LAST", on_meta.last_stage)
        expected = {p.name for p in on_meta.parameters if trains(p)}
        try:
            assignment = resolve(policy, on_meta.locations)
        except FreezeError:
            # Nothing would train, or be frozen, or but the head be spoken of.
            assert expected in (set(), everything, heads), policy
            continue
        assert assignment.trains_ever() == expected, policy
        assert [a.location for a in assignment.assigned] == on_meta.locations


@pytest.mark.parametrize("on_meta", FAMILIES, indirect=True)
def test_the_gradient_reaches_every_parameter_that_trains(on_meta: OnMeta) -> None:
    classifier, size = on_meta.classifier, on_meta.size
    for policy in ("head_only", "nothing_frozen"):
        freezing.apply(policy, classifier, epoch=0)
        freezing.train_mode(classifier)
        outputs = classifier(torch.rand(2, 3, size, size, device="meta"))
        losses = [logits.sum() for logits in (outputs.logits_BK, *outputs.auxiliary_logits)]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        trains = resolve(policy, classifier.parameter_locations()).trains_ever()
        named = classifier.network.named_parameters()
        assert {name for name, p in named if p.grad is not None} == trains


@pytest.mark.parametrize(("architecture", "size"), FAMILIES.items())
def test_cut_where_its_frozen_part_ends_it_is_the_same_network(
    architecture: str, size: int
) -> None:
    model = config_of(architecture, size).model
    classifier = build_network(model, (3, size, size), NUM_CLASSES)
    images_BCHW = torch.randn(2, 3, size, size)
    half = f"first_stages_frozen:{len(classifier.stages) // 2}"
    for policy in [half] if architecture in SLOW else ["head_only", half]:
        freezing.apply(policy, classifier, epoch=0)
        freezing.train_mode(classifier)
        trains = resolve(policy, classifier.parameter_locations()).trains_ever()
        cut = network_cut.cut(classifier, trains, images_BCHW)
        assert cut is not None
        with torch.no_grad(), evaluation_mode(cut.prefix):
            values = cut.prefix(images_BCHW)
        for seed in range(2):
            torch.manual_seed(seed)
            whole = classifier(images_BCHW)
            torch.manual_seed(seed)
            rest = classifier.outputs(cut.suffix(*values))
            torch.testing.assert_close(vars(rest), vars(whole), rtol=1e-4, atol=1e-4)
            classifier.network.eval()


@pytest.mark.parametrize(
    ("architecture", "size"), [item for item in FAMILIES.items() if item[0] not in SLOW]
)
def test_a_checkpoint_is_the_model_with_torchvisions_own_weights(
    architecture: str, size: int, tmp_path: Path
) -> None:
    config = config_of(architecture, size)
    data = tiny_data(4, 2, num_classes=NUM_CLASSES, shape_HWC=(size, size, 3))
    state = TrainingState(config, data, 1, torch.device("cpu"))
    record = Record(1, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    state.keep(record)
    state.save(tmp_path)
    model = model_from_checkpoint(tmp_path, TRUSTED)
    images = torch.rand(1, 3, size, size)
    # Convolutions round differently where the channels lie last, as they do in training.
    network = state.classifier.network.eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        expected = network(images)
        assert torch.equal(model.network(images), expected)
        if architecture != "cnn":
            options = {"init_weights": False} if state.classifier.heads[1:] else {}
            theirs = models.get_model(architecture, num_classes=NUM_CLASSES, **options)
            theirs.load_state_dict(model.weights)
            # SqueezeNet's own last layer is a ReLU, which is left out after a new head.
            same = expected.relu() if architecture.startswith("squeezenet") else expected
            assert torch.equal(theirs.eval()(images), same)
    assert model.class_names == data.class_names
    assert np.array_equal(model.mean, data.mean)
