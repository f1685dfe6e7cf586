"""Puts the memory of a process that has started into huge pages, where the kernel has them.

Between two events of a quiet process its caches and its address translations are lost to others. What an event then costs is
mostly memory that is looked up again: with pages of 2 MiB in place of 4 KiB it is a tenth less, in a virtual machine, where each
translation takes twice the steps. `ops/adr/0064` has the figures.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

HUGE = 2 << 20
# madvise(2); COLLAPSE since Linux 6.1.
_HUGEPAGE, _COLLAPSE = 14, 25
_ALLOWED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPS = Path("/proc/self/maps")


def use_huge_pages() -> int:
    """Moves what the process holds now; returns how many huge pages that took. Harmless where the kernel has none.

    Takes some milliseconds for each, so it is for the moment in which a process is ready, once.
    """
    if not sys.platform.startswith("linux") or not is_allowed():
        return 0
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    moved = 0
    for begin, end in tuple(_ranges(_MAPS.read_text())):
        libc.madvise(begin, end - begin, _HUGEPAGE)
        moved += sum(libc.madvise(at, HUGE, _COLLAPSE) == 0 for at in range(begin, end, HUGE))
    log.debug("memory lies in huge pages", extra={"pages": moved})
    return moved


def is_allowed() -> bool:
    """Whether the system lets processes have huge pages; an operator may forbid them (`never`)."""
    try:
        return "[never]" not in _ALLOWED.read_text()
    except OSError:
        return False


def _ranges(maps: str) -> Iterator[tuple[int, int]]:
    """The parts of the writable memory of no file that whole huge pages can take, from /proc/<pid>/maps (proc(5))."""
    for line in maps.splitlines():
        span, mode, _offset, _device, inode, *name = line.split(maxsplit=5)
        # Stacks grow, and are small.
        if inode != "0" or mode != "rw-p" or name[:1] == ["[stack]"]:
            continue
        first, last = (int(each, 16) for each in span.split("-"))
        begin, end = -(-first // HUGE) * HUGE, last // HUGE * HUGE
        if begin < end:
            yield begin, end
