"""Has the C library keep freed buffers of pictures for the next picture."""

from __future__ import annotations

import ctypes
import sys

# mallopt(3): the parameters' numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# A 4K picture of 8 bits has 32 MiB, and there are three of them at a time: received, decoded, being sent.
_KEPT = 128 << 20
# glibc before 2.35 takes no more than half a heap of 64 MiB.
_THRESHOLDS = (64 << 20, 32 << 20)


def keep_freed_buffers() -> bool:
    """Keeps up to 128 MiB of freed memory in this process, and says whether the C library takes the setting (glibc does).

    By default glibc gives a freed buffer of several megabytes back to the kernel, and each page of the next one is mapped and
    zeroed again: half of the CPU time of a 1080p picture (measured by `make bench ARGS='--only octane'`, with and without).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # musl has no mallopt
    return any(mallopt(_M_MMAP_THRESHOLD, size) for size in _THRESHOLDS) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))
