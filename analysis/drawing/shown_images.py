"""Drawing images with a model's predictions for them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from toprung.analysis.drawing.style import (
    COLOURS,
    INK,
    LEFT_TO_RIGHT,
    MUTED,
    WIDTH,
    new_figure,
    short,
)
from toprung.analysis.models.predictions import Predictions

RIGHT, WRONG = COLOURS[2], COLOURS[7]
_DPI = 144  # as for PNG files, so that each pixel of an image is one pixel of the file
_SMALL = 32  # pixels: images up to this size are shown as squares


def draw_random(predictions: Predictions, columns: int = 10) -> Figure:
    """Randomly drawn images, each with its prediction, and the true class if that is wrong."""
    shown = predictions.random
    width = WIDTH / columns
    height = width + 0.32
    figure, axes = _empty(columns, width, -(-len(shown) // columns), height)
    for position, index in enumerate(shown):
        row, column = divmod(position, columns)
        left, top = column * width, row * height + 0.02
        is_right = _place(axes, predictions, index, left + 0.03, top, width - 0.06)
        sign = "✓" if is_right else "✗"
        predicted = predictions.class_names[predictions.predicted_N[index]]
        _write(
            axes,
            left + width / 2,
            top + width,
            f"{sign} {_in_place(predicted, 11)}",
            RIGHT if is_right else WRONG,
            ha="center",
        )
        if not is_right:
            true = _in_place(predictions.class_names[predictions.labels_N[index]], 11)
            _write(axes, left + width / 2, top + width + 0.13, f"is {true}", MUTED, ha="center")
    return figure


def draw_mistakes(predictions: Predictions, columns: int = 3) -> Figure | None:
    """The highest-confidence errors, each with the true class and the three most probable classes.

    None if there are no errors.
    """
    shown = predictions.wrong
    if not len(shown):
        return None
    width, height, side = WIDTH / columns, 1.05, 0.95
    figure, axes = _empty(columns, width, -(-len(shown) // columns), height)
    for position, index in enumerate(shown):
        row, column = divmod(position, columns)
        left, top = column * width, row * height + 0.04
        _place(axes, predictions, index, left, top, side)
        text_left = left + side + 0.08
        true = predictions.labels_N[index]
        probability_of_true = predictions.probabilities_NK[index, true]
        name = _in_place(predictions.class_names[true], 18)
        _write(axes, text_left, top + 0.02, f"is {name}", INK, weight="bold", size=7.5)
        _write(
            axes,
            text_left,
            top + 0.18,
            f"(predicted: {_percent(probability_of_true)})",
            MUTED,
            size=7,
        )
        for rank, (guess, probability) in enumerate(predictions.top(index)):
            _write(
                axes,
                text_left,
                top + 0.40 + 0.17 * rank,
                f"{'✗ ' if rank == 0 else ''}{_percent(probability)} {_in_place(guess, 15)}",
                WRONG if rank == 0 else INK,
                size=7.5,
            )
    return figure


def _in_place(name: str, length: int) -> str:
    """A name as a label that does not reverse its line if its script is written right to left."""
    return f"{LEFT_TO_RIGHT}{short(name, length)}"


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def tile(pixels_HWC: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """An image in RGB, scaled to a square of `side` inches; pixels of small images stay visible."""
    image = Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)
    image, longer, wanted = image.convert("RGB"), max(image.size), side * _DPI
    if longer <= _SMALL:
        times, method = float(-(-wanted // longer)), Image.Resampling.NEAREST
    else:
        times, method = wanted / longer, Image.Resampling.LANCZOS
    size = [max(1, round(length * times)) for length in image.size]
    return np.asarray(image.resize((size[0], size[1]), method))


def _empty(columns: int, width: float, rows: int, height: float) -> tuple[Figure, Axes]:
    """An empty figure for rows and columns of these sizes, in inches from the upper left corner."""
    figure = new_figure(columns * width, rows * height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, columns * width), ylim=(rows * height, 0), autoscale_on=False)
    return figure, axes


def _place(
    axes: Axes, predictions: Predictions, index: int, left: float, top: float, side: float
) -> bool:
    """Draw an image in the middle of a square; return whether the model's prediction is right."""
    pixels = tile(predictions.pixels_of(index), side)
    height, width = np.array(pixels.shape[:2]) / max(pixels.shape[:2]) * side
    left, top = left + (side - width) / 2, top + (side - height) / 2
    extent = (left, left + width, top + height, top)
    axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")
    return bool(predictions.predicted_N[index] == predictions.labels_N[index])


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    colour: str,
    *,
    ha: str = "left",
    size: float = 7,
    weight: str = "normal",
) -> None:
    axes.text(x, y, text, color=colour, fontsize=size, weight=weight, ha=ha, va="top")
