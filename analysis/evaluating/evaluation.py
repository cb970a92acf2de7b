"""Evaluating a model on labelled images outside the sealed test set of its sweep."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toprung.analysis.models.export_files import METRICS_FILE, WEIGHTS_FILE
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.models.predictions import Predictions
from toprung.analysis.models.scores import Scores
from toprung.analysis.provenance.known_images import (
    KnownImages,
    Splits,
    images_of_export,
    images_of_sweep,
    splits_in,
)
from toprung.analysis.seal.ledger import History, history_of, history_of_user
from toprung.analysis.seal.opened_for import opened_for
from toprung.analysis.seal.words import earlier_in_words
from toprung.analysis.study.sweep_record import open_model
from toprung.analysis.sweep_folder.files import real_path
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.trainables.data import DataSettings, LabelledData, open_labelled
from toprung.trainables.provenance.image_set import ImageSet

NUM_CONFUSED = 20
"""How many of the most confused pairs of classes are reported."""
NUM_EXAMPLES = 3
"""How many of the images that the model was trained with are named."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a model on labelled images.

    Attributes:
        model: the folder of the export or sweep with the model.
        data: the source of the images.
        predictions: the predictions for the images.
        remarks: what a reader must know to interpret the figures; each is a sentence.
    """

    model: str
    data: str
    predictions: Predictions
    remarks: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """All figures, in a form that JSON can represent."""
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
    model: Path,
    data: str,
    *,
    skip_bad_images: bool = False,
    show_progress: bool = False,
    trust: bool = False,
) -> Evaluation:
    """Run a model on labelled images, decoded and normalised like its training images.

    Args:
        model: the folder of an export, or of a sweep, whose winner is evaluated.
        data: a folder of class folders, a CSV file or a named data set: all of its images are
            used, whatever split they are in.
        skip_bad_images: leave out files that cannot be decoded.
        show_progress: show the progress of decoding on stderr.
        trust: whether everything that the sweep's files name outside its folder may be used.

    Raises:
        SweepFolderError: if there is no such model, or some of the images are in the sealed test
            set of its sweep.
        DataError: if there are no such images, or they have classes that the model does not know.
    """
    loaded = open_model(model, trust=trust)
    folder = _sweep_around(model)
    known = _known_images(model, folder, loaded)
    history = history_of(folder) if folder else history_of_user()
    unknown = [] if known else _check_source(loaded, data)
    settings = _settings(loaded, data, skip_bad_images=skip_bad_images)
    with open_labelled(settings, loaded.class_names, show_progress=show_progress) as labelled:
        remarks = _remarks(labelled, loaded.class_names) + unknown
        if known:
            opened = opened_for(loaded.digest, folder, model / METRICS_FILE, history)
            remarks += _check_seal(known, opened, labelled)
        remarks += _opened_before(history, loaded, labelled)
        remarks += _seen_before(known, labelled)
        predictions = loaded.predict_all(labelled.images_NHWC, labelled.labels_N, labelled.names)
    return Evaluation(str(model), data, predictions, tuple(remarks))


def _known_images(path: Path, folder: SweepFolder | None, model: TrainedModel) -> list[KnownImages]:
    """The images that a model was made with, as recorded by its sweep and by its export."""
    of_sweep = images_of_sweep(folder, model.config) if folder else None
    of_export = images_of_export(path / WEIGHTS_FILE)
    return [known for known in (of_sweep, of_export) if known]


def _sweep_around(model: Path) -> SweepFolder | None:
    """The sweep that contains a model's folder: SWEEP, SWEEP/best or SWEEP/exports/TRIAL."""
    path = real_path(model)
    for above in (path, *path.parents[:2]):
        folder = SweepFolder(above)
        if folder.settings.is_file() and folder.splits.is_file():
            return folder
    return None


