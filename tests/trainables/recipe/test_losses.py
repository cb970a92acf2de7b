"""Losses, each against its formula written out; and where their gradients go."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from toprung.trainables.networks.classifier import Outputs
from toprung.trainables.recipe.loss_modules import AUXILIARY_WEIGHT
from toprung.trainables.recipe.losses import CrossEntropy, Loss
from toprung.trainables.system.typed_settings import ConfigError, parse

NUM_CLASSES, NUM_FEATURES = 3, 5
COUNTS = np.array([6, 3, 1])
TARGETS = torch.tensor([0, 0, 1, 2, 0, 1, 1, 0])
EVERY: list[dict[str, Any]] = [
    {"name": "cross_entropy"},
    {"name": "center", "alpha": 0.5},
    {"name": "triplet", "mining": "all"},
    {"name": "triplet", "mining": "hard"},
    {"name": "triplet", "mining": "semihard"},
]


def settings_of(**values: Any) -> Any:
    return TypeAdapter(Loss).validate_python(values)


def build(**values: Any) -> nn.Module:
    module: nn.Module = settings_of(**values).build(NUM_CLASSES, NUM_FEATURES, COUNTS)
    return module


def some_outputs(num_images: int = len(TARGETS), *, num_auxiliary: int = 0) -> Outputs:
    draw = torch.Generator().manual_seed(4)
    logits = [
        torch.randn(num_images, NUM_CLASSES, generator=draw) for _ in range(1 + num_auxiliary)
    ]
    features = torch.randn(num_images, NUM_FEATURES, generator=draw).requires_grad_()
    return Outputs(logits[0].requires_grad_(), features, tuple(logits[1:]))


def log_probabilities(logits_BK: Tensor) -> NDArray[np.float64]:
    logits = logits_BK.detach().double().numpy()
    result: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return result


def cross_entropy(outputs: Outputs) -> float:
    rows = np.arange(len(TARGETS))
    return float(-log_probabilities(outputs.logits_BK)[rows, TARGETS].mean())


class TestCrossEntropy:
    def test_plain(self) -> None:
        outputs = some_outputs()
        assert build(name="cross_entropy")(outputs, TARGETS).item() == pytest.approx(
            cross_entropy(outputs), rel=1e-6
        )

    def test_label_smoothing(self) -> None:
        outputs = some_outputs()
        targets_BK = np.eye(NUM_CLASSES)[TARGETS] * 0.7 + 0.3 / NUM_CLASSES
        expected = -(targets_BK * log_probabilities(outputs.logits_BK)).sum(1).mean()
        loss = build(name="cross_entropy", label_smoothing=0.3)
        assert loss(outputs, TARGETS).item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("class_weights", ["balanced", [0.5, 2.0, 3.0]])
    def test_class_weights(self, class_weights: Any) -> None:
        balanced = COUNTS.sum() / (NUM_CLASSES * COUNTS)
        weights_K = balanced if class_weights == "balanced" else np.array(class_weights)
        outputs, rows = some_outputs(), np.arange(len(TARGETS))
        weights_B = weights_K[TARGETS]
        losses_B = -log_probabilities(outputs.logits_BK)[rows, TARGETS]
        expected = (weights_B * losses_B).sum() / weights_B.sum()
        loss = build(name="cross_entropy", class_weights=class_weights)
        assert loss(outputs, TARGETS).item() == pytest.approx(expected, rel=1e-5)

    def test_soft_targets_with_weights_and_smoothing(self) -> None:
        outputs, share = some_outputs(), 0.4
        targets_BK = torch.eye(NUM_CLASSES)[TARGETS] * share
        targets_BK = targets_BK + torch.eye(NUM_CLASSES)[TARGETS.flip(0)] * (1 - share)
        smoothed_BK = targets_BK.numpy() * 0.9 + 0.1 / NUM_CLASSES
        weights_K = np.array([0.5, 2.0, 3.0])
        log_p_BK = log_probabilities(outputs.logits_BK)
        expected = -(smoothed_BK * log_p_BK * weights_K).sum(1).mean()
        loss = build(name="cross_entropy", class_weights=[0.5, 2, 3], label_smoothing=0.1)
        assert loss(outputs, targets_BK).item() == pytest.approx(expected, rel=1e-5)

    def test_weights_that_do_not_fit_the_classes(self) -> None:
        with pytest.raises(ConfigError, match=r"class_weights has 2 weights, but .* has 3 cl"):
            build(name="cross_entropy", class_weights=[1, 2])
        balanced = settings_of(name="cross_entropy", class_weights="balanced")
        with pytest.raises(ConfigError, match="class 1 has no training images"):
            balanced.build(3, NUM_FEATURES, np.array([2, 0, 2]))
        with pytest.raises(ConfigError, match="class_weights"):
            parse(CrossEntropy, {"class_weights": [1, 0]}, "loss")


@pytest.mark.parametrize("settings", EVERY, ids=str)
class TestEveryLoss:
    def test_auxiliary_heads_add_their_cross_entropy(self, settings: dict[str, Any]) -> None:
        loss = build(**settings)
        outputs = some_outputs(num_auxiliary=2)
        without = Outputs(outputs.logits_BK, outputs.features_BF)
        extra = sum(
            nn.functional.cross_entropy(logits, TARGETS) for logits in outputs.auxiliary_logits
        )
        expected = loss(without, TARGETS) + AUXILIARY_WEIGHT * extra
        torch.testing.assert_close(loss(outputs, TARGETS), expected)

    def test_gradients_reach_what_it_judges(self, settings: dict[str, Any]) -> None:
        loss, outputs = build(**settings), some_outputs()
        loss(outputs, TARGETS).backward()
        assert outputs.logits_BK.grad is not None
        of_features = outputs.features_BF.grad is not None
        assert of_features == (settings["name"] != "cross_entropy")
        if outputs.features_BF.grad is not None:
            assert outputs.features_BF.grad.abs().sum() > 0
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())

    def test_is_repeatable(self, settings: dict[str, Any]) -> None:
        results = [build(**settings)(some_outputs(), TARGETS).item() for _ in range(2)]
        assert results[0] == results[1]

    def test_a_batch_of_one_image(self, settings: dict[str, Any]) -> None:
        loss = build(**settings)(some_outputs(1), TARGETS[:1])
        loss.backward()
        assert loss.isfinite()

    def test_parameters_of_its_own_have_a_learning_rate(self, settings: dict[str, Any]) -> None:
        has_parameters = any(True for _ in build(**settings).parameters())
        assert has_parameters == (settings_of(**settings).own_lr is not None)

    def test_label_smoothing_is_that_of_its_cross_entropy(self, settings: dict[str, Any]) -> None:
        outputs = some_outputs()
        added = [
            build(**settings, label_smoothing=smoothing)(outputs, TARGETS)
            - build(name="cross_entropy", label_smoothing=smoothing)(outputs, TARGETS)
            for smoothing in (0, 0.2)
        ]
        torch.testing.assert_close(added[0], added[1])


class TestCenter:
    def test_value(self) -> None:
        outputs = some_outputs()
        loss = build(name="center", alpha=0.25)
        with torch.no_grad():
            for centers in loss.parameters():
                centers.copy_(torch.arange(15.0).reshape(3, 5) / 10)
        distances = outputs.features_BF.detach().numpy() - centers.detach().numpy()[TARGETS]
        expected = cross_entropy(outputs) + 0.25 * (distances**2).sum(1).mean() / 2
        assert loss(outputs, TARGETS).item() == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("alpha", [0.0, 0.003, 10.0])
    def test_sgd_moves_the_centers_by_the_papers_rule(self, alpha: float) -> None:
        outputs, loss = some_outputs(), build(name="center", alpha=alpha)
        (centers_KF,) = loss.parameters()
        features_BF = outputs.features_BF.detach().numpy()
        expected_KF = np.zeros((NUM_CLASSES, NUM_FEATURES))
        for _ in range(3):
            (gradient_KF,) = torch.autograd.grad(loss(outputs, TARGETS), [centers_KF])
            centers_KF.data -= 0.5 * gradient_KF
            for number in range(NUM_CLASSES):
                own = features_BF[number == TARGETS]
                expected_KF[number] -= 0.5 * (expected_KF[number] - own).sum(0) / (1 + len(own))
        np.testing.assert_allclose(centers_KF.detach(), expected_KF, rtol=1e-4, atol=1e-6)

    def test_features_are_drawn_to_their_centers_by_alpha(self) -> None:
        outputs, loss = some_outputs(), build(name="center", alpha=0.25)
        loss(outputs, TARGETS).backward()
        assert outputs.features_BF.grad is not None
        expected = 0.25 * outputs.features_BF.detach() / len(TARGETS)
        torch.testing.assert_close(outputs.features_BF.grad, expected)

    def test_centers_are_in_the_state(self) -> None:
        trained, fresh = build(name="center"), build(name="center")
        with torch.no_grad():
            next(trained.parameters()).fill_(0.3)
        outputs = some_outputs()
        assert trained(outputs, TARGETS) != fresh(outputs, TARGETS)
        fresh.load_state_dict(trained.state_dict())
        assert trained(outputs, TARGETS) == fresh(outputs, TARGETS)


def triplets(features_BF: Tensor) -> list[tuple[int, float]]:
    """The anchor of every triplet, and by how much its negative is farther than its positive."""
    unit_BF = features_BF.detach().double().numpy()
    unit_BF = unit_BF / np.linalg.norm(unit_BF, axis=1, keepdims=True)
    squared_BB = ((unit_BF[:, None] - unit_BF[None]) ** 2).sum(2)
    return [
        (a, squared_BB[a, n] - squared_BB[a, p])
        for a, p, n in itertools.permutations(range(len(unit_BF)), 3)
        if TARGETS[a] == TARGETS[p] != TARGETS[n]
    ]


class TestTriplet:
    @pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
    @pytest.mark.parametrize("margin", [0.2, 1.0])
    def test_value(self, mining: str, margin: float) -> None:
        outputs = some_outputs()
        of_anchor = triplets(outputs.features_BF)
        gaps = [gap for _, gap in of_anchor]
        if mining == "hard":
            gaps = [min(g for b, g in of_anchor if b == a) for a in {a for a, _ in of_anchor}]
        elif mining == "semihard":
            gaps = [gap for gap in gaps if gap > 0]
        violations = [margin - gap for gap in gaps if gap < margin]
        assert len(violations) > 3
        expected = cross_entropy(outputs) + 0.5 * np.mean(violations)
        loss = build(name="triplet", weight=0.5, margin=margin, mining=mining)
        assert loss(outputs, TARGETS).item() == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
    @pytest.mark.parametrize(
        "targets",
        [torch.zeros(4, dtype=torch.int64), torch.tensor([0, 1, 2, 2])[:3]],
        ids=["one class", "no two of a class"],
    )
    def test_a_batch_without_triplets_adds_0(self, mining: str, targets: Tensor) -> None:
        outputs = some_outputs(len(targets))
        loss = build(name="triplet", mining=mining)(outputs, targets)
        assert loss == build(name="cross_entropy")(outputs, targets)
        loss.backward()
        assert outputs.features_BF.grad is not None
        assert (outputs.features_BF.grad == 0).all()

    def test_equal_features_give_finite_gradients(self) -> None:
        features = torch.ones(len(TARGETS), NUM_FEATURES).requires_grad_()
        loss = build(name="triplet")(Outputs(some_outputs().logits_BK, features), TARGETS)
        loss.backward()
        assert features.grad is not None
        assert features.grad.isfinite().all()


def test_only_cross_entropy_takes_soft_targets() -> None:
    soft = {name: settings_of(name=name).takes_soft_targets for name in ("center", "triplet")}
    assert soft == {"center": False, "triplet": False}
    assert settings_of(name="cross_entropy").takes_soft_targets
