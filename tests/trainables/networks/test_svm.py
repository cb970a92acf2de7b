"""The SVM on a network's features: scikit-learn's own scores, as a network like any other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from torchvision import models

from tests.support.helpers import TRUSTED, figures, tiny_data
from toprung.analysis.models.model import model_from_checkpoint
from toprung.trainables.config import TrialConfig, as_plain
from toprung.trainables.inference.summary import summarise
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.parameter_locations import HEAD
from toprung.trainables.networks.svm import SvmHead
from toprung.trainables.networks.svm_settings import SvmSettings, refuse_unused
from toprung.trainables.results.records import Record
from toprung.trainables.system.typed_settings import ConfigError, parse
from toprung.trainables.training.fit_svm import fit_svm, fitted_state
from toprung.trainables.training.state import read_checkpoint

SCALERS = {"none": FunctionTransformer, "standard": StandardScaler, "min_max": MinMaxScaler}
NUM_FEATURES = 8
DATA = tiny_data(18, 9, num_classes=3, shape_HWC=(64, 64, 3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18's, by chance."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.manual_seed(3)
    torch.save(models.resnet18().state_dict(), path)
    return path


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def config(weights: Path | str = "none", **settings: Any) -> TrialConfig:
    model = {"architecture": "svm", "backbone": "resnet18", "weights": str(weights)}
    values = {"data": {"source": "tiny", "image_size": 64}, "model": model} | settings
    return parse(TrialConfig, values, "config")


def svm(**settings: Any) -> SvmSettings:
    values = {"backbone": "resnet18", "weights": "none"} | settings
    return parse(SvmSettings, values, "svm")


def points(num_images: int, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """features_NF, one of them constant, and labels_N of classes that overlap."""
    rng = np.random.default_rng(5)
    labels_N = rng.permutation(np.arange(num_images) % num_classes)
    features_NF = rng.normal(3, 2, (num_images, NUM_FEATURES)).astype(np.float32)
    features_NF[:, :num_classes] += 2 * np.eye(num_classes, dtype=np.float32)[labels_N]
    features_NF[:, -1] = 0.5
    return features_NF, labels_N


def fitted_head(settings: SvmSettings, num_classes: int) -> SvmHead:
    head = SvmHead(settings.kernel, settings.degree, NUM_FEATURES, num_classes)
    head.load_state_dict(fitted_state(settings, *points(120, num_classes)))
    return head


class TestHead:
    @pytest.mark.parametrize("num_classes", [2, 3, 6])
    @pytest.mark.parametrize("scaling", SCALERS)
    @pytest.mark.parametrize(
        "kernel",
        [
            {"kernel": "rbf"},
            {"kernel": "rbf", "gamma": 0.2},
            {"kernel": "linear"},
            {"kernel": "poly", "gamma": "auto"},
            {"kernel": "poly", "degree": 2},
        ],
        ids=lambda kernel: "-".join(map(str, kernel.values())),
    )
    def test_scores_as_scikit_learn_does(
        self, num_classes: int, scaling: str, kernel: dict[str, Any]
    ) -> None:
        head = fitted_head(svm(scaling=scaling, c=2.0, **kernel), num_classes)
        # Without break_ties, scikit-learn's predict does not follow its own decision function.
        reference = SVC(C=2.0, break_ties=num_classes > 2, **kernel)
        pipeline = make_pipeline(SCALERS[scaling](), reference)
        features_NF, labels_N = points(120, num_classes)
        pipeline.fit(features_NF.astype(np.float64), labels_N)
        new_NF, _ = points(77, num_classes)
        scores_NK = head(torch.from_numpy(new_NF))
        expected = pipeline.decision_function(new_NF.astype(np.float64))
        if num_classes == 2:
            expected = np.stack([-expected, expected], 1)
        np.testing.assert_allclose(scores_NK, expected, rtol=1e-6, atol=1e-6)
        predicted_N = pipeline.predict(new_NF.astype(np.float64))
        assert np.array_equal(scores_NK.argmax(1), predicted_N)

    def test_a_state_goes_into_a_head_of_any_size(self) -> None:
        head, other = fitted_head(svm(c=0.1), 3), fitted_head(svm(c=100.0), 3)
        assert len(head.support_features) != len(other.support_features)
        other.load_state_dict(head.state_dict())
        features_BF = torch.from_numpy(points(10, 3)[0])
        assert torch.equal(head(features_BF), other(features_BF))

    def test_a_state_of_other_classes_is_refused(self) -> None:
        state = fitted_head(svm(), 3).state_dict()
        with pytest.raises(RuntimeError, match="size mismatch for intercepts"):
            SvmHead("rbf", 3, NUM_FEATURES, 4).load_state_dict(state)

    def test_a_state_without_support_vectors_is_refused(self) -> None:
        state = fitted_head(svm(), 3).state_dict()
        del state["support_features"]
        with pytest.raises(RuntimeError, match=r"Missing key.*support_features"):
            SvmHead("rbf", 3, NUM_FEATURES, 3).load_state_dict(state)


class TestNetwork:
    @pytest.mark.parametrize(
        ("backbone", "num_features"), [("resnet18", 512), ("squeezenet1_0", 512)]
    )
    def test_is_the_backbone_with_an_svm_for_a_head(self, backbone: str, num_features: int) -> None:
        classifier = build_network(svm(backbone=backbone), (3, 64, 64), 3)
        images_BCHW = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            outputs = classifier(images_BCHW)
            features_BF = classifier.network.get_submodule("backbone")(images_BCHW)
        assert outputs.logits_BK.shape == (2, 3)
        assert outputs.features_BF.shape == (2, num_features)
        assert torch.equal(outputs.features_BF, features_BF)

    def test_nothing_of_it_trains(self) -> None:
        classifier = build_network(svm(), (3, 64, 64), 3)
        network = classifier.network.train()
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert HEAD not in {location.stage for location in classifier.parameter_locations()}

    @pytest.mark.parametrize("backbone", ["googlenet", "vit_b_16", "densenet121"])
    def test_any_backbone_will_do(self, backbone: str) -> None:
        with torch.device("meta"):
            classifier = build_network(svm(backbone=backbone), (3, 224, 224), 3, with_weights=False)
            outputs = classifier(torch.empty(2, 3, 224, 224))
        assert outputs.logits_BK.shape == (2, 3)
        assert outputs.auxiliary_logits == ()
        num_placed = len(classifier.parameter_locations())
        assert num_placed == len(list(classifier.network.parameters()))

    def test_can_be_summed_up_before_it_is_fitted(self) -> None:
        with torch.device("meta"):
            network = build_network(svm(), (3, 64, 64), 3, with_weights=False).network
        summary = summarise(network, (3, 64, 64))
        assert summary.layers[-1].output_shape == (3,)
        assert summary.num_trainable == 0


class TestFitting:
    def test_yields_one_finished_validation(self, weights: Path) -> None:
        (validation,) = fit_svm(config(weights), DATA)
        assert validation.finished
        assert validation.best == validation.record
        assert validation.record.epoch == validation.record.validation == 1
        assert validation.record.train_accuracy > 0.9

    def test_again_gives_the_same(self, weights: Path) -> None:
        (one,), (other,) = (fit_svm(config(weights), DATA) for _ in range(2))
        assert figures(one.record) == figures(other.record)

    def test_the_checkpoint_is_the_model(self, weights: Path, tmp_path: Path) -> None:
        (validation,) = fit_svm(config(weights), DATA)
        validation.save_checkpoint(tmp_path)
        weights.rename(weights.with_suffix(".moved"))  # the checkpoint is enough
        try:
            model = model_from_checkpoint(tmp_path, TRUSTED)
            logits_NK = model.logits(DATA.images_NHWC[DATA.validation_indices])
        finally:
            weights.with_suffix(".moved").rename(weights)
        correct_N = logits_NK.argmax(1).numpy() == DATA.labels_N[DATA.validation_indices]
        assert correct_N.mean() == validation.record.val_accuracy
        assert Record(**read_checkpoint(tmp_path)["best_record"]) == validation.record
        assert len(model.weights_bytes) > 0
        assert model.class_names == DATA.class_names

    def test_is_not_done_again(self, weights: Path, tmp_path: Path) -> None:
        (validation,) = fit_svm(config(weights), DATA)
        validation.save_checkpoint(tmp_path)
        longer = config(weights, training={"epochs": 20})
        weights.rename(weights.with_suffix(".moved"))  # nothing can be fitted without them
        try:
            (again,) = fit_svm(longer, DATA, resume_from=tmp_path)
        finally:
            weights.with_suffix(".moved").rename(weights)
        assert replace(again, save_checkpoint=validation.save_checkpoint) == validation
        before = read_checkpoint(tmp_path)
        again.save_checkpoint(tmp_path)
        after = read_checkpoint(tmp_path)
        assert TrialConfig.model_validate(after["config"]) == longer
        assert before["model"].keys() == after["model"].keys()
        assert all(torch.equal(t, after["model"][name]) for name, t in before["model"].items())

    def test_a_checkpoint_of_another_trial_is_refused(self, tmp_path: Path) -> None:
        (validation,) = fit_svm(config(seed=1), DATA)
        validation.save_checkpoint(tmp_path)
        with pytest.raises(ConfigError, match=r"another trial: seed = 2, was 1$"):
            next(fit_svm(config(seed=2), DATA, resume_from=tmp_path))

    def test_random_features_are_the_seed_s(self) -> None:
        losses = [next(fit_svm(config(seed=seed), DATA)).record.val_loss for seed in (1, 2, 1)]
        assert losses[0] == losses[2] != losses[1]

    def test_of_the_callers_randomness_nothing_is_used(self, weights: Path) -> None:
        before = torch.get_rng_state()
        list(fit_svm(config(weights), DATA))
        assert torch.equal(before, torch.get_rng_state())


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "mistake"),
        [
            ({"degree": 2}, "degree = 2 has no effect: kernel = 'rbf'"),
            ({"kernel": "linear", "gamma": 0.1}, "gamma = 0.1 has no effect: kernel = 'linear'"),
            ({"gamma": 0}, "gamma = 0: must be 'scale' or 'auto' or greater than 0"),
            ({"c": 0}, "c = 0: must be greater than 0"),
            ({"freeze_policy": "convolutions_frozen"}, "the backbone of an SVM is never trained"),
            ({"freeze_policy": "head_only"}, "or set it to 'nothing_trains'"),
            ({"backbone": "resnet19"}, "backbone = 'resnet19': .*nearest: .*resnet18"),
            ({"weights": "IMAGENET"}, "weights = 'IMAGENET': resnet18 has no such weights"),
        ],
        ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
    )
    def test_mistakes_are_reported(self, settings: dict[str, Any], mistake: str) -> None:
        with pytest.raises(ConfigError, match=mistake):
            svm(**settings)

    def test_weights_must_be_named(self) -> None:
        with pytest.raises(ConfigError, match="weights: is missing"):
            parse(SvmSettings, {"backbone": "resnet18"}, "svm")

    def test_the_data_and_the_file_are_the_backbone_s(self, weights: Path) -> None:
        settings = svm(weights=str(weights))
        assert settings.data_settings()["normalisation"] == "imagenet"
        assert settings.fetch_weights() == weights
        settings.check((3, 64, 64))

    def test_missing_weights_are_reported(self, tmp_path: Path) -> None:
        settings = svm(weights=str(tmp_path / "none.pth"))
        with pytest.raises(ConfigError, match=r"none\.pth: there is no such file"):
            settings.check((3, 64, 64))

    def test_come_back_from_plain_values(self) -> None:
        one = config()
        assert TrialConfig.model_validate(as_plain(one)) == one


class TestUnused:
    def test_the_settings_of_every_sweep_are_fine(self) -> None:
        given = config(training={"epochs": 3, "metric": "val_loss"}, seed=4)
        refuse_unused(given, given.training)

    @pytest.mark.parametrize(
        ("settings", "mistake"),
        [
            ({"optimizer": {"name": "sgd", "lr": 0.1}}, r"optimizer = {'lr': 0.1, 'name': 'sgd'}"),
            ({"loss": {"name": "center"}}, r"loss = {'name': 'center'}"),
            ({"lr_schedule": {"name": "cosine"}}, r"lr_schedule = {'name': 'cosine'}"),
            (
                {"training": {"batch_size": 8, "patience_epochs": 2}},
                "training/batch_size = 8, training/patience_epochs = 2: no effect",
            ),
        ],
        ids=["optimizer", "loss", "lr_schedule", "training"],
    )
    def test_others_are_refused(self, settings: dict[str, Any], mistake: str) -> None:
        with pytest.raises(ValueError, match=mistake):
            config(**settings)
