"""Errors that a user can fix; the command line shows each as one clear message."""

from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.search_spaces import SearchSpaceError
from toprung.trainables.data import DataError
from toprung.trainables.files.object_store import StoreError
from toprung.trainables.files.untrusted_files import UntrustedFileError
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.freezing import FreezeError
from toprung.trainables.system.typed_settings import ConfigError

NOT_FINISHED = 130
"""Exit code of a command whose sweep has not finished and can be resumed."""
USER_ERROR = 2
"""Exit code of a command that the user has to correct."""


class ToprungError(ValueError):
    """An error that the user can fix; the message states what is wrong and what to do."""

    exit_code = USER_ERROR
    """The exit code of a command that ends with this error."""


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
