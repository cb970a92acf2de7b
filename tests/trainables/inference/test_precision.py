"""Precision: what it is resolved to, that it repeats itself and resumes, what stays float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.helpers import figures, records, tiny_config, tiny_data
from toprung.trainables.config import TrialConfig
from toprung.trainables.inference import precision
from toprung.trainables.inference.predict import Normaliser
from toprung.trainables.networks.freezing import resolve
from toprung.trainables.recipe.optimizers import Adam
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.fit import fit
from toprung.trainables.training.image_inputs import RESIDENT_SHARE, fits_on, uploaded
from toprung.trainables.training.state import TrainingState, read_checkpoint

CPU = torch.device("cpu")
DATA = tiny_data(shape_HWC=(6, 6, 3))
DEPTHWISE = nn.Conv2d(8, 8, 3, groups=8)
ORDINARY = nn.Conv2d(8, 8, 3, groups=2)


def config_of(**settings: Any) -> TrialConfig:
    """A small network of two layers of convolutions with all that is random or has statistics."""
    given = {"model__num_blocks": 2, "model__dense_dropout": 0.3, "model__batch_norm": "before"}
    return tiny_config(data__channels=3, **{**given, **settings})


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without bfloat16 imitates it: slowly, but with the same rules."""
    monkeypatch.setattr(precision, "has_bf16", lambda _: True)


class TestChoice:
    @pytest.mark.usefixtures("with_bf16")
    @pytest.mark.parametrize(
        ("asked", "device", "network", "name"),
        [
            ("fp32", "cpu", ORDINARY, "fp32"),
            ("bf16", "cpu", DEPTHWISE, "bf16"),
            ("auto", "cpu", ORDINARY, "bf16"),
            ("auto", "cpu", DEPTHWISE, "fp32"),
            ("auto", "cuda", DEPTHWISE, "bf16"),
        ],
    )
    def test_where_the_hardware_has_bf16(
        self, asked: str, device: str, network: nn.Module, name: str
    ) -> None:
        assert precision.resolve(asked, torch.device(device), network).name == name

    def test_where_it_has_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(precision, "has_bf16", lambda _: False)
        assert precision.resolve("auto", CPU, ORDINARY).name == "fp32"
        with pytest.raises(ConfigError, match=r"training/precision = 'bf16': .* choose fp32"):
            next(fit(config_of(training__precision="bf16"), DATA))

    def test_the_hardware_is_asked(self) -> None:
        flags = Path("/proc/cpuinfo")
        if not flags.exists():
            pytest.skip("only Linux tells what its processor has")
        words = set(flags.read_text().split())
        assert precision.has_bf16(CPU) == bool(words & {"avx512_bf16", "amx_bf16"})

    @pytest.mark.parametrize("value", ["fp16", "", None])
    def test_other_values_are_refused(self, value: object) -> None:
        with pytest.raises(ValueError, match="'fp32', 'bf16' or 'auto'"):
            tiny_config(training__precision=value)


@pytest.mark.usefixtures("with_bf16")
class TestTraining:
    @pytest.mark.parametrize("name", ["fp32", "auto"])
    def test_from_every_checkpoint_training_continues_as_if_uninterrupted(
        self, name: str, tmp_path: Path
    ) -> None:
        config = config_of(optimizer={"name": "adam", "lr": 0.01}, training__precision=name)
        whole = []
        for validation in fit(config, DATA):
            folder = tmp_path / f"after_{validation.record.validation}"
            folder.mkdir()
            validation.save_checkpoint(folder)
            whole.append(figures(validation.record))
        assert records(config, DATA) == whole
        for done in (1, 2):
            rest = fit(config, DATA, resume_from=tmp_path / f"after_{done}")
            assert [figures(v.record) for v in rest] == whole[done - 1 :]

    def test_bf16_is_another_computation_with_nearly_the_same_results(self) -> None:
        settings = {"optimizer": {"name": "adam", "lr": 0.01}, "training__epochs": 20}
        data = tiny_data(64, 32, shape_HWC=(6, 6, 3))
        exact, rounded = (
            list(fit(config_of(**settings, training__precision=name), data))
            for name in ("fp32", "auto")
        )
        assert [v.precision for v in (exact[0], rounded[0])] == ["fp32", "bf16"]
        first, other = exact[0].record, rounded[0].record
        assert first.train_loss != other.train_loss
        assert first.train_loss == pytest.approx(other.train_loss, rel=0.02)
        assert exact[-1].best.val_accuracy == rounded[-1].best.val_accuracy == 1

    def test_weights_and_optimizer_stay_float32(self, tmp_path: Path) -> None:
        config = config_of(optimizer={"name": "adam"}, training__precision="bf16")
        next(fit(config, DATA)).save_checkpoint(tmp_path)
        saved = read_checkpoint(tmp_path)
        states = [t for state in saved["optimizer"]["state"].values() for t in state.values()]
        for tensor in [*saved["model"].values(), *states]:
            assert tensor.dtype in (torch.float32, torch.int64)
        assert saved["precision"] == "bf16"

    @pytest.mark.parametrize(
        "settings",
        [
            {"loss": {"name": "center"}},
            {"augmentation": {"mix": "cutmix"}},
            {"training__gradient_clip_norm": 0.1, "training__log_steps": True},
            {"model__freeze_policy": "gradual_unfreezing:1"},
        ],
        ids=str,
    )
    def test_goes_with_everything_else(self, settings: dict[str, Any]) -> None:
        exact, rounded = (
            records(config_of(**settings, training__precision=name), DATA)
            for name in ("fp32", "bf16")
        )
        assert len(rounded) == 3
        assert rounded[0]["train_loss"] == pytest.approx(exact[0]["train_loss"], rel=0.03)

    def test_a_loss_is_computed_from_float32(self) -> None:
        state = TrainingState(config_of(training__precision="bf16"), DATA, 3, CPU)
        with state.precision.autocast():
            outputs = state.classifier(torch.rand(2, 3, 6, 6))
        assert (outputs.logits_BK.dtype, outputs.head_input.dtype) == (torch.bfloat16,) * 2
        exact = precision.in_float32(outputs)
        assert (exact.logits_BK.dtype, exact.features_BF.dtype) == (torch.float32,) * 2
        assert torch.equal(exact.logits_BK, outputs.logits_BK)


