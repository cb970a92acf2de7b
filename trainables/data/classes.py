"""Restricting a source to its first classes."""

from collections.abc import Sequence

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.listing.image_list import ListedImage


def first_classes(
    images: Sequence[ListedImage], class_order: Sequence[str] | None, num_classes: int | None
) -> list[ListedImage]:
    """The images of the first `num_classes` classes, in the source's own order or else sorted.

    Raises:
        DataError: There are fewer classes.
    """
    if num_classes is None:
        return list(images)
    order = class_order or sorted({image.class_name for image in images})
    if num_classes > len(order):
        raise DataError(
            f"data/num_classes is {num_classes}, but the data have only {len(order)} classes."
        )
    chosen = set(order[:num_classes])
    return [image for image in images if image.class_name in chosen]
