"""The disjoint test sets that could be drawn from a source, by the names of their images."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from trainables.data.cache import Cache
from trainables.data.errors import NoSuchDrawError
from trainables.data.parts import DataParts
from trainables.data.settings import DataSettings


def drawn_test_sets(
    settings: DataSettings, *, cache_dir: Path | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each draw (`data/test_draw`) with the names of its test images; no image is read.

    Args:
        settings: Of the data; their own `test_draw` makes no difference.
        cache_dir: By default, what the function `cache_dir` returns.

    Raises:
        DataError: The source is not there, or its images cannot be split at all.
    """
    for draw in count():
        drawn = settings.model_copy(update={"test_draw": draw})
        try:
            yield draw, DataParts(drawn, Cache(cache_dir), show_progress=False).test_names()
        except NoSuchDrawError:
            return
