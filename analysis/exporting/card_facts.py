"""The facts on the card of an exported model, all from the sweep's folder."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from toprung.analysis.exporting.card_words import (
    augmentation_in_words,
    numbers,
    short,
    slug,
    weights_in_words,
)
from toprung.analysis.exporting.weights_file import record_text, weights_file
from toprung.analysis.models.intervals import share_interval
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.models.predictions import load_predictions
from toprung.analysis.models.scores import Scores
from toprung.analysis.provenance.starting_weights import seen_before, starting_weights_of
from toprung.analysis.seal.evidence import UnknownResult, predictions_of
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.words import reuse_in_words
from toprung.analysis.study.trials import METRIC_NAMES, TrialResult
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.config import as_plain
from toprung.trainables.data.listing.image_list import SPLITS
from toprung.trainables.files.untrusted_files import read_table
from toprung.trainables.inference.summary import Summary, summarise
from toprung.trainables.networks.base import NO_WEIGHTS
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.provenance.record import Provenance

if TYPE_CHECKING:
    from toprung.analysis.study.sweep_record import SweepRecord

_WIDE = 0.05
"""The width of a test accuracy's interval above which the card mentions it as a limit."""
_UNEQUAL = 2
"""Classes are imbalanced if one has at least this many times the training images of another."""
Pairs = list[tuple[str, Any]]


@dataclass(frozen=True)
class Exported:
    """A model to be exported.

    Attributes:
        sweep: the sweep that found it.
        trial: the trial that trained it.
        model: the best model of the trial.
        test: its test result, if the test set was opened for it.
        provenance: the images that it was made with, if the sweep has their hashes.
        unknown: the openings of the test set for it with an unknown result.
    """

    sweep: "SweepRecord"
    trial: TrialResult
    model: TrainedModel
    test: TestResult | None
    provenance: Provenance | None = None
    unknown: tuple[UnknownResult, ...] = ()

    @cached_property
    def weights_file(self) -> bytes:
        """The content of the weights file of the export."""
        return weights_file(self.model, self.provenance)


