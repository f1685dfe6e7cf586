"""Ends what a process started once that process is gone without saying so: a small process beside it, which `kill -9` spares.

The process holds the writing end of a pipe, which is the guard's standard input. It writes the process group of its child there,
and a full stop when all ended in good order. An end of the pipe without that means that it was killed. Then the guard asks the
group to end, and every process that carries the mark in its environment (on Linux: also those that left the group), and kills
after a grace period what is left. A process that changed both its group and its environment is not found.

This file is run as a script, without the packages of the project.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

# Not CALLBOARD_…: that would be a setting, and one that there is not.
MARK = "_CALLBOARD_GUARDED"
# 5 s to save what there is to save, as for any process of ours that lost its parent.
GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_DONE = b"."


class ProcessGuard:
    """The guard of one child: start it first, with `environment` for the child; say which group that has; `close` it at its end."""

    def __init__(self, grace: float | None = None) -> None:
        self._mark = secrets.token_hex(8)
        self.environment = {MARK: self._mark}
        seconds = GRACE_SECONDS if grace is None else grace
        self._process: subprocess.Popen[bytes] | None = None
        # Without one the child is as unguarded as by any shell; that is no reason not to run it.
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, self._mark, str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )

    def watch(self, group: int) -> None:
        """Names the process group of the child, if it has one of its own."""
        self._write(str(group).encode())

    def close(self) -> None:
        """Ends the guard: the child has ended, or is ended by its parent."""
        self._write(_DONE)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _write(self, said: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(said)


def main(mark: str, grace: float) -> None:
    """Waits for the end of the pipe, and ends what is left where that came without a word."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    said = b""
    while chunk := os.read(0, 64):
        said += chunk
    if said.endswith(_DONE):
        return
    group = int(said) if said.isdigit() else None
    _send(group, mark, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while _send(group, mark, 0):
        if time.monotonic() > deadline:
            _send(group, mark, signal.SIGKILL)
            return
        time.sleep(_LOOK_SECONDS)


def _send(group: int | None, mark: str, number: int) -> bool:
    """Sends a signal to all that is guarded; says whether there was anybody."""
    found = False
    if group is not None:
        with contextlib.suppress(OSError):
            os.killpg(group, number)
            found = True
    for pid in _marked(mark):
        with contextlib.suppress(OSError):
            os.kill(pid, number)
            found = True
    return found


def _marked(mark: str) -> Iterator[int]:
    """Finds the processes whose environment has the mark; none where there is no /proc."""
    sought = f"{MARK}={mark}".encode()
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as environment:
                if sought in environment.read().split(b"\0"):
                    yield int(name)
        except OSError:  # it has ended, or is another user's
            continue


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
