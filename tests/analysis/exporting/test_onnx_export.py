"""Exporting to ONNX: onnxruntime says the same as torch, and a difference is told."""

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.analysis.test_sweep import CONFIG, Made
from tests.support.helpers import TRUSTED
from toprung.analysis.exporting.export import export_model
from toprung.analysis.exporting.onnx_export import TOLERANCE, _exported, compare, to_onnx
from toprung.analysis.models.model import TrainedModel, load_model
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import prepare
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.cnn import ACTIVATIONS
from toprung.trainables.networks.dropout import use_fast_dropout
from toprung.trainables.provenance.record import METADATA_KEY, read_provenance

CLASSES = ("a", "<b>", "ç", "d", "e")


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def config(size: int, channels: int, **model: Any) -> TrialConfig:
    data = {"source": "nowhere", "image_size": size, "channels": channels}
    return TrialConfig.model_validate({"data": data, "model": model})


def trained(size: int, channels: int, **model: Any) -> TrainedModel:
    """A network with random weights and batch statistics."""
    settings = config(size, channels, **model)
    torch.manual_seed(5)
    network = build_network(
        settings.model, settings.image_shape, len(CLASSES), with_weights=False
    ).network
    with torch.no_grad():
        network.train()(torch.randn(8, *settings.image_shape))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return TrainedModel(settings, weights, CLASSES, (0.4,) * channels, (0.3,) * channels)


def svm(kernel: str) -> TrainedModel:
    """A support vector machine with random support vectors of each class but one."""
    settings = config(
        32, 3, architecture="svm", backbone="squeezenet1_1", weights="none", kernel=kernel
    )
    torch.manual_seed(5)
    network = build_network(
        settings.model, settings.image_shape, len(CLASSES), with_weights=False
    ).network
    state = network.state_dict()
    num_features, counts = len(state["svm.offset"]), torch.tensor([3, 0, 4, 2, 3])
    support = int(counts.sum())
    state |= {
        "svm.support_counts": counts,
        "svm.support_features": torch.rand(support, num_features) * 0.1,
        "svm.dual_coefficients": torch.randn(len(CLASSES) - 1, support, dtype=torch.float64),
        "svm.intercepts": torch.randn(10, dtype=torch.float64),
        "svm.gamma": torch.tensor(0.02, dtype=torch.float64),
    }
    return TrainedModel(settings, dict(state), CLASSES, (0.4,) * 3, (0.3,) * 3)


def images(model: TrainedModel, num_images: int) -> NDArray[np.uint8]:
    channels, height, width = model.config.image_shape
    rng = np.random.default_rng(9)
    return rng.integers(0, 256, (num_images, height, width, channels)).astype(np.uint8)


def run(content: bytes, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    pixels_NCHW = np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2), np.float32) / 255
    logits_NK: NDArray[np.float32] = session.run(["logits_BK"], {"images_BCHW": pixels_NCHW})[0]
    return logits_NK


def says_the_same(content: bytes, model: TrainedModel) -> None:
    for num_images in (1, 2, 7):
        images_NHWC = images(model, num_images)
        expected_NK = model.logits(images_NHWC).numpy()
        assert np.ptp(expected_NK) > 1e-3
        np.testing.assert_allclose(run(content, images_NHWC), expected_NK, rtol=1e-5, atol=1e-5)


class TestSaysTheSame:
    def test_our_cnn(self) -> None:
        model = trained(9, 1, batch_norm="before", block_dropout=0.5, kernel_size=4)
        content, check = to_onnx(model, {}, TRUSTED)
        says_the_same(content, model)
        assert (check.num_images, check.num_validation, check.num_same_class) == (8, 0, 8)
        assert check.max_relative_difference <= check.max_difference <= 1e-5

    def test_all_activations(self) -> None:
        network = nn.Sequential(*(activation() for activation in ACTIVATIONS.values())).eval()
        proto = _exported(network, (3, 5, 5))
        images_NHWC = np.arange(150, dtype=np.uint8).reshape(2, 5, 5, 3)
        expected_NCHW = network(torch.from_numpy(images_NHWC).permute(0, 3, 1, 2) / 255).numpy()
        given_NCHW = run(proto.SerializeToString(), images_NHWC)
        np.testing.assert_allclose(given_NCHW, expected_NCHW, rtol=1e-5, atol=1e-6)

    def test_torchvision_s_with_hooks_a_deep_head_and_dropout(self) -> None:
        model = trained(32, 1, architecture="squeezenet1_1", head_hidden=6, head_dropout=0.5)
        says_the_same(to_onnx(model, {}, TRUSTED)[0], model)

    def test_an_svm(self) -> None:
        model = svm("rbf")
        says_the_same(to_onnx(model, {}, TRUSTED)[0], model)

    def test_fast_dropout_is_left_out(self) -> None:
        model = trained(9, 1, dense_dropout=0.5)
        network = replace(model).network
        use_fast_dropout(network)
        proto = _exported(network.eval(), model.config.image_shape)
        operators = {node.op_type for node in proto.graph.node}
        reshapes = {"Reshape", "Flatten", "Shape", "Concat"}  # the last two of torch 2.9
        assert operators <= {"Conv", "Relu", "MaxPool", "Gemm"} | reshapes