@dataclass(frozen=True)
class Figures:
    """A row of the first table on the card; None for an unknown figure."""

    split: str
    num_images: int | None
    accuracy: float
    loss: float
    mean_class_accuracy: float | None = None
    has_interval: bool = True

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the accuracy."""
        if not (self.has_interval and self.num_images):
            return None
        return share_interval(round(self.accuracy * self.num_images), self.num_images)


class CardFacts:
    """The content of a card, section by section.

    Args:
        exported: the model.
    """

    def __init__(self, exported: Exported) -> None:
        self._sweep, self._trial = exported.sweep, exported.trial
        self._model, self._test = exported.model, exported.test
        self._config, self._exported = exported.model.config, exported
        self._data: dict[str, Any] = exported.sweep.description.get("data", {})
        self._settings: dict[str, Any] = exported.sweep.description["settings"]

    @property
    def title(self) -> str:
        """The architecture, and the name of the data."""
        return f"{self._architecture} on {self._source}"

    @property
    def _architecture(self) -> str:
        settings = self._config.model
        if isinstance(settings, SvmSettings):
            return f"SVM on {settings.backbone}"
        return str(as_plain(self._config)["model"]["architecture"])

    @property
    def _source(self) -> str:
        """The name of the data; without the path of a folder or file, which is private."""
        return Path(self._config.data.source).name or "data"

    @cached_property
    def figures(self) -> list[Figures]:
        """Rows for training, validation and, if the test set was opened, test."""
        best, found = self._trial.best, []
        if best:
            num_train, num_validation = self._num("train"), self._num("validation")
            found += [
                Figures(
                    "training", num_train, best.train_accuracy, best.train_loss, has_interval=False
                ),
                Figures(
                    "validation",
                    num_validation,
                    best.val_accuracy,
                    best.val_loss,
                    best.val_mean_class_accuracy,
                ),
            ]
        if test := self._test:
            found.append(
                Figures(
                    "test", test.num_images, test.accuracy, test.loss, self._test_class_accuracy()
                )
            )
        return found

    def _num(self, split: str) -> int | None:
        number: int | None = self._data.get(f"num_{split}")
        return number

    def _test_class_accuracy(self) -> float | None:
        """The mean class accuracy on the test images; None without usable predictions."""
        assert self._test is not None
        try:
            path = predictions_of(self._sweep.folder, self._test)
            return Scores(load_predictions(path)).mean_class_accuracy.value
        except SweepFolderError:
            return None

    def front_matter(self) -> dict[str, Any]:
        """The front matter that model hubs read. The licence is unknown, so none is named."""
        results = [self._result(row) for row in self.figures if row.split != "training"]
        name = f"{self._sweep.name}-{self._trial.number}"
        return {
            "library_name": "toprung",
            "pipeline_tag": "image-classification",
            "tags": ["image-classification", "pytorch", slug(self._architecture)],
            "metrics": ["accuracy"],
            "model-index": [{"name": name, "results": results}],
        }

    def _result(self, row: Figures) -> dict[str, Any]:
        values = {
            "accuracy": row.accuracy,
            "balanced_accuracy": row.mean_class_accuracy,
            "loss": row.loss,
        }
        known = {name: value for name, value in values.items() if value is not None}
        dataset = {"name": self._source, "type": slug(self._source), "split": row.split}
        return {
            "task": {"type": "image-classification"},
            "dataset": dataset,
            "metrics": [{"type": name, "value": value} for name, value in known.items()],
        }

    def notes(self) -> Iterator[str]:
        """Notes on the figures: selection, the opening of the test set, confirmation."""
        metric = METRIC_NAMES[self._sweep.metric]
        trials = len(self._sweep.trials())
        yield f"Validation: the sweep selected among {trials:,} trials by their {metric}."
        if self._test is None:
            has_none = self._num("test") == 0
            why = "the data have none" if has_none else "it has not been opened for this model"
            if unknown := self._exported.unknown:
                yield f"Test: no figures. The test set was {unknown[0]}."
            else:
                yield f"Test: no figures, because {why}."
        elif self._test.forced:
            yield (
                f"Test: the opening of the sealed test set for this model on "
                f"{self._test.opened_at} was forced: the test set had been opened for another "
                "model before, the model was not the sweep's winner, or the sweep had not ended. "
                "These figures are no longer unbiased."
            )
        else:
            yield (
                f"Test: the sealed test set was opened once for this model, after its selection, "
                f"on {self._test.opened_at}."
            )
        for seen in seen_before(self._sweep.folder, self._config, "test"):
            yield f"Test: {seen}: test figures are too optimistic."
        if self._test and (reuse := reuse_in_words(self._test)):
            yield f"Test: {reuse}."
        yield from self._confirmation()

    def _confirmation(self) -> Iterator[str]:
        confirmation = self._sweep.confirmation()
        if confirmation is None:
            return
        yield f"Confirmation: {confirmation.summary}."
        chosen = confirmation.chosen
        if chosen and self._trial.number in {r.number for r in (chosen.trial, *chosen.runs)}:
            yield (
                f"Trained again with {len(chosen.values)} fresh seeds, the same config reached a "
                f"mean {METRIC_NAMES[self._sweep.metric]} of {chosen.mean:.4f} "
                f"({chosen.spread_in_words}); the first trial had reached {chosen.first:.4f}."
            )

    def model(self) -> Pairs:
        """The network and its input."""
        data, summary = self._config.data, self._summary
        channels, height, width = self._config.image_shape
        crop = f", {data.crop_fraction:.4g} of the side" if data.crop_fraction < 1 else ""
        return [
            ("architecture", self._architecture),
            ("parameters", summary.num_parameters),
            ("multiply-accumulates for one image", summary.num_multiply_accumulates),
            ("input", f"{width}x{height} pixels, {'RGB' if channels == 3 else 'grey'}"),
            ("resizing", f"{data.resize}{crop}, {data.interpolation}"),
            ("mean of each channel", numbers(self._model.mean)),
            ("standard deviation of each channel", numbers(self._model.std)),
            ("SHA-256 of the weights alone", self._model.digest),
            ("SHA-256 of model.safetensors", sha256(self._exported.weights_file).hexdigest()),
            ("images recorded in model.safetensors", self._recorded()),
        ]

    def _recorded(self) -> str:
        """The record in the weights file of the images that the model was made with."""
        record = self._exported.provenance
        if record is None:
            return "none: the sweep has no hashes of its images' pixels"
        if record_text(record) is None:
            return "none: there are too many for the file's header"
        own = ", ".join(f"{len(getattr(record.own, split)):,} {split}" for split in SPLITS)
        before = f"; {len(record.inherited):,} of its starting weights" if record.inherited else ""
        return f"{own}{before} (the first 8 bytes of the hash of each image's pixels)"

    @cached_property
    def _summary(self) -> Summary:
        shape, num_classes = self._config.image_shape, len(self._model.class_names)
        with torch.device("meta"):
            classifier = build_network(self._config.model, shape, num_classes, with_weights=False)
        return summarise(classifier.network, shape)

    def data(self) -> Pairs:
        """Where the images come from, and digests that identify them."""
        bad = self._data.get("bad_images", [])
        return [
            ("source", self._source),
            *((split, self._num(split)) for split in ("train", "validation", "test")),
            ("seed of the split", str(self._config.data.split_seed)),
            ("left out as damaged", len(bad)),
            ("digest of training and validation images", self._config.data.digest),
            ("digest of test images", self._data.get("test_sha256")),
        ]

    @cached_property
    def classes(self) -> list[tuple[str, Mapping[str, int | None]]]:
        """The name of each class and its number of images in each split; None if unknown."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self._model.class_names}
        path = self._sweep.folder.splits
        try:
            for row in read_table(path):
                counts[row["label"]][row["split"]] += 1
        except FileNotFoundError:
            return [(short(name), dict.fromkeys(SPLITS)) for name in counts]
        except (OSError, KeyError, csv.Error) as error:
            raise SweepFolderError(f"{path}: cannot be read: {error!r}") from None
        return [
            (short(name), {split: of[split] for split in SPLITS}) for name, of in counts.items()
        ]

    def training(self) -> Pairs:
        """How the model was trained, and the extent of the search."""
        config, settings, best = self._config, self._settings, self._trial.best
        ended = ", ".join(f"{n:,} {how}" for how, n in sorted(self._sweep.counts().items()))
        space = self._sweep.description.get("space")
        return [
            ("weights that it started from", weights_in_words(config)),
            ("freeze policy", config.model.freeze_policy),
            ("loss", config.loss.name),
            ("optimizer", f"{config.optimizer.name}, learning rate {config.optimizer.lr:.4g}"),
            ("LR schedule", config.lr_schedule.name),
            ("augmentation", augmentation_in_words(config)),
            ("batch size", config.training.batch_size),
            ("epoch of the weights", best and f"{best.epoch:g} of {config.training.epochs}"),
            ("seed", str(config.seed)),
            ("search space", space and short(Path(space).name)),
            ("trials", ended),
            ("maximum epochs of a trial", settings.get("max_epochs")),
            ("sampler", settings.get("sampler")),
            ("early stopping", settings.get("trial_scheduler")),
            ("seed of the sweep", str(settings.get("seed"))),
        ]

    def limits(self) -> Iterator[str]:
        """What a user must not expect, according to the sweep's folder."""
        yield "The model was selected by its validation figures, so these are optimistic."
        yield "All figures are for one split of one data set; another split gives other figures."
        yield (
            f"It predicts one of its {len(self._model.class_names)} classes for every image, even "
            "for an image that belongs to none of them."
        )
        yield from self._limits_of_test()
        yield from self._limits_of_data()
        yield from self._limits_of_model()
        if self._sweep.ended not in (attributes.FINISHED, attributes.TIME_BUDGET):
            yield f"The sweep had not finished: {self._sweep.ended}."

    def _limits_of_test(self) -> Iterator[str]:
        if self._test is None:
            yield "There is no figure for images that played no part in its selection."
            return
        low, high = self.figures[-1].interval or (0.0, 1.0)
        if high - low > _WIDE:
            yield (
                f"The test set is small ({self._test.num_images:,} images): with 95 % confidence "
                f"the accuracy on such images lies between {low:.3f} and {high:.3f}."
            )

    def _limits_of_data(self) -> Iterator[str]:
        known = [(counts["train"], name) for name, counts in self.classes]
        sizes = sorted((count, name) for count, name in known if count is not None)
        if sizes and sizes[-1][0] >= _UNEQUAL * sizes[0][0]:
            (fewest, rare), (most, common) = sizes[0], sizes[-1]
            yield (
                f"The classes are imbalanced: {most:,} training images of {common}, {fewest:,} of "
                f"{rare}."
            )
        duplicates = self._data.get("duplicates", {})
        for split, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
            if count := duplicates.get(f"{split}_in_{other}"):
                yield (
                    f"Some {split} images are also {other} images, which makes the {split} figures "
                    f"optimistic: {count:,}."
                )
        if count := duplicates.get("with_other_labels"):
            yield (
                f"Some images occur with more than one label, of which only one can be right: "
                f"{count:,}."
            )
        if bad := self._data.get("bad_images"):
            yield f"Files that cannot be read as images were left out of the data: {len(bad):,}."

    def _limits_of_model(self) -> Iterator[str]:
        settings = self._config.model
        if isinstance(settings, SvmSettings):
            yield "Its scores are votes of support vector machines rather than probabilities."
        if settings.weights != NO_WEIGHTS:
            yield (
                f"It was trained from the weights {weights_in_words(self._config)}. Their terms of "
                "use, and those of their training data, also apply to this model."
            )
        for known in starting_weights_of(self._sweep.folder, self._config):
            if known.overlap is None:
                yield (
                    "Those weights have no record of the images that they were made with, so it "
                    "is unknown whether images of the test set are among them."
                )
            elif seen := known.overlap.in_words("validation"):
                yield f"{seen}: it was selected by figures that are too optimistic."
            if known.overlap and (tested := known.overlap.tested_in_words()):
                yield f"{tested}: figures of this model on that test set are too optimistic."
        yield "No licence is named here: whoever publishes the model has to choose one."
