"""Inspecting a model with one image: its most probable classes, and pictures of its layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from toprung.analysis.drawing.style import as_png, styled
from toprung.analysis.inside_model.figures import (
    NUM_NEURONS,
    Shown,
    activations_figure,
    filters_figure,
    guided_figure,
)
from toprung.analysis.inside_model.guided_backprop import strongest_neurons
from toprung.analysis.inside_model.layers import convolutions
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.study.sweep_record import open_model
from toprung.analysis.sweep_folder.files import write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.trainables.data import decode_image
from toprung.trainables.system.typed_settings import ConfigError


@dataclass(frozen=True)
class Inspection:
    """The result of an inspection.

    Attributes:
        classes: the most probable classes with their probabilities, the most probable first.
        figures: the figures, by name.
        remarks: what could not be shown, and why.
    """

    classes: tuple[tuple[str, float], ...]
    figures: dict[str, Figure]
    remarks: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """For JSON, without the figures."""
        classes = [{"class": name, "probability": share} for name, share in self.classes]
        return {"classes": classes, "remarks": list(self.remarks)}


def inspect(
    path: Path,
    image: Path,
    layers: Sequence[str] = (),
    neurons: Sequence[int] | None = None,
    top_k: int = 5,
    *,
    trust: bool = False,
) -> Inspection:
    """Inspect a model with an image.

    Args:
        path: the folder of an export, or of a sweep, whose winner is inspected.
        image: the image file.
        layers: the paths of the layers whose activation maps are shown; by default the first and
            the last convolution.
        neurons: the neurons of the last of these layers for guided backpropagation; by default
            those with the strongest responses.
        top_k: the number of classes.
        trust: whether everything that a sweep's files name outside its folder may be used.

    Raises:
        SweepFolderError: if there is no model.
        DataError: if the file cannot be read as an image.
        ConfigError: if a layer or neuron does not exist; if maps or guided backpropagation were
            requested that the network does not have.
    """
    model = open_model(path, trust=trust)
    shown = Shown(image.name, decode_image(image, model.config.data))
    found = convolutions(model)
    layers = tuple(dict.fromkeys(layers or (*found[:1], *found[-1:])))
    figures, remarks = {}, []
    with styled():
        if found:
            figures["filters"] = filters_figure(model, found[0])
        for layer in layers:
            figures[f"activations_{layer}"] = activations_figure(model, shown, layer)
        try:
            figures[f"guided_backprop_{layers[-1]}"] = _guided(model, shown, layers[-1], neurons)
        except ConfigError as error:
            if neurons is not None:  # requested
                raise
            remarks.append(f"no guided backpropagation: {error}")
    return Inspection(tuple(model.predict(image, top_k)), figures, tuple(remarks))


def classes_alone(path: Path, image: Path, top_k: int = 5, *, trust: bool = False) -> Inspection:
    """The most probable classes of an image, without figures; raises as `inspect` does."""
    return Inspection(tuple(open_model(path, trust=trust).predict(image, top_k)), {}, ())


def check_place(to: Path) -> None:
    """Check that pictures can be written to a folder without replacing anything.

    Raises:
        SweepFolderError: if it exists and is not an empty folder.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise SweepFolderError(f"{to}: exists already; choose another folder (--to FOLDER)")


def write_figures(inspection: Inspection, to: Path) -> dict[str, Path]:
    """Write the figures as PNG files into a folder; return their paths, by name.

    Raises:
        SweepFolderError: if the folder exists and is not empty, or cannot be written.
    """
    check_place(to)
    paths = {name: to / f"{name}.png" for name in inspection.figures}
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name, figure in inspection.figures.items():
            write_atomically(paths[name], as_png(figure))
    except OSError as error:
        raise SweepFolderError(f"{to}: cannot be written: {error.strerror}") from None
    return paths


def _guided(model: TrainedModel, shown: Shown, layer: str, neurons: Sequence[int] | None) -> Figure:
    if neurons is None:
        neurons = strongest_neurons(model, shown.pixels_HWC, layer, NUM_NEURONS)
    return guided_figure(model, shown, layer, neurons)