def test_the_file_says_what_it_is_and_not_where_it_was_made(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = trained(9, 3)
    with caplog.at_level(logging.WARNING):
        content, _ = to_onnx(model, {"sweep": "<s>", "trial": 7, "test_accuracy": 0.5}, TRUSTED)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 18)]
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(said["class_names"]) == list(CLASSES)
    assert json.loads(said["input_size"]) == [3, 9, 9]
    assert (said["sweep"], said["trial"], said["test_accuracy"]) == ("<s>", "7", "0.5")
    assert said["weights_sha256"] == model.digest
    assert str(Path(torch.__file__).parent).encode() not in content
    assert str(Path(__file__).parents[3]).encode() not in content
    assert to_onnx(model, {"sweep": "<s>", "trial": 7, "test_accuracy": 0.5}, TRUSTED)[0] == content


class TestADifference:
    def test_is_told_with_its_numbers(self) -> None:
        torch_NK = np.array([[3.0, 1.0], [0.1, 0.2]], np.float32)
        onnx_NK = torch_NK + np.array([[0, 2e-4], [2e-4, 0]], np.float32)
        with pytest.raises(
            SweepFolderError, match=r"on 1 of 2 images .* 0\.0002 \(relative 0\.0002"
        ):
            compare(onnx_NK, torch_NK, num_validation=0, may_differ=0)
        check = compare(onnx_NK, torch_NK, num_validation=1, may_differ=1)
        assert check.max_difference == pytest.approx(2e-4, rel=1e-2)
        assert check.max_relative_difference > TOLERANCE
        assert check.num_same_class == 2

    def test_what_is_no_number_is_one(self) -> None:
        torch_NK = np.zeros((1, 2), np.float32)
        with pytest.raises(SweepFolderError, match="on 1 of 1 images"):
            compare(torch_NK * np.nan, torch_NK, num_validation=0, may_differ=0)

    def test_leaves_no_file_behind(self, sweep: Sweep, tmp_path: Path) -> None:
        from toprung.analysis.exporting.card_facts import Exported

        model = sweep.model()
        with torch.no_grad():  # now torch's network is not that of the weights
            next(model.network.parameters()).mul_(1.5)
        exported = Exported(sweep, sweep.best(), model, None)
        with pytest.raises(SweepFolderError, match="does not predict the same: on 16 of 16"):
            export_model(tmp_path / "out", exported, ["onnx"], replace=False)
        assert not (tmp_path / "out" / "model.onnx").exists()
        assert load_model(tmp_path / "out").digest == model.digest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Made:
    settings = CONFIG.model_copy(update={"data": prepare(CONFIG.data).settings})
    made = Made(tmp_path_factory.mktemp("sweeps") / "sweep", settings)
    prepare(settings.data).write_splits(made.folder.splits)
    for seed in range(2):
        made.trial(attributes.FINISHED, seed=seed)
    return made


@pytest.fixture
def sweep(made: Made) -> Sweep:
    return Sweep(made.folder.path)


class TestInAnExport:
    def test_is_checked_and_stays_with_its_weights(self, sweep: Sweep, tmp_path: Path) -> None:
        folder = sweep.export(tmp_path / "out", formats=["onnx"])
        content = (folder / "model.onnx").read_bytes()
        says_the_same(content, sweep.model())
        said = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}
        images = read_provenance(folder / "model.safetensors")
        assert images is not None
        assert said[METADATA_KEY] == images.as_text()
        record = json.loads((folder / "metrics.json").read_text())["onnx"]
        assert (record["num_images"], record["num_validation"]) == (16, 8)
        assert record["max_relative_difference"] <= record["tolerance"] == TOLERANCE
        assert "onnxruntime" in (folder / "README.md").read_text()
        sweep.export(folder)
        assert (folder / "model.onnx").read_bytes() == content
        assert json.loads((folder / "metrics.json").read_text())["onnx"] == record
        sweep.export(folder, trial=1 - sweep.best().number, force=True)
        assert not (folder / "model.onnx").exists()
        assert json.loads((folder / "metrics.json").read_text())["onnx"] is None

    def test_an_unknown_format(self, sweep: Sweep, tmp_path: Path) -> None:
        with pytest.raises(SweepFolderError, match="format 'tflite': choose from onnx"):
            sweep.export(tmp_path / "out", formats=["tflite"])
        assert not (tmp_path / "out").exists()

    def test_without_the_extra(
        self, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(SweepFolderError, match=r"needs onnxruntime: .*'toprung\[onnx\]'"):
            sweep.export(tmp_path / "out", formats=["onnx"])
        assert not (tmp_path / "out").exists()
