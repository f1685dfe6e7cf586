"""Saves the streams and buckets of a running NATS into a folder, and restores them into a server without any.

The folder holds `callboard.json`, written last, and for each stream a folder of its name as the `nats` command line tool writes
it (`backup.json`, `stream.tar.s2`).
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ops.cli.interruptible import run_interruptibly
from ops.process.datadir import DataFolder
from ops.process.logs import configure_quiet
from ops.settings import Settings
from router import topology
from router.clock import wall
from router.codec import rfc3339
from router.errors import RouterError
from router.nats.connection import Connection
from router.nats.embedded import EmbeddedServer
from router.nats.settings import BrokerSettings
from router.nats.snapshot import CHUNK_BYTES, restore_stream, save_stream
from router.nats.stream import Stream, stream_names
from router.version import VERSION

COMPLETE, ABOUT, ARCHIVE = "callboard.json", "backup.json", "stream.tar.s2"
# Positions in the events, and what was made of them, before the events themselves: a restored position is then never past
# what is restored, and what is repeated for it is delivered twice at most.
_LAST = (topology.HOOKS, topology.RETRIES)


class BadBackup(RouterError, ValueError):
    """the backup cannot be used"""


@dataclass(frozen=True)
class SavedStream:
    """One stream in a backup: its name, messages, and the bytes of its archive."""

    name: str
    messages: int
    size: int


def run_backup(settings: Settings, folder: Path, *, json: bool) -> int:
    """Saves all streams that are kept on disk; prints what was saved. Raises BadBackup or BrokerError."""
    configure_quiet(settings.log)
    saved = run_interruptibly(_backup(settings, folder))
    _tell("saved", saved, folder, json)
    return 0


def run_restore(settings: Settings, folder: Path, *, json: bool) -> int:
    """Restores a backup; prints what was restored. Raises BadBackup, CannotStart or BrokerError, and then has restored nothing
    or says which streams are there."""
    configure_quiet(settings.log)
    found = _read(folder)
    run_interruptibly(_restore(settings, folder, found))
    _tell("restored", found, folder, json)
    return 0


async def _backup(settings: Settings, folder: Path) -> list[SavedStream]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as fault:
        raise BadBackup(f"the folder {folder} cannot be used: {fault.strerror}") from None
    if taken:
        raise BadBackup(f"the folder {folder} is not empty; name a new one")
    async with _connected(settings.broker) as connection:
        names = sorted(await stream_names(connection), key=lambda name: (_place(name), name))
        saved = [each for name in names if (each := await _save(connection, name, folder)) is not None]
    made = {"version": VERSION, "time": rfc3339(wall.now_ns()), "streams": [each.name for each in saved]}
    (folder / COMPLETE).write_text(jsonlib.dumps(made, indent=2) + "\n", encoding="utf-8")
    return saved


def _place(name: str) -> int:
    """When a stream is saved; the layout of the events before any of their streams, so that it names none that is missing."""
    if topology.is_of_events(name):
        return len(_LAST)
    return _LAST.index(name) if name in _LAST else -1


async def _save(connection: Connection, name: str, folder: Path) -> SavedStream | None:
    """Saves one stream; None where it is kept in memory only."""
    if (await Stream(connection, name).info())["config"]["storage"] != "file":
        return None
    try:
        (folder / name).mkdir()
        with (folder / name / ARCHIVE).open("wb") as file:
            about = await save_stream(connection, name, file.write)
            size = file.tell()
        (folder / name / ABOUT).write_text(jsonlib.dumps(about, indent=2) + "\n", encoding="utf-8")
    except OSError as fault:
        raise BadBackup(f"{name} cannot be saved in {folder}: {fault.strerror}") from None
    return SavedStream(name, about["state"]["messages"], size)


def _read(folder: Path) -> list[SavedStream]:
    """What a backup holds. Raises BadBackup where it is none, or not whole."""
    try:
        names = jsonlib.loads((folder / COMPLETE).read_text(encoding="utf-8"))["streams"]
        found = []
        for name in names:
            messages = _about(folder, name)["state"]["messages"]
            found.append(SavedStream(name, messages, (folder / name / ARCHIVE).stat().st_size))
        return found
    except FileNotFoundError as fault:
        raise BadBackup(f"{folder} is no whole backup: {fault.filename} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise BadBackup(f"{folder} is no backup of `callboard backup`: {fault}") from None


def _about(folder: Path, name: str) -> dict[str, Any]:
    about: dict[str, Any] = jsonlib.loads((folder / name / ABOUT).read_text(encoding="utf-8"))
    return about


async def _restore(settings: Settings, folder: Path, found: Iterable[SavedStream]) -> None:
    async with _target(settings) as connection:
        there = await stream_names(connection)
        if taken := sorted(there & {each.name for each in found}):
            raise BadBackup(
                f"nothing is restored: the server has streams already ({', '.join(taken)}); restore into a new data folder "
                "(--data-dir), or into a server that Callboard has not been started on (--nats-url)"
            )
        done: list[str] = []
        for each in found:
            about = _about(folder, each.name)
            # A backup of three servers fits into one, and the other way round.
            about["config"]["num_replicas"] = settings.topology.replicas
            try:
                await restore_stream(connection, each.name, about, _chunks(folder / each.name / ARCHIVE))
            except RouterError as fault:
                whole = f"; restored before it: {', '.join(done)}" if done else ""
                raise BadBackup(
                    f"{each.name} cannot be restored: {fault}{whole}; begin again in a new place"
                ) from fault
            done.append(each.name)


@contextlib.asynccontextmanager
async def _target(settings: Settings) -> AsyncIterator[Connection]:
    """A connection to the server that is named or runs; else to one on the data folder, for as long as this takes."""
    if settings.was_set("CALLBOARD_NATS_URL"):
        async with _connected(settings.broker) as connection:
            yield connection
        return
    data = DataFolder(settings.embedded.data_dir)
    data.refuse_a_second()
    with data.owned():
        server = EmbeddedServer(replace(settings.embedded, port=0))
        try:
            await server.start()
            async with _connected(BrokerSettings(server.url)) as connection:
                yield connection
        finally:
            await server.stop(60.0)


@contextlib.asynccontextmanager
async def _connected(settings: BrokerSettings) -> AsyncIterator[Connection]:
    connection = Connection(settings, "backup")
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _tell(what: str, streams: list[SavedStream], folder: Path, json: bool) -> None:
    if json:
        listed = [{"stream": each.name, "messages": each.messages, "bytes": each.size} for each in streams]
        print(jsonlib.dumps({"folder": str(folder), "streams": listed}))
        return
    for each in streams:
        print(f"{what} {each.name}: {each.messages} messages, {each.size} bytes")
    print(f"{what} {len(streams)} streams; {folder}", file=sys.stderr)
