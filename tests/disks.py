"""Gives a test a small disk of its own, which can be filled and freed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system of a few MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Takes all the space that is left."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while filler.write(bytes(4096)) == 4096:
                pass

    def free(self) -> None:
        """Gives back what `fill` took."""
        self._filler.unlink()


@contextlib.contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Mounts a tmpfs while the block runs; skips the test where mounting is not permitted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as fault:
        pytest.skip(f"a small disk cannot be mounted: {fault}")
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted: {made.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a process that is still ending may hold a file.
        subprocess.run(["umount", "-l", str(path)], check=True)
