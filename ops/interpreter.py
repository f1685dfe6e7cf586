"""Says which Python runs this process, and whether it was built with profile-guided optimisation.

Python is faster where its compiler knew what a trial run used (`./configure --enable-optimizations`); pyenv's usual builds are made
without. The configuration does not say all: Debian runs the trial without that option. So where the option is missing, the
addresses of functions decide. A compiler leaves those of one source file together; one with a profile puts what the trial run used
into one place and what it did not use into another, often a megabyte apart.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import sysconfig

# All of Objects/longobject.c; a trial run uses some of them all the time and others never.
NEIGHBOURS = (
    "PyLong_FromLong",
    "PyLong_AsLongAndOverflow",
    "PyLong_FromDouble",
    "PyLong_AsUnsignedLongMask",
    "PyLong_AsVoidPtr",
    "PyLong_FromString",
    "PyLong_AsUnsignedLongLongMask",
    "PyLong_GetInfo",
)
# Bytes from the first to the last of them: 31,000 to 43,000 in builds without a profile (3.8 to 3.13), 1.35 to 1.4 million in Debian's.
TOGETHER, APART = 128 << 10, 512 << 10


def name() -> str:
    """Names the interpreter and how it was built: `CPython 3.11.7 without profile-guided optimisation`."""
    known = f"{platform.python_implementation()} {platform.python_version()}"
    optimised = is_optimised()
    if optimised is None:
        return known
    return f"{known} {'with' if optimised else 'without'} profile-guided optimisation"


def is_optimised() -> bool | None:
    """Whether this Python was built with profile-guided optimisation; None where that cannot be known."""
    if sys.implementation.name != "cpython":
        return None
    return judge(sysconfig.get_config_var("CONFIG_ARGS"), _span() if sys.platform == "linux" else None)


def judge(configured: str | None, span: int | None) -> bool | None:
    """Judges by the arguments of `configure`, and by how far functions of one source file lie apart."""
    if configured is None:
        return None
    if "--enable-optimizations" in configured:
        return True
    if span is None:
        return None
    if span < TOGETHER:
        return False
    # Optimisation at link time may part them without a profile.
    return True if span > APART and "--with-lto" not in configured else None


def _span() -> int | None:
    try:
        places = [ctypes.cast(getattr(ctypes.pythonapi, each), ctypes.c_void_p).value or 0 for each in NEIGHBOURS]
    except AttributeError:
        return None
    return max(places) - min(places)
