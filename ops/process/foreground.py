"""Leaves make's process group, so that Ctrl-C reaches `callboard up` and not make.

Under make, Ctrl-C would go to make too, which then reports an error although everything ended in good order. So while we
run, the terminal's foreground is a group of our own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from ops.environment import under_make


@contextlib.contextmanager
def own_foreground() -> Iterator[None]:
    """Takes the terminal for a process group of our own where make holds it; gives it back in the end."""
    terminal = 0
    group = os.getpgrp()
    try:
        if not under_make() or not sys.stdin.isatty() or group == os.getpid() or os.tcgetpgrp(terminal) != group:
            yield
            return
    except OSError:
        yield
        return
    # Whoever is in the background and touches the terminal gets SIGTTOU; Ctrl-Z would stop us behind make's back.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTTOU, signal.SIGTSTP)}
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, os.getpgrp())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, group)
            os.setpgid(0, group)
        for number, handler in before.items():
            signal.signal(number, handler)
