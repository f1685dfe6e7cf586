"""Keeps the register of running `callboard up` processes of this user, so that commands find them from any folder.

Each `up` has a file of its own in a folder that only this user can read, and holds a lock on it: the lock goes with the
process, however it ends, so that a file without one is left over and is ignored. A file may hold a NATS password and the secret
that tokens are signed with, which the user can read from the process's environment as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import tempfile
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

_PREFIX, _SUFFIX = "up-", ".json"


@dataclass(frozen=True)
class Running:
    """A `callboard up` that runs: where its data and its edge are, and the settings that commands need to reach it."""

    data_dir: str
    pid: int = 0
    edge_url: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.data_dir} ({self.edge_url or 'no edge'})"


class Ambiguous(Exception):
    """several `callboard up` run, and nothing says which one is meant"""

    def __init__(self, found: Iterable[Running]) -> None:
        listed = "; ".join(map(str, found))
        super().__init__(
            f"several `callboard up` run: {listed}; choose one with --data-dir FOLDER or CALLBOARD_DATA_DIR, "
            "or name its NATS with CALLBOARD_NATS_URL or its edge with CALLBOARD_EDGE_URL"
        )


def folders(given: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Lists where a register may be: where it is set, else in the runtime, the state and the temporary folder of the user."""
    if given is not None:
        return [given]
    found = []
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime) / "callboard")
    state = environment.get("XDG_STATE_HOME") or (f"{home}/.local/state" if (home := environment.get("HOME")) else "")
    if state:
        found.append(Path(state) / "callboard")
    found.append(Path(tempfile.gettempdir()) / f"callboard-{os.getuid()}")
    return [folder for folder in found if folder.is_absolute()]


class Register:
    """The register, kept in the first of some folders that can be used, and read from all of them."""

    def __init__(self, candidates: Iterable[Path]) -> None:
        self._folders = list(candidates)

    def running(self) -> list[Running]:
        """Lists those that run now, and removes what others left."""
        found: dict[str, Running] = {}
        for folder in self._folders:
            if _is_private(folder):
                for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")):
                    if one := _read(path):
                        found[one.data_dir] = one
        return list(found.values())

    @contextlib.contextmanager
    def kept(self, running: Running) -> Iterator[bool]:
        """Registers this process while the block runs; false where no folder takes the entry."""
        written = None
        for folder in self._folders:
            with contextlib.suppress(OSError):
                _make_private(folder)
                written = _write(folder, running)
                break
        if written is None:
            yield False
            return
        path, file = written
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
            file.close()


def find(folder: Path, named: bool, register: Register) -> Running | None:
    """Finds the `callboard up` that is meant: that on a data folder, or the only one where no folder is named.

    Raises Ambiguous where there are several.
    """
    others = register.running()
    if is_locked(folder):
        here = str(folder.resolve())
        url = left_behind(folder, "nats.url")
        left = Running(here, 0, left_behind(folder, "edge.url"), {"CALLBOARD_NATS_URL": url} if url else {})
        return next((one for one in others if one.data_dir == here), left)
    if named or not others:
        return None
    if len(others) > 1:
        raise Ambiguous(others)
    return others[0]


def left_behind(folder: Path, name: str) -> str | None:
    """Reads an address that `callboard up` keeps in its data folder; None where it no longer runs."""
    try:
        if not is_locked(folder):
            return None  # left by one that was killed
        return (folder / name).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def is_locked(folder: Path) -> bool:
    """Says whether a `callboard up` runs on this data folder."""
    try:
        with (folder / "up.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
    except OSError:
        return False
    return False


def absolute(kind: Any, text: str) -> str:
    """Writes the value of a setting so that it means the same in another folder."""
    if Path not in (kind, *typing.get_args(kind)) or not text:
        return text
    many = typing.get_origin(kind) in (tuple, list)
    paths = [path.strip() for path in (text.split(",") if many else [text])]
    return ",".join(str(Path(path).expanduser().absolute()) for path in paths if path)


def _write(folder: Path, running: Running) -> tuple[Path, TextIO]:
    """Writes an entry that is locked before anybody can see it. Raises OSError."""
    # Containers may share the folder, and each begins to count processes at 1.
    path = folder / f"{_PREFIX}{running.pid}-{secrets.token_hex(4)}{_SUFFIX}"
    hidden = path.with_suffix(".new")
    file = os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        json.dump(asdict(running), file)
        file.flush()
        hidden.replace(path)
    except OSError:
        file.close()
        hidden.unlink(missing_ok=True)
        raise
    return path, file


def _read(path: Path) -> Running | None:
    try:
        with path.open(encoding="utf-8") as file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)  # nobody holds it: its process is gone
                return None
            return Running(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def _make_private(folder: Path) -> None:
    """Makes a folder for this user alone. Raises OSError where it cannot be had."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(folder)


def _is_private(folder: Path) -> bool:
    """Says whether a folder is ours and nobody else can write or read there: another user must not lead us to a NATS."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
