"""Raises the soft limit of file descriptors to the hard one: what a login or a unit gives is meant for interactive programs."""

from __future__ import annotations

import contextlib
import resource

# As many as Linux and systemd give at most by default. More is never needed, and some systems name 2^63 here.
MOST = 1024 * 1024


def attainable() -> int:
    """How many file descriptors a process may have once it has raised its soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = [each for each in (hard, MOST) if each != resource.RLIM_INFINITY]
    return max(soft if soft != resource.RLIM_INFINITY else MOST, min(limits))


def raise_limit() -> int:
    """Raises the soft limit as far as the system lets; says what it is now. The programs that are started inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = attainable()
    # macOS names a hard limit and refuses what is above another one.
    for most in (wanted, 10_240):
        if soft != resource.RLIM_INFINITY and soft < most <= wanted:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