class TestMemoryLayout:
    def test_weights_have_their_channels_last_on_a_cpu(self) -> None:
        network = TrainingState(config_of(), DATA, 3, CPU).classifier.network
        weights = [p for p in network.parameters() if p.dim() == 4]
        assert len(weights) == 2
        assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
        assert not weights[1].is_contiguous()

    def test_the_fused_step_is_the_same_to_rounding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Torch's fused step is wrong if a gradient does not lie in memory as its weights do."""
        config = config_of(optimizer={"name": "adam", "lr": 0.01, "weight_decay": 0.1})
        fused = records(config, DATA)
        monkeypatch.setattr(Adam, "has_fused_step", False)
        for one, other in zip(fused, records(config, DATA), strict=True):
            assert one == pytest.approx(other, rel=1e-4)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_input_is_the_same_in_both_orders(self, channels: int) -> None:
        images_BHWC = np.random.default_rng(0).integers(0, 256, (5, 4, 6, channels), np.uint8)
        mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.1)[:channels]
        plain = Normaliser(mean, std, CPU)
        last = Normaliser(mean, std, CPU, channels_last=True)
        expected = (torch.from_numpy(images_BHWC) / 255 - torch.tensor(mean)) / torch.tensor(std)
        for normalise in (plain, last):
            at_once = normalise(images_BHWC)
            in_two = normalise.normalise(normalise.pixels(torch.from_numpy(images_BHWC)))
            for images_BCHW in (at_once, in_two):
                torch.testing.assert_close(images_BCHW, expected.permute(0, 3, 1, 2))
                order = torch.channels_last if normalise is last else torch.contiguous_format
                assert images_BCHW.is_contiguous(memory_format=order)


class TestFrozenWeights:
    def test_are_in_a_checkpoint_once(self, tmp_path: Path) -> None:
        config = config_of(model__freeze_policy="head_only", optimizer__lr=2.0, training__epochs=10)
        state = TrainingState(config, DATA, 3, CPU)
        trains = resolve("head_only", state.classifier.parameter_locations()).trains_ever()
        frozen = {name for name, _ in state.classifier.network.named_parameters()} - trains
        for validation in fit(config, DATA):
            validation.save_checkpoint(tmp_path)
            if validation.best != validation.record:
                break
        raw = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
        saved = read_checkpoint(tmp_path)
        assert saved["best_weights"].keys() == saved["model"].keys()
        assert raw["best_weights"].keys() == saved["model"].keys() - frozen
        assert trains
        assert frozen
        assert all(not torch.equal(saved["model"][n], saved["best_weights"][n]) for n in trains)


class TestOnAGpu:
    def test_images_stay_there_if_they_are_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        images_NHWC = np.zeros((10, 4, 4, 3), np.uint8)
        for free, fits in ((images_NHWC.size / RESIDENT_SHARE, True), (images_NHWC.size, False)):
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
            assert fits_on(torch.device("cuda"), images_NHWC) == fits
        assert not fits_on(CPU, images_NHWC)

    def test_they_are_moved_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("toprung.trainables.training.image_inputs.UPLOAD_BYTES", 3 * 6 * 6 * 3)
        there_NHWC = uploaded(DATA.images_NHWC, CPU)
        assert np.array_equal(there_NHWC.numpy(), DATA.images_NHWC)