def _settings(model: TrainedModel, data: str, *, skip_bad_images: bool) -> DataSettings:
    """The data settings of the model, for another source."""
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
        remarks.append(f"the images of all splits are used: {splits}")
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
    """Refuse the source of a model's own images if their hashes are unknown.

    Returns:
        A remark that the overlap with the model's images cannot be checked.
    """
    own = model.config.data.source
    is_folder = Path(own).is_absolute()  # and not a data set known by name
    # Links in `own` are not followed: it may come from a stranger, and access may mount a disk.
    named = (Path(data).absolute(), real_path(data))
    if data == own or (is_folder and any(path.is_relative_to(own) for path in named)):
        raise SweepFolderError(
            f"{data}: is the source of the images of the model's sweep, including its sealed test "
            "set, and there is no record of which images are in the test set. To use the test set: "
            "toprung test SWEEP"
        )
    return [
        "there is no record of the images that the model was made with (it was exported by an "
        "older version of Toprung): if some of them are among these, the figures are too optimistic"
    ]


def _check_seal(
    known: list[KnownImages], opened: list[str] | None, labelled: LabelledData
) -> list[str]:
    """Refuse images of the sealed test set, unless it was opened for the model.

    Args:
        known: the records of the model's images; that of the sweep's folder comes first.
        opened: remarks on the opening for the model; None if there was no opening.
        labelled: the images that the model is to be run on.

    Returns:
        Remarks, if some of the images are in the opened test set.
    """
    of_test = _with_split("test", _together(images.splits_of(labelled) for images in known))
    if not of_test:
        return []
    if opened is None:
        raise SweepFolderError(
            f"{len(of_test)} of the {len(labelled.names)} images are in the sealed test set of "
            f"the model's sweep, such as {labelled.names[of_test[0]]}. It is opened once, for "
            f"the winner: toprung test {known[0].sweep}"
        )
    return [
        f"{len(of_test)} of the images are, or are copies of, images of the sweep's test set, "
        "which was opened for this model",
        *opened,
    ]


def _opened_before(history: History, model: TrainedModel, labelled: LabelledData) -> list[str]:
    """Remarks on earlier openings of these images as test images, for models of any sweep."""
    images = ImageSet.of(labelled.pixel_hashes)
    earlier = history.earlier(images, model.digest)
    if not earlier.models:
        return earlier.remarks
    openings = earlier_in_words(earlier, "images")
    return [*earlier.remarks, f"some are test images that were opened before: {openings}"]


def _seen_before(known: list[KnownImages], labelled: LabelledData) -> list[str]:
    """Remarks on images that the model, or the weights that it started from, was made with."""
    splits_of = _together(images.splits_of(labelled) for images in known)
    before = _together(splits_in(images.inherited, labelled) for images in known)
    remarks = _seen_in_training(splits_of, "of the sweep", labelled)
    remarks += _seen_in_training(before, "of the weights that it started from", labelled)
    if others := _with_split("test", before):
        remarks.append(
            f"{len(others)} of the images are in the test set of the weights that it started from"
        )
    return remarks


def _together(several: Iterable[Splits]) -> Splits:
    """The splits of each image, combined from several records."""
    return [set().union(*splits) for splits in zip(*several, strict=True)]


def _with_split(split: str, splits_of: Splits) -> list[int]:
    return [index for index, splits in enumerate(splits_of) if split in splits]


def _seen_in_training(splits_of: Splits, whose: str, labelled: LabelledData) -> list[str]:
    """A remark on images that the model was trained or validated with, if there are any."""
    trained, validated = _with_split("train", splits_of), _with_split("validation", splits_of)
    if not trained and not validated:
        return []
    examples = ", ".join(labelled.names[index] for index in (trained + validated)[:NUM_EXAMPLES])
    return [
        f"{len(trained)} of the images are, or are copies of, training images {whose}, and "
        f"{len(validated)} validation images (such as {examples}): the figures are too optimistic"
    ]


def _without_name(values: Any) -> dict[str, Any]:
    plain = asdict(values)
    del plain["name"]
    return plain
