"""Mistakes that a user can mend; the command line shows them as one clear message."""

from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.search_spaces import SearchSpaceError
from toprung.trainables.data import DataError
from toprung.trainables.files.object_store import StoreError
from toprung.trainables.files.untrusted_files import UntrustedFileError
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.freezing import FreezeError
from toprung.trainables.system.typed_settings import ConfigError

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
