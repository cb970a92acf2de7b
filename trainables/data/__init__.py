"""Where images come from, how they are split, and how trials open them."""

from trainables.data.decode import decode_image, hash_image
from trainables.data.draws import drawn_test_sets
from trainables.data.duplicates import DuplicateCounts
from trainables.data.labelled import LabelledData, open_labelled
from trainables.data.listing.cache import cache_dir
from trainables.data.listing.errors import BadImage, DataError
from trainables.data.open_data import TestData, TrainingData, open_test_data, open_training_data
from trainables.data.prepare import PreparedData, prepare
from trainables.data.settings import DataSettings

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
