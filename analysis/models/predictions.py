"""A model's predictions for labelled images, saved with a few of the images for later analysis.

SciPy is imported where it is used: `toprung status` does not need it before a test.

Shape letters: N images, K classes, S images that are shown, H height, W width, C channels.
"""

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.files.archives import check_archive
from toprung.trainables.files.untrusted_files import MAX_PREDICTIONS_BYTES, MIB, open_file

NUM_RANDOM = 30
"""The number of randomly drawn images that are kept with the predictions."""
NUM_WRONG = 30
"""The number of highest-confidence errors that are kept with the predictions."""
MAX_WELL_COMPRESSED_BYTES = 128 * MIB
"""The size to which any file of predictions may unpack: 30,000 images with 1000 classes."""
_IMAGES_AT_A_TIME = 1024
_MAX_EXPANSION = 4
"""The factor by which a larger file may grow when unpacked."""


@dataclass(frozen=True)
class Origin:
    """The opening of a test set that produced predictions.

    Attributes:
        opening: the id of its intent.
        trial: the number of the model's trial.
        weights_sha256: the digest of the model's weights.
        test_data_sha256: the digest of the test images, with names and labels.
    """

    opening: str
    trial: int
    weights_sha256: str
    test_data_sha256: str


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for labelled images.

    Attributes:
        logits_NK: the logits, float32.
        labels_N: the true classes, as indices into `class_names`.
        names: the names of the images.
        class_names: the names of the classes, in the order of the logits.
        random: indices of randomly drawn images, in the order of drawing.
        wrong: indices of wrongly classified images, the highest confidence first.
        pixels_SHWC: the pixels of the images `random` and then `wrong`, uint8.
        mean: the mean of each channel (0..1) that normalised the network's input.
        std: the standard deviation of each channel that normalised the network's input.
        origin: the opening of the test set; None for other images, and in files of earlier
            versions.
    """

    logits_NK: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    random: NDArray[np.int64]
    wrong: NDArray[np.int64]
    pixels_SHWC: NDArray[np.uint8]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: Origin | None = None

    @property
    def accuracy(self) -> float:
        """The share of the images that are classified correctly."""
        return float((self.predicted_N == self.labels_N).mean())

    @cached_property
    def loss(self) -> float:
        """The mean cross-entropy."""
        parts = range(0, len(self.labels_N), _IMAGES_AT_A_TIME)
        return float(np.concatenate([self._losses_from(start) for start in parts]).mean())

    def _losses_from(self, start: int) -> NDArray[np.float64]:
        """The losses of some images; for all images at once they would need too much memory."""
        from scipy.special import log_softmax

        part = slice(start, start + _IMAGES_AT_A_TIME)
        labels = self.labels_N[part]
        with np.errstate(invalid="ignore"):  # a model may output NaN or infinity
            losses_NK = -log_softmax(self.logits_NK[part].astype(np.float64), axis=1)
        losses: NDArray[np.float64] = losses_NK[np.arange(len(labels)), labels]
        return losses

    @cached_property
    def probabilities_NK(self) -> NDArray[np.float64]:
        """The probability of each class for each image."""
        from scipy.special import softmax

        probabilities: NDArray[np.float64] = softmax(self.logits_NK.astype(np.float64), axis=1)
        return probabilities

    @cached_property
    def predicted_N(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        predicted: NDArray[np.int64] = self.logits_NK.argmax(1).astype(np.int64)
        return predicted

    def pixels_of(self, index: int) -> NDArray[np.uint8]:
        """The pixels_HWC of an image that was kept."""
        position = np.flatnonzero(np.concatenate([self.random, self.wrong]) == index)[0]
        pixels: NDArray[np.uint8] = self.pixels_SHWC[position]
        return pixels

    def top(self, index: int, k: int = 3) -> list[tuple[str, float]]:
        """The `k` most probable classes of an image with their probabilities, best first."""
        of_image = self.probabilities_NK[index]
        best = np.argsort(-of_image, kind="stable")[:k]
        return [(self.class_names[c], float(of_image[c])) for c in best]


def collect(
    logits_NK: NDArray[np.float32],
    labels_N: NDArray[np.int64],
    images_NHWC: NDArray[np.uint8],
    names: tuple[str, ...],
    class_names: tuple[str, ...],
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    seed: int,
) -> Predictions:
    """Combine predictions with the images that are kept to be shown.

    Args:
        logits_NK: the logits of the model.
        labels_N: the true classes.
        images_NHWC: the images, in the same order.
        names: the names of the images.
        class_names: the names of the classes, in the order of the logits.
        normalisation: mean and standard deviation of each channel.
        seed: the seed that draws the random images.
    """
    from scipy.special import softmax

    num_images = len(labels_N)
    rng = np.random.default_rng(seed)
    random = rng.choice(num_images, min(NUM_RANDOM, num_images), replace=False)
    confidence_N = softmax(logits_NK, axis=1).max(1)
    errors = np.flatnonzero(logits_NK.argmax(1) != labels_N)
    wrong = errors[np.argsort(-confidence_N[errors], kind="stable")][:NUM_WRONG]
    return Predictions(
        logits_NK=logits_NK,
        labels_N=np.array(labels_N, np.int64),
        names=names,
        class_names=class_names,
        random=random,
        wrong=wrong,
        pixels_SHWC=images_NHWC[np.concatenate([random, wrong])],
        mean=normalisation[0],
        std=normalisation[1],
    )


def save_predictions(path: Path, predictions: Predictions) -> str:
    """Write predictions to an .npz file; its folder is created.

    Returns:
        The file's SHA-256.

    Raises:
        OSError: if it cannot be written.
    """
    texts = {
        "names": predictions.names,
        "class_names": predictions.class_names,
        "mean": predictions.mean,
        "std": predictions.std,
        "origin": asdict(predictions.origin) if predictions.origin else None,
    }
    content = io.BytesIO()
    np.savez_compressed(
        content,
        logits=predictions.logits_NK,
        labels=predictions.labels_N,
        random=predictions.random,
        wrong=predictions.wrong,
        pixels=predictions.pixels_SHWC,
        texts=np.array(json.dumps(texts)),
    )
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def load_predictions(path: Path) -> Predictions:
    """Read predictions that `save_predictions` has written; runs no code from the file.

    Raises:
        SweepFolderError: if they cannot be read.
    """
    try:
        with open_file(path, MAX_PREDICTIONS_BYTES) as stream:
            _check_expansion(stream)
            file = np.load(stream, allow_pickle=False)
            texts = json.loads(str(file["texts"]))
            values = {name: file[name] for name in ("logits", "labels", "random", "wrong")}
            predictions = Predictions(
                logits_NK=values["logits"].astype(np.float32, casting="same_kind"),
                labels_N=values["labels"].astype(np.int64, casting="same_kind"),
                names=typed(tuple[str, ...], texts["names"]),
                class_names=typed(tuple[str, ...], texts["class_names"]),
                random=values["random"].astype(np.int64, casting="same_kind"),
                wrong=values["wrong"].astype(np.int64, casting="same_kind"),
                pixels_SHWC=file["pixels"].astype(np.uint8, casting="same_kind"),
                mean=typed(tuple[float, ...], texts["mean"]),
                std=typed(tuple[float, ...], texts["std"]),
                origin=typed(Origin | None, texts.get("origin")),  # type: ignore[arg-type]
            )
        _check_shapes(predictions)
    except Exception as error:  # for a damaged file, NumPy and zip raise errors of many types
        raise SweepFolderError(f"{path}: is not a file of predictions: {error}") from None
    return predictions


def _check_expansion(stream: BinaryIO) -> None:
    """Check the unpacked size: logits hardly compress, unless all images have the same ones."""
    size = stream.seek(0, os.SEEK_END)
    check_archive(stream, most_bytes=max(MAX_WELL_COMPRESSED_BYTES, _MAX_EXPANSION * size))


def _check_shapes(predictions: Predictions) -> None:
    num_images, num_classes = len(predictions.names), len(predictions.class_names)
    shown = np.concatenate([predictions.random, predictions.wrong])
    fits = (
        predictions.logits_NK.shape == (num_images, num_classes)
        and predictions.labels_N.shape == (num_images,)
        and predictions.pixels_SHWC.ndim == 4
        and predictions.pixels_SHWC.shape[0] == len(shown)
        and predictions.pixels_SHWC.shape[3] == len(predictions.mean) == len(predictions.std)
        and _all_below(predictions.labels_N, num_classes)
        and _all_below(shown, num_images)
    )
    if not fits:
        raise ValueError("its arrays do not fit together")


def _all_below(indices: NDArray[np.int64], limit: int) -> bool:
    return bool(((indices >= 0) & (indices < limit)).all())
