"""The kinds of failures of a trial; each needs a different response from whoever runs the sweep."""

import errno
import re
from collections.abc import Iterator

from toprung.trainables.files.object_store import StoreError

OUT_OF_MEMORY = "out of memory"
GPU_OUT_OF_MEMORY = "GPU out of memory"
GPU_MISSING = "GPU missing"
DIVERGED = "diverged"
BAD_DATA = "bad data"
CODE_ERROR = "code error"
WORKER_LOST = "worker lost"
DISK_FULL = "disk full"
TIMED_OUT = "timed out"
STORE_AWAY = "store away"
KINDS = (
    OUT_OF_MEMORY,
    GPU_OUT_OF_MEMORY,
    GPU_MISSING,
    DIVERGED,
    BAD_DATA,
    CODE_ERROR,
    WORKER_LOST,
    DISK_FULL,
    TIMED_OUT,
    STORE_AWAY,
)
"""`WORKER_LOST` and `TIMED_OUT` are detected by the driver, never by the trial itself."""

MAX_REASON = 500
"""Characters of a reason."""
_MAX_SEARCHED = 10_000
"""Characters of an error's text, which may quote a file: searching a longer one could be slow."""

_RESOURCES = (DISK_FULL, GPU_OUT_OF_MEMORY, OUT_OF_MEMORY)
"""The kinds that may hide behind any other error."""
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
"""The error numbers of a full disk."""
_TEXTS = {
    # numpy does not set errno, and torch's writer says only that it could not write.
    DISK_FULL: r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written"
    r"|inline_container\.cc.*unexpected pos|iostream error|PytorchStreamWriter failed",
    GPU_OUT_OF_MEMORY: r"(CUDA|HIP|MPS|XPU)\b.*out of memory"
    r"|CU(BLAS|DNN|SPARSE|SOLVER|FFT)_.*ALLOC",
    OUT_OF_MEMORY: r"DefaultCPUAllocator|not enough memory|Cannot allocate memory|std::bad_alloc",
}


def failure_of(error: BaseException) -> tuple[str, str]:
    """The kind of failure of a trial's error, and the reason in one line.

    If the error was raised from another one, or while another one was handled, that one may decide
    the kind: torch's writer, for example, hides a full disk behind an error of its own.
    """
    kinds = [(_kind(link), link) for link in _chain(error)]
    hidden = [known for known in kinds if known[0] in _RESOURCES]
    sorted_out = [known for known in kinds if known[0] != CODE_ERROR]
    kind, link = (hidden or sorted_out or kinds)[0]
    return kind, _reason(kind, link)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _kind(error: BaseException) -> str:
    # Not at the top: the driver needs only the names of the kinds, and runs without torch.
    import torch

    from toprung.trainables.results.records import DivergedError
    from toprung.trainables.system.device import GpuMissingError

    if isinstance(error, DivergedError):
        return DIVERGED
    if isinstance(error, GpuMissingError):
        return GPU_MISSING
    if isinstance(error, torch.OutOfMemoryError):
        return GPU_OUT_OF_MEMORY
    if isinstance(error, StoreError):
        return STORE_AWAY
    if isinstance(error, MemoryError) or _errno(error) == errno.ENOMEM:
        return OUT_OF_MEMORY
    if _errno(error) in DISK_IS_FULL:
        return DISK_FULL
    return _by_text(error) or (BAD_DATA if _is_about_data(error) else CODE_ERROR)


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _by_text(error: BaseException) -> str | None:
    """The kind of an error that a library describes by its text alone."""
    from safetensors import SafetensorError

    if not isinstance(error, RuntimeError | OSError | SafetensorError):
        return None
    text = str(error)[:_MAX_SEARCHED]
    return next((kind for kind, words in _TEXTS.items() if re.search(words, text)), None)


def _is_about_data(error: BaseException) -> bool:
    from PIL import Image, UnidentifiedImageError

    from toprung.trainables.data import DataError
    from toprung.trainables.data.decode import BadImageError

    of_images = UnidentifiedImageError, Image.DecompressionBombError, BadImageError
    return isinstance(error, (DataError, *of_images)) or (
        isinstance(error, OSError) and _was_reading_data(error)
    )


def _was_reading_data(error: OSError) -> bool:
    """Whether the error was raised by Toprung's data readers, or by Pillow."""
    link = error.__traceback__
    while link is not None:
        module = link.tb_frame.f_globals.get("__name__", "")
        if module.startswith(("toprung.trainables.data.", "PIL.")):
            return True
        link = link.tb_next
    return False


def _reason(kind: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    if kind != DIVERGED:
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"
