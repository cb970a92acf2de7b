"""Mistakes that a user can mend; the command line shows them as one clear message."""

from analysis.folder import SweepFolderError
from search_spaces import SearchSpaceError
from trainables.data import DataError
from trainables.freezing import FreezeError
from trainables.network import ImpossibleNetworkError
from trainables.object_store import StoreError
from trainables.settings import ConfigError
from trainables.system.untrusted_files import UntrustedFileError

NOT_FINISHED = 130
"""Exit code of a command whose sweep has not come to its end and can be resumed."""
USER_ERROR = 2
"""Exit code of a command that was refused."""


class ToprungError(ValueError):
    """Something that the user of a sweep can mend; the message says what."""

    exit_code = USER_ERROR
    """Of a command that ends with it."""


USER_ERRORS = (
    ToprungError,
    SweepFolderError,
    SearchSpaceError,
    ImpossibleNetworkError,
    FreezeError,
    DataError,
    ConfigError,
    StoreError,
    UntrustedFileError,
)
