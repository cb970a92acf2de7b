"""Letting a training process keep its freed memory."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
_LARGEST = 2**30


def keep_freed_memory() -> None:
    """Let this process keep freed memory for reuse, from now on.

    By default glibc returns large blocks to the system at once. Then every training step on a CPU
    gets the memory of its activations from the system again, which clears it page by page. Only for
    a process that does nothing but train; no effect without glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, _LARGEST)
            mallopt(_MMAP_THRESHOLD, _LARGEST)
