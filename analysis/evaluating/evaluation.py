"""A model on labelled images that are not its sweep's sealed test set."""

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
"""Pairs of classes that were taken for each other that are told."""
NUM_EXAMPLES = 3
"""Names of images that the model was trained with that are told."""


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
    model: Path,
    data: str,
    *,
    skip_bad_images: bool = False,
    show_progress: bool = False,
    trust: bool = False,
) -> Evaluation:
    """Run a model on labelled images, decoded and normalised as its own were.

    Args:
        model: an export's folder, or a sweep's for its winner.
        data: a folder of class folders, a CSV file or a named data set: all of its images are
            taken, whatever split they are in.
        skip_bad_images: leave out files that cannot be decoded.
        show_progress: tell on stderr how far the decoding is.
        trust: whether all that a sweep's files name outside its folder may be used.

    Raises:
        SweepFolderError: if there is no such model, or images are of its sweep's sealed test set.
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
    """What is known of the images that a model was made with: by its sweep, and by its export."""
    of_sweep = images_of_sweep(folder, model.config) if folder else None
    of_export = images_of_export(path / WEIGHTS_FILE)
    return [known for known in (of_sweep, of_export) if known]


def _sweep_around(model: Path) -> SweepFolder | None:
    """The sweep's folder that a model lies in: it, or SWEEP/best, or SWEEP/exports/TRIAL."""
    path = real_path(model)
    for above in (path, *path.parents[:2]):
        folder = SweepFolder(above)
        if folder.settings.is_file() and folder.splits.is_file():
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
    is_folder = Path(own).is_absolute()  # and not a data set known by name
    # Links in `own` are not followed: a stranger may have named it, and a look may mount a disk.
    named = (Path(data).absolute(), real_path(data))
    if data == own or (is_folder and any(path.is_relative_to(own) for path in named)):
        raise SweepFolderError(
            f"{data}: is where the images of the model's sweep came from, its sealed test set "
            "too, and nothing here says which of them are which. For the test set: toprung test "
            "SWEEP"
        )
    return [
        "nothing here says which images the model was made with (it was exported by an older "
        "Toprung): if some of them are among these, the figures are too optimistic"
    ]


def _check_seal(
    known: list[KnownImages], opened: list[str] | None, labelled: LabelledData
) -> list[str]:
    """Refuse images of the sealed test set; say so where it was opened.

    Args:
        known: what is known of a model's images; what its sweep's folder says comes first.
        opened: what there is to say of the opening for it; None if there was none.
        labelled: the images that it is to be run on.
    """
    of_test = _with_split("test", _together(images.splits_of(labelled) for images in known))
    if not of_test:
        return []
    if opened is None:
        raise SweepFolderError(
            f"{len(of_test)} of the {len(labelled.names)} images are of the sealed test set of "
            f"the model's sweep, such as {labelled.names[of_test[0]]}. It is opened once, for "
            f"the winner: toprung test {known[0].sweep}"
        )
    return [
        f"{len(of_test)} of the images are, or are copies of, images of the sweep's test set, "
        "which was opened for this model",
        *opened,
    ]


def _opened_before(history: History, model: TrainedModel, labelled: LabelledData) -> list[str]:
    """What the ledgers know of the images as test images of other models, of whatever sweep."""
    images = ImageSet.of(labelled.pixel_hashes)
    earlier = history.earlier(images, model.digest)
    if not earlier.models:
        return earlier.remarks
    told = earlier_in_words(earlier, "images")
    return [*earlier.remarks, f"some are test images that were opened before: {told}"]


def _seen_before(known: list[KnownImages], labelled: LabelledData) -> list[str]:
    """Name the images that a model, or the weights that it started from, was made with."""
    splits_of = _together(images.splits_of(labelled) for images in known)
    before = _together(splits_in(images.inherited, labelled) for images in known)
    remarks = _seen_in_training(splits_of, "of the sweep", labelled)
    remarks += _seen_in_training(before, "of the weights that it started from", labelled)
    if others := _with_split("test", before):
        remarks.append(
            f"{len(others)} of the images are of the test set of the weights that it started from"
        )
    return remarks


def _together(several: Iterable[Splits]) -> Splits:
    """The splits of each image, by whatever says so."""
    return [set().union(*splits) for splits in zip(*several, strict=True)]


def _with_split(split: str, splits_of: Splits) -> list[int]:
    return [index for index, splits in enumerate(splits_of) if split in splits]


def _seen_in_training(splits_of: Splits, whose: str, labelled: LabelledData) -> list[str]:
    """What to say of images that the model was trained with."""
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
