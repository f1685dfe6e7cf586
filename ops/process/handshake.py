"""Lets a child process prove to its parent that it runs Callboard and is ready.

The parent gives each child a pipe and a number made for this start (nonce); the child writes the nonce back once it is ready.
A process that listens on the right port or answers under the right name, but was not told the nonce, proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable

from ops.environment import READY, inherited_descriptor

_NONCE_BYTES = 16


class Handshake:
    """The parent's end, for one start of one child."""

    def __init__(self, ready: Callable[[], None]) -> None:
        """Calls `ready` once when the child has proved itself."""
        self._nonce = secrets.token_hex(_NONCE_BYTES)
        self._ready = ready
        self._reading, self.descriptor = os.pipe()
        os.set_blocking(self._reading, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reading, self._heard)
        self._open = True

    @property
    def environment(self) -> dict[str, str]:
        """What the child finds its end by."""
        return {READY: f"{self.descriptor}:{self._nonce}"}

    def started(self) -> None:
        """Closes the child's end here, so that the pipe ends with the child."""
        os.close(self.descriptor)
        self.descriptor = -1

    def _heard(self) -> None:
        try:
            # A pipe takes so few bytes whole or not at all, so there is no half nonce.
            said = os.read(self._reading, 4 * _NONCE_BYTES)
        except BlockingIOError:
            return
        proved = secrets.compare_digest(said, self._nonce.encode())
        self.close()
        if proved:
            self._ready()

    def close(self) -> None:
        """Listens no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reading)
            os.close(self._reading)
        if self.descriptor >= 0:
            self.started()


def report_ready() -> None:
    """Tells the parent that this process is ready; does nothing where no parent waits, or it was told already."""
    nonce = os.environ.get(READY, "").partition(":")[2]
    descriptor = inherited_descriptor(READY)
    os.environ.pop(READY, None)
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        os.write(descriptor, nonce.encode())
    os.close(descriptor)
