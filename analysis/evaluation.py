"""A model on labelled images that are not its sweep's sealed test set."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.files import real_path
from analysis.folder import SweepFolder, SweepFolderError
from analysis.model import TrainedModel
from analysis.openings import read_openings
from analysis.predictions import Predictions
from analysis.scores import Scores
from analysis.sweep_record import open_model
from trainables.data import DataSettings, LabelledData, open_labelled

NUM_CONFUSED = 20
"""Pairs of classes that were taken for each other that are told."""


@dataclass(frozen=True)
class Evaluation:
    """What a model said of labelled images.

    Attributes:
        model: whose it is: an export's or a sweep's folder.
        data: the source of the images.
        predictions: of the images.
        remarks: what one must know to read the figures; each is a sentence.
    """

    model: str
    data: str
    predictions: Predictions
    remarks: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """All figures, as JSON can say them."""
        scores = Scores(self.predictions)
        return {
            "model": self.model,
            "data": self.data,
            "num_images": len(self.predictions.labels_N),
            "remarks": list(self.remarks),
            "figures": {figure.name: _without_name(figure) for figure in scores.figures},
            "classes": {score.name: _without_name(score) for score in scores.classes},
            "most_confused": [asdict(pair) for pair in scores.most_confused(NUM_CONFUSED)],
            "confusion": scores.confusion_KK.tolist(),
        }


def evaluate(
    model: Path, data: str, *, skip_bad_images: bool = False, show_progress: bool = False
) -> Evaluation:
    """Run a model on labelled images, decoded and normalised as its own were.

    Args:
        model: an export's folder, or a sweep's for its winner.
        data: a folder of class folders, a CSV file or a named data set: all of its images are
            taken, whatever split they are in.
        skip_bad_images: leave out files that cannot be decoded.
        show_progress: tell on stderr how far the decoding is.

    Raises:
        SweepFolderError: if there is no such model, or images are of its sweep's sealed test set.
        DataError: if there are no such images, or they have classes that the model does not know.
    """
    folder = _sweep_around(model)
    loaded = open_model(model)
    splits_of = _splits_of_contents(folder) if folder else {}
    unknown = [] if splits_of else _check_source(loaded, data)
    settings = _settings(loaded, data, skip_bad_images=skip_bad_images)
    with open_labelled(settings, loaded.class_names, show_progress=show_progress) as labelled:
        remarks = _remarks(labelled, loaded.class_names) + unknown
        if folder and splits_of:
            remarks += _check_seal(folder, splits_of, loaded, labelled)
        predictions = loaded.predict_all(labelled.images_NHWC, labelled.labels_N, labelled.names)
    return Evaluation(str(model), data, predictions, tuple(remarks))


def _sweep_around(model: Path) -> SweepFolder | None:
    """The sweep's folder that a model lies in: it, or SWEEP/best, or SWEEP/exports/TRIAL."""
    path = real_path(model)
    for above in (path, *path.parents[:2]):
        folder = SweepFolder(above)
        if folder.settings.is_file() and folder.study.is_file():
            return folder
    return None


def _settings(model: TrainedModel, data: str, *, skip_bad_images: bool) -> DataSettings:
    """The model's own, for another source."""
    own = model.config.data
    values = own.model_dump() | {
        "source": data,
        "root": None,
        "download": False,
        "num_classes": None,
        "digest": None,
        "skip_bad_images": skip_bad_images,
    }
    return DataSettings.model_validate(values)


def _remarks(labelled: LabelledData, class_names: tuple[str, ...]) -> list[str]:
    remarks = []
    if labelled.splits:
        splits = ", ".join(f"{count} {split}" for split, count in sorted(labelled.splits.items()))
        remarks.append(f"the images of all splits are taken: {splits}")
    if labelled.bad_images:
        remarks.append(f"{len(labelled.bad_images)} files that cannot be decoded are left out")
    there = set(labelled.labels_N.tolist())
    absent = [name for k, name in enumerate(class_names) if k not in there]
    if absent:
        shown = ", ".join(absent[:10]) + (", …" if len(absent) > 10 else "")
        remarks.append(
            f"{len(absent)} of the {len(class_names)} classes have no images here: {shown}"
        )
    return remarks


def _check_source(model: TrainedModel, data: str) -> list[str]:
    """Without the hashes of its sweep's images, refuse where a model's own images came from."""
    own = model.config.data.source
    is_folder = Path(own).is_absolute()  # and no data set known by name
    if data == own or (is_folder and real_path(data).is_relative_to(real_path(own))):
        raise SweepFolderError(
            f"{data}: is where the images of the model's sweep came from, its sealed test set "
            "too, and nothing here tells which of them are which. For the test set: toprung test "
            "SWEEP"
        )
    return [
        "nothing here tells which images the model's sweep had: if some of them are among these, "
        "the figures flatter"
    ]


def _check_seal(
    folder: SweepFolder,
    splits_of: Mapping[str, set[str]],
    model: TrainedModel,
    labelled: LabelledData,
) -> list[str]:
    """Refuse images of the sealed test set; tell of those that the model was trained with."""
    of_images = [splits_of.get(content_hash, set()) for content_hash in labelled.hashes]
    sealed = [
        name for name, splits in zip(labelled.names, of_images, strict=True) if "test" in splits
    ]
    remarks = []
    if sealed:
        opened = {opening.weights_sha256 for opening in read_openings(folder.sealed_test)}
        if model.digest not in opened:
            raise SweepFolderError(
                f"{len(sealed)} of the {len(labelled.names)} images are of the sealed test set of "
                f"{folder.address}, such as {sealed[0]}. It is opened once, for the winner: "
                f"toprung test {folder.address}"
            )
        remarks.append(
            f"{len(sealed)} of the images are, or are copies of, images of the sweep's test set, "
            "which was opened for this model"
        )
    return remarks + _seen_in_training(of_images)


def _seen_in_training(of_images: list[set[str]]) -> list[str]:
    """What to say of images that the model was trained with."""
    trained = sum("train" in splits for splits in of_images)
    validated = sum("validation" in splits for splits in of_images)
    if not trained and not validated:
        return []
    return [
        f"{trained} of the images are, or are copies of, training images of the sweep, and "
        f"{validated} validation images: the figures flatter"
    ]


def _splits_of_contents(folder: SweepFolder) -> dict[str, set[str]]:
    """The splits that the sweep has each content in; empty if it did not write down the hashes.

    Raises:
        SweepFolderError: if the file cannot be read.
    """
    splits_of: dict[str, set[str]] = defaultdict(set)
    try:
        with folder.splits.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            for row in csv.DictReader(stream):
                if "sha256" in row:
                    splits_of[row["sha256"]].add(row["split"])
    except (OSError, KeyError, csv.Error) as error:
        raise SweepFolderError(f"{folder.splits}: cannot be read: {error}") from None
    return splits_of


def _without_name(values: Any) -> dict[str, Any]:
    plain = asdict(values)
    del plain["name"]
    return plain
