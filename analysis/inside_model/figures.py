"""Pictures of the layers of a network, for one image: filters, activation maps, guided gradients.

Shape letters: O filters, I input channels, N neurons, C channels, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toprung.analysis.drawing.style import WIDTH, new_figure, short
from toprung.analysis.drawing.tiles import coloured, each_stretched, grid_shape, show, tiled

if TYPE_CHECKING:
    from toprung.analysis.models.model import TrainedModel

MAX_FILTERS = 128
NUM_MAPS = 16
NUM_NEURONS = 10
_COLUMNS = 6
_OUTLIERS = 99.5
"""The percentile of a gradient's absolute values that is drawn as black or full colour."""


@dataclass(frozen=True)
class Shown:
    """An image that a network is run on: its name, and its pixels (0..255)."""

    name: str
    pixels_HWC: NDArray[np.uint8]


def filters_figure(model: "TrainedModel", layer: str) -> Figure:
    """The filters of a convolution as a grid, each on its own scale.

    Filters with three channels are shown as RGB images, filters with one channel as grey images,
    and all others as the mean over their channels, in grey. Only the first `MAX_FILTERS` are shown.
    """
    from toprung.analysis.inside_model.layers import filters

    filters_OIHW = filters(model, layer)
    num_filters, num_channels, *size = filters_OIHW.shape
    images_OHWI = filters_OIHW[:MAX_FILTERS].transpose(0, 2, 3, 1)
    if num_channels not in (1, 3):
        images_OHWI = images_OHWI.mean(3, keepdims=True)
    rows, columns = grid_shape(len(images_OHWI))
    width = min(WIDTH, 1 + 0.62 * columns)
    figure = new_figure(width, 0.4 + width * rows / columns)
    count = f"{MAX_FILTERS} of {num_filters}" if num_filters > MAX_FILTERS else num_filters
    title = f"{short(layer)}: {count} filters {num_channels}x{size[0]}x{size[1]}"
    show(figure.add_subplot(), tiled(each_stretched(images_OHWI), columns), title)
    return figure


def activations_figure(model: "TrainedModel", image: Shown, layer: str) -> Figure:
    """The image, and a layer's first activation maps, before and after the next activation.

    Each map is on its own scale, from dark (smallest) to bright (largest).

    Raises:
        ConfigError: if there is no such layer, or its outputs are not maps.
    """
    from toprung.analysis.inside_model.layers import activation_maps

    maps = activation_maps(model, image.pixels_HWC, layer)
    figure = new_figure(height=3.2)
    axes = figure.subplots(1, 3, width_ratios=[2, 3, 3], gridspec_kw={"wspace": 0.05})
    show(axes[0], image.pixels_HWC, short(image.name))
    channels, height, width = maps.before_CHW.shape
    _show_maps(axes[1], maps.before_CHW, f"output of {short(layer)}")
    if maps.after_CHW is None:
        axes[2].set_axis_off()
        axes[2].text(0.5, 0.5, "no activation follows", ha="center", va="center")
    else:
        _show_maps(axes[2], maps.after_CHW, f"after {maps.activation}")
    shown = f"{NUM_MAPS} of {channels}" if channels > NUM_MAPS else channels
    figure.supxlabel(f"{shown} maps of {height}x{width}", fontsize=8)
    return figure


def guided_figure(
    model: "TrainedModel", image: Shown, layer: str, neurons: Sequence[int]
) -> Figure:
    """The image, and the guided gradient of each neuron with respect to the image's pixels.

    Grey means no influence. Each gradient is on its own scale.

    Raises:
        ConfigError: as for `guided_backprop`.
    """
    from toprung.analysis.inside_model.guided_backprop import guided_backprop

    gradients_NCHW = guided_backprop(model, image.pixels_HWC, layer, neurons)
    columns = min(_COLUMNS, len(neurons) + 1)
    rows = ceil((len(neurons) + 1) / columns)
    figure = new_figure(height=0.2 + 1.5 * rows)
    all_axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in all_axes:
        axes.set_axis_off()
    show(all_axes[0], image.pixels_HWC, short(image.name, 16))
    for axes, neuron, gradient_CHW in zip(all_axes[1:], neurons, gradients_NCHW, strict=False):
        show(axes, _around_grey(gradient_CHW.transpose(1, 2, 0)), f"neuron {neuron}")
    return figure


def _show_maps(axes: Axes, maps_CHW: NDArray[np.float32], title: str) -> None:
    maps_NHW1 = each_stretched(maps_CHW[:NUM_MAPS, :, :, np.newaxis])
    _, columns = grid_shape(len(maps_NHW1))
    show(axes, tiled(coloured(maps_NHW1[..., 0]), columns), title)


def _around_grey(gradient_HWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map no influence to 0.5; the few largest values are clipped, so that others are visible."""
    greatest = np.percentile(np.abs(gradient_HWC), _OUTLIERS) or np.abs(gradient_HWC).max() or 1
    centred: NDArray[np.float32] = np.clip(0.5 + gradient_HWC / greatest / 2, 0, 1)
    return centred
