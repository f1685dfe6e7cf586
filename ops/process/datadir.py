"""Locks the data folder for one `callboard up` at a time, and writes its addresses into it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ops.register import is_locked, left_behind
from router.errors import RouterError
from router.nats.embedded import write_private

# Testing a lock takes far less.
LOOKED_AT_SECONDS = 5.0


class CannotStart(RouterError):
    """the system cannot be started"""


class DataFolder:
    """The data folder while we own it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left: list[Path] = []

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def refuse_a_second(self) -> None:
        """Raises CannotStart where another `callboard up` has the folder already."""
        if is_locked(self.path):
            edge = left_behind(self.path, "edge.url")
            at = f" at {edge}" if edge else ""
            raise CannotStart(
                f"Callboard already runs on the data folder {self.path}{at}; stop it, "
                "or choose another folder with --data-dir"
            )

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Locks the folder, making it where it is missing; takes back what was left in it afterwards."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "up.lock").open("a")
        except OSError as fault:
            raise CannotStart(
                f"the data folder {self.path} cannot be used: {fault.strerror}; choose another with --data-dir or CALLBOARD_DATA_DIR"
            ) from None
        with lock:
            self._lock(lock)
            with contextlib.suppress(OSError):
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
            try:
                yield
            finally:
                for path in self._left:
                    path.unlink(missing_ok=True)

    def _lock(self, lock: TextIO) -> None:
        """Locks the file until it is closed or this process ends: the descriptor is not inherited. Raises CannotStart."""
        deadline = time.monotonic() + LOOKED_AT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                self.refuse_a_second()
                # A command that looks whether the folder is locked holds it for a moment itself.
                if time.monotonic() > deadline:
                    raise CannotStart(f"the data folder {self.path} cannot be locked") from None
                time.sleep(0.01)

    def leave(self, name: str, address: str) -> None:
        """Writes an address for other commands to find; raises CannotStart."""
        path = self.path / name
        try:
            # For our user only: the address of a NATS may carry a password.
            write_private(path, address + "\n")
        except OSError as fault:
            raise CannotStart(f"{path} cannot be written: {fault.strerror}") from None
        self._left.append(path)
