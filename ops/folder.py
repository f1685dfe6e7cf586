"""This file is where the data folder is taken: by one `callboard up` at a time, which leaves its addresses in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ops.settings import is_locked, left_behind
from router.embedded import write_private
from router.errors import RouterError


class CannotStart(RouterError):
    """the system cannot be started"""


class Folder:
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
            try:
                # The lock goes with us, also when we are killed: the descriptor is not inherited.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.refuse_a_second()
                raise CannotStart(f"the data folder {self.path} cannot be locked") from None
            with contextlib.suppress(OSError):
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
            try:
                yield
            finally:
                for path in self._left:
                    path.unlink(missing_ok=True)

    def leave(self, name: str, address: str) -> None:
        """Writes an address for other commands to find; raises CannotStart."""
        path = self.path / name
        try:
            # For our user only: the address of a NATS may carry a password.
            write_private(path, address + "\n")
        except OSError as fault:
            raise CannotStart(f"{path} cannot be written: {fault.strerror}") from None
        self._left.append(path)
