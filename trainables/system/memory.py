"""How a process that trains keeps its memory."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
_LARGEST = 2**30


def keep_freed_memory() -> None:
    """Have this process keep the memory that is freed, to be used again, for good.

    By default glibc gives large blocks back to the system at once. Every step of training on a CPU
    then gets its activations anew from the system, which clears them page by page. For a process
    that trains and nothing else; without effect where there is no glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, _LARGEST)
            mallopt(_MMAP_THRESHOLD, _LARGEST)
