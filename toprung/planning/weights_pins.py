"""Compares the images that starting weights were made with to the sweep's own images."""

from typing import Any

from rich.console import Console

from toprung.analysis.provenance.starting_weights import (
    StartingWeights,
    as_bytes,
    read_starting_weights,
)
from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.console import show_line
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import PreparedData
from toprung.trainables.provenance.image_set import ProvenanceError
from toprung.trainables.provenance.overlap import overlap
from toprung.trainables.provenance.record import Provenance, read_provenance


class WeightsPins:
    """Reads the record of images in every weights file that a config names, each file once.

    Torchvision's weights are not checked: it is well known that they carry no record.

    Args:
        data: the sweep's data.
        console: where warnings are shown.
    """

    def __init__(self, data: PreparedData, console: Console) -> None:
        self._data = data
        self._console = console
        self._known: dict[str, StartingWeights] = {}
        self._folder: SweepFolder | None = None

    def __call__(self, config: TrialConfig) -> TrialConfig:
        """Return the same config; warn if its weights were made with images of the sweep."""
        if config.model.weights_file and config.model.weights not in self._known:
            self._known[config.model.weights] = self._read(config)
            if self._folder is not None:
                self.write(self._folder)
        return config

    def write(self, folder: SweepFolder) -> None:
        """Write the findings to the sweep's folder, and from now on each new one as well.

        Earlier findings there are kept: a weights file may have changed since, and some trials
        have started from its earlier content.

        Raises:
            SweepFolderError: if the earlier findings cannot be read.
            OSError: if the findings cannot be written.
        """
        self._folder = folder
        kept = read_starting_weights(folder.starting_weights)
        known = {_identity(one) for one in kept}
        new = [one for one in self._known.values() if _identity(one) not in known]
        if new:
            write_atomically(folder.starting_weights, as_bytes([*kept, *new]))

    def as_plain(self) -> list[dict[str, Any]]:
        """Each weights file with its counts, for `sweep.yaml`."""
        return [
            {"weights": one.weights}
            | (one.overlap.as_plain() if one.overlap else {"images": "not recorded"})
            for one in self._known.values()
        ]

    def _read(self, config: TrialConfig) -> StartingWeights:
        file, weights = config.model.weights_file, config.model.weights
        assert file is not None
        try:
            found, why = read_provenance(file), "have no record of the images they were made with"
        except ProvenanceError as error:
            found, why = None, f"have a record of images that cannot be read ({error})"
        if found is None:
            show_line(
                self._console,
                f"weights {weights}: {why}, so this sweep's test images may be among them",
            )
            return StartingWeights(weights, None, None)
        return self._compared(weights, found)

    def _compared(self, weights: str, found: Provenance) -> StartingWeights:
        names, _, splits = zip(*self._data.splits, strict=True)
        seen = overlap(names, splits, self._data.pixel_hashes, found.all)
        if seen.is_found:
            shared = "; ".join(seen.all_in_words("these weights"))
            show_line(
                self._console,
                f"warning: weights {weights}: {shared} (such as {', '.join(seen.examples)}): "
                "figures on these images are too optimistic",
            )
        return StartingWeights(weights, found.all, seen)


def _identity(one: StartingWeights) -> tuple[object, ...]:
    return one.weights, one.images.ids if one.images else None
