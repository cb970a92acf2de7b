"""Mistakes that a user can mend; the command line shows them as one clear message."""

from analysis.folder import SweepFolderError
from search_spaces import SearchSpaceError
from trainables.data import DataError
from trainables.freezing import FreezeError
from trainables.network import ImpossibleNetworkError
from trainables.settings import ConfigError


class ToprungError(ValueError):
    """Something that the user of a sweep can mend; the message says what."""


USER_ERRORS = (
    ToprungError,
    SweepFolderError,
    SearchSpaceError,
    ImpossibleNetworkError,
    FreezeError,
    DataError,
    ConfigError,
)
