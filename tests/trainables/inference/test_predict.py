"""Running a model: its input, its predictions, its score."""

from math import log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toprung.trainables.inference import predict as evaluation
from toprung.trainables.inference.predict import Normaliser, predict_logits, score

CPU = torch.device("cpu")


class Channels(nn.Module):
    """Logits are the mean of each channel; counts its calls and what mode it was in."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.modes: list[bool] = []

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.batches.append(len(images_BCHW))
        self.modes.append(self.training)
        return images_BCHW.mean((2, 3))


def test_normalised_images_have_zero_mean_and_unit_deviation() -> None:
    images_NHWC = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 3)).astype(np.uint8)
    images_NHWC[..., 1] //= 3
    flat = images_NHWC.reshape(-1, 3) / 255
    normalise = Normaliser(tuple(flat.mean(0).tolist()), tuple(flat.std(0).tolist()), CPU)
    images = normalise(images_NHWC)
    assert images.shape == (50, 3, 4, 6)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_each_pixel_keeps_its_place_and_channel() -> None:
    images_NHWC = np.zeros((1, 2, 3, 2), np.uint8)
    images_NHWC[0, 1, 2] = (255, 51)
    images = Normaliser((0.0, 0.0), (1.0, 0.5), CPU)(images_NHWC)
    assert images[0, 0, 1, 2].item() == pytest.approx(1.0)
    assert images[0, 1, 1, 2].item() == pytest.approx(0.4)
    assert images.count_nonzero() == 2


def test_predictions_in_the_order_of_the_indices_and_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH_SIZE", 4)
    images_NHWC = np.repeat(np.arange(10, dtype=np.uint8), 2).reshape(10, 1, 1, 2)
    model, normalise = Channels(), Normaliser((0.0, 0.0), (1 / 255, 1 / 255), CPU)
    logits_NK = predict_logits(model, normalise, images_NHWC)
    assert model.batches == [4, 4, 2]
    assert logits_NK[:, 0].tolist() == pytest.approx(list(range(10)))
    some = predict_logits(model, normalise, images_NHWC, np.array([7, 2, 9]))
    assert some[:, 1].tolist() == pytest.approx([7, 2, 9])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_evaluates_and_its_mode_is_put_back(training: bool) -> None:
    model = Channels().train(training)
    logits_NK = predict_logits(
        model, Normaliser((0.0, 0.0), (1.0, 1.0), CPU), np.zeros((3, 1, 1, 2), np.uint8)
    )
    assert model.modes == [False]
    assert model.training is training
    assert not logits_NK.requires_grad


def test_a_score_by_hand() -> None:
    logits_NK = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0], [0, 2.0, 0], [2.0, 0, 0]])
    got = score(logits_NK, torch.tensor([0, 0, 0, 1, 1]))
    assert got.accuracy == 4 / 5
    assert got.mean_class_accuracy == pytest.approx((1 + 1 / 2) / 2)  # nothing of the third class
    right, wrong = log(1 + 2 * np.exp(-2)), log(1 + 2 * np.exp(-2)) + 2
    assert got.loss == pytest.approx((4 * right + wrong) / 5)


def test_every_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), Channels()).train()
    network[0].eval()
    images = np.zeros((2, 1, 1, 1), np.uint8)
    predict_logits(network, Normaliser((0.0,), (1.0,), CPU), images)
    assert [module.training for module in network] == [False, True]
