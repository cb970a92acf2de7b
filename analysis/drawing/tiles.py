"""Small images side by side: filters, maps and pictures as one grid.

Shape letters: N images, H height, W width, C channels (1 grey, 3 RGB).
"""

from math import ceil, isqrt

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import NDArray

_MIN_SIDE = 48
"""Pixels: smaller images are enlarged, pixel by pixel, so that the grid is not blurred."""
_GAP = 1 / 24
"""The gap between two images, as a share of their longer side."""
_FRAME = 0.6
"""A grey that is visible next to black and white, on light and on dark pages."""
_MOST_OBLONG = 3


def grid_shape(count: int) -> tuple[int, int]:
    """Rows and columns for `count` images: full rows unless that is too oblong (96 as 8x12)."""
    rows = next(n for n in range(isqrt(count), 0, -1) if count % n == 0)
    if count // rows <= _MOST_OBLONG * rows:
        return rows, count // rows
    columns = ceil(count**0.5)
    return ceil(count / columns), columns


def tiled(images_NHWC: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """The images (0..1), row by row, as one RGB image with a grey frame around each."""
    count, *size, _ = images_NHWC.shape
    factor = max(1, ceil(_MIN_SIDE / max(size)))
    images = images_NHWC.repeat(factor, 1).repeat(factor, 2)
    height, width = images.shape[1:3]
    gap = max(1, round(_GAP * max(height, width)))
    rows = ceil(count / columns)
    shape = (gap + rows * (height + gap), gap + columns * (width + gap), 3)
    grid = np.full(shape, _FRAME, np.float32)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid


def each_stretched(images_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each image scaled to 0..1 by its smallest and largest value; a constant image becomes 0."""
    finite = np.nan_to_num(images_NHWC.astype(np.float32))
    least = finite.min((1, 2, 3), keepdims=True)
    span = finite.max((1, 2, 3), keepdims=True) - least
    stretched: NDArray[np.float32] = (finite - least) / np.where(span == 0, 1, span)
    return stretched


def coloured(maps_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps (0..1) as images_NHWC, from dark to bright."""
    colours: NDArray[np.float32] = colormaps["viridis"](maps_NHW)[..., :3].astype(np.float32)
    return colours


def show(axes: Axes, image_HWC: NDArray[np.generic], title: str = "") -> None:
    """Draw one image, grey or RGB, without axes around it."""
    is_grey = image_HWC.shape[2] == 1
    greatest = 255 if image_HWC.dtype == np.uint8 else 1
    if is_grey:
        axes.imshow(image_HWC[..., 0], cmap="gray", vmin=0, vmax=greatest)
    else:
        axes.imshow(image_HWC)
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, loc="center")
