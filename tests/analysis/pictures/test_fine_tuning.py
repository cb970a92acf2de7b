"""What fine-tuning changed: the network before its training, against the loop that trains it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torch import Tensor

from tests.analysis.test_sweep import CONFIG, Made
from tests.support.helpers import tiny_config, tiny_data
from toprung.analysis.drawing.picture import Rows, parts_in
from toprung.analysis.findings.before_training import before_and_after, network_before_training
from toprung.analysis.findings.results import Results
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.pictures import fine_tuning as pictures
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData, prepare
from toprung.trainables.networks.build import build_network
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.fit import fit
from toprung.trainables.training.state import read_checkpoint


def weights_of_first_validation(
    config: TrialConfig, data: TrainingData, folder: Path
) -> dict[str, Tensor]:
    next(fit(config, data)).save_checkpoint(folder)
    weights: dict[str, Tensor] = read_checkpoint(folder)["model"]
    return weights


class TestNetwork:
    def test_it_is_what_fit_starts_from(self, tmp_path: Path) -> None:
        """With a learning rate of all but nothing, training leaves the weights where they are."""
        config = tiny_config(optimizer={"name": "sgd", "lr": 1e-30}, seed=11)
        data = tiny_data()
        state = torch.get_rng_state()
        before = network_before_training(config, data).state_dict()
        assert torch.equal(torch.get_rng_state(), state)
        after = weights_of_first_validation(config, data, tmp_path)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_pretrained_weights_and_a_new_head_by_the_seed(self, tmp_path: Path) -> None:
        data = tiny_data(shape_HWC=(32, 32, 3))
        torch.manual_seed(1)
        values: dict[str, Any] = {"data": {"source": "tiny", "image_size": 32, "channels": 3}}
        config = TrialConfig.model_validate(values | {"model": {"architecture": "squeezenet1_1"}})
        pretrained = build_network(config.model, (3, 32, 32), 1000)
        torch.save(pretrained.network.state_dict(), tmp_path / "weights.pth")
        model = {"architecture": "squeezenet1_1", "weights": str(tmp_path / "weights.pth")}
        networks = [
            network_before_training(
                TrialConfig.model_validate(values | {"model": model, "seed": seed}), data
            ).state_dict()
            for seed in (0, 0, 1)
        ]
        body = "features.0.weight"
        assert torch.equal(networks[0][body], pretrained.network.state_dict()[body])
        head = [network["classifier.1.weight"] for network in networks]
        assert torch.equal(head[0], head[1])
        assert not torch.equal(head[0], head[2])

    def test_an_svm_has_no_before(self) -> None:
        values = {"architecture": "svm", "backbone": "squeezenet1_1", "weights": "none"}
        config = TrialConfig.model_validate({"data": {"source": "tiny"}, "model": values})
        model = TrainedModel(config, {}, ("a", "b"), (0.5,) * 3, (0.5,) * 3)
        with pytest.raises(ConfigError, match="cannot be compared with its state before training"):
            before_and_after(model, tiny_data())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        config = CONFIG.model_copy(update={"data": prepare(CONFIG.data).settings})
        made = Made(tmp_path_factory.mktemp("sweeps") / "my sweep", config)
        made.trial(attributes.FINISHED)
        yield Sweep(made.folder.path)


@pytest.fixture(scope="module")
def asked(sweep: Sweep) -> Results:
    return Results(sweep, before=True)


class TestPictures:
    def test_only_where_it_is_asked_for(self, sweep: Sweep, asked: Results) -> None:
        parts = list(parts_in(pictures))
        assert len(parts) == 4
        assert [part(Results(sweep)) for part in parts] == [None] * 4
        assert all(part(asked) is not None for part in parts)

    def test_after_is_the_winner_s_validation(self, asked: Results) -> None:
        assert asked.before_and_after is not None
        assert asked.winner is not None
        _, after = asked.before_and_after
        best = asked.winner.best
        assert best is not None
        assert after.accuracy.value == pytest.approx(best.val_accuracy)
        assert after.mean_class_accuracy.value == pytest.approx(best.val_mean_class_accuracy)
        assert after.loss.value == pytest.approx(best.val_loss, rel=1e-5)

    def test_the_figures_before(self, asked: Results) -> None:
        rows = pictures.fine_tuning(asked)
        assert isinstance(rows, Rows)
        data, config = asked.training_data, asked.model.config
        model = asked.model
        images_NHWC = data.images_NHWC[data.validation_indices]
        labels_N = data.labels_N[data.validation_indices]
        network = network_before_training(config, data).eval()
        scale = np.array(model.std, np.float32), np.array(model.mean, np.float32)
        inputs_NHWC = (images_NHWC / np.float32(255) - scale[1]) / scale[0]
        with torch.no_grad():
            logits_NK = network(torch.from_numpy(inputs_NHWC.transpose(0, 3, 1, 2).copy()))
        predicted_N = logits_NK.argmax(1).numpy()
        assert [row[1] for row in rows.rows] == pytest.approx(
            [
                accuracy_score(labels_N, predicted_N),
                balanced_accuracy_score(labels_N, predicted_N),
                log_loss(labels_N, logits_NK.double().softmax(1).numpy()),
            ],
            rel=1e-5,
        )
        for name, before, after, change in rows.rows:
            assert isinstance(before, float)
            assert isinstance(after, float)
            assert change == pytest.approx(after - before), name

    def test_the_classes(self, asked: Results) -> None:
        rows = pictures.fine_tuning_of_classes(asked)
        assert isinstance(rows, Rows)
        assert [row[0] for row in rows.rows] == list(asked.model.class_names)
        data = asked.training_data
        labels_N = data.labels_N[data.validation_indices]
        assert [row[1] for row in rows.rows] == np.bincount(labels_N).tolist()
