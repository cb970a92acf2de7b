"""Where images come from, how they are split, and how trials open them."""

from toprung.trainables.data.decode import decode_image, hash_image
from toprung.trainables.data.draws import drawn_test_sets
from toprung.trainables.data.duplicates import DuplicateCounts
from toprung.trainables.data.labelled import LabelledData, open_labelled
from toprung.trainables.data.listing.cache import cache_dir
from toprung.trainables.data.listing.errors import BadImage, DataError
from toprung.trainables.data.open_data import (
    TestData,
    TrainingData,
    open_test_data,
    open_training_data,
)
from toprung.trainables.data.prepare import PreparedData, prepare
from toprung.trainables.data.settings import DataSettings

__all__ = [
    "BadImage",
    "DataError",
    "DataSettings",
    "DuplicateCounts",
    "LabelledData",
    "PreparedData",
    "TestData",
    "TrainingData",
    "cache_dir",
    "decode_image",
    "drawn_test_sets",
    "hash_image",
    "open_labelled",
    "open_test_data",
    "open_training_data",
    "prepare",
]
