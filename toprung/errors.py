"""Mistakes that a user can mend; the command line shows them as one clear message."""

from analysis.sweep_folder.folder import SweepFolderError
from search_spaces import SearchSpaceError
from trainables.data import DataError
from trainables.files.object_store import StoreError
from trainables.files.untrusted_files import UntrustedFileError
from trainables.networks.base import ImpossibleNetworkError
from trainables.networks.freezing import FreezeError
from trainables.system.typed_settings import ConfigError

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
