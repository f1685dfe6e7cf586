"""Makes a server's streams and buckets match their declaration in `router.topology`, and tells where they differ."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any

from router.errors import Forbidden, NoResponders, Refused, Timeout, Unsuitable
from router.layout import FIRST, Layout
from router.nats.connection import Connection
from router.nats.error_codes import ErrorCode
from router.nats.stream import Stream, stream_names
from router.topology import EVENTS, OPTIONAL, DeclaredStream, TopologySettings, is_expendable, is_of_events, streams

log = logging.getLogger(__name__)

# The timeout for a stream whose only server may be down; nothing depends on its answer.
EXPENDABLE_SECONDS = 2.0

# What the server gives a stream whose configuration does not name it, as far as it can be changed back: a limit that an
# operator has set shows by this.
_DEFAULTS: dict[str, Any] = {
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msg_size": -1,
    "max_msgs_per_subject": -1,
    "discard": "old",
    "no_ack": False,
}


@dataclass(frozen=True)
class Difference:
    """One way in which a server is not as declared; `have` is None where the stream is missing."""

    stream: str
    field: str
    want: Any
    have: Any

    @property
    def is_optional(self) -> bool:
        """Whether a stream is missing that need not be there."""
        return self.field == "*" and self.stream in OPTIONAL

    def __str__(self) -> str:
        if self.is_optional:
            return f"{self.stream}: missing (optional: without it cameras cannot record)"
        if self.field == "*":
            return f"{self.stream}: missing"
        return f"{self.stream}.{self.field}: {self.have!r} should be {self.want!r}"


async def diff(connection: Connection, settings: TopologySettings, layout: Layout = FIRST) -> list[Difference]:
    """Compares a server with the declaration."""
    found: list[Difference] = []
    for stream in streams(settings, layout):
        try:
            have = await _config(
                connection, stream.name, EXPENDABLE_SECONDS if is_expendable(stream, settings) else None
            )
        except (NoResponders, Timeout, Refused) as fault:
            if isinstance(fault, Forbidden) or not is_expendable(stream, settings):
                raise
            log.warning(
                "expendable stream does not answer; it is not compared",
                extra={"stream": stream.name, "fault": str(fault)},
            )
            continue
        if have is None:
            found.append(Difference(stream.name, "*", stream.desired, None))
            continue
        if have.get("sealed"):
            # A reshard is under way: others take its place, and it cannot be changed any more.
            continue
        for name, want in (_DEFAULTS | stream.desired).items():
            actual = have.get(name, False if want is False else None)
            if isinstance(want, dict) and isinstance(actual, dict):
                actual = {key: actual.get(key) for key in want}
            if actual != want:
                found.append(Difference(stream.name, name, want, actual))
    return found


async def missing(connection: Connection, settings: TopologySettings, layout: Layout = FIRST) -> list[str]:
    """Names the streams that a server does not have, without those that need not be there; asks for nothing but names."""
    there = await stream_names(connection)
    return [each.name for each in streams(settings, layout) if each.name not in there and each.name not in OPTIONAL]


async def restore(connection: Connection, settings: TopologySettings) -> None:
    """Makes the streams in memory again, which a server that stands alone forgets when it is restarted."""
    for name in await missing(connection, settings):
        stream = next(each for each in streams(settings) if each.name == name)
        if stream.config["storage"] == "memory":
            with contextlib.suppress(Refused):
                await create(connection, stream)


async def create(connection: Connection, stream: DeclaredStream) -> None:
    """Makes a stream that is missing; harmless where somebody else made it in between. Raises BrokerError."""
    await Stream(connection, stream.name).create(stream.desired)


async def apply(
    connection: Connection, settings: TopologySettings, layout: Layout = FIRST, timeout: float = 15.0
) -> list[Difference]:
    """Makes the server match, retrying for `timeout` seconds; returns what it changed.

    Raises Unsuitable where the storage differs, which cannot be changed in place. A stream that need not be there is left
    out where the server has no storage for it.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        try:
            changes = await diff(connection, settings, layout)
            break
        except (Refused, Timeout):
            # A server that has just started may still be recovering its streams, or electing a leader.
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)
    by_name = {stream.name: stream for stream in streams(settings, layout)}
    # What need not be there takes no storage from the others.
    for name in sorted(dict.fromkeys(change.stream for change in changes), key=OPTIONAL.__contains__):
        missing = any(change.stream == name and change.field == "*" for change in changes)
        try:
            if missing:
                await create(connection, by_name[name])
            else:
                await Stream(connection, name).update(by_name[name].desired)
        except Refused as refusal:
            if missing and name in OPTIONAL and refusal.err_code == ErrorCode.STORAGE_RESOURCES_EXCEEDED:
                log.warning("stream is left out: cameras cannot record", extra={"why": _advised(name, refusal)})
                changes = [change for change in changes if change.stream != name]
                continue
            raise Unsuitable(f"stream {name} cannot be made as declared: {_advised(name, refusal)}") from None
    return changes


def _advised(name: str, refusal: Refused) -> str:
    """Why a stream was refused, and what would help."""
    if refusal.err_code != ErrorCode.STORAGE_RESOURCES_EXCEEDED:
        return refusal.description
    setting = "BUCKETS" if name.startswith("KV_") else EVENTS if is_of_events(name) else name
    return f"{refusal.description}; lower CALLBOARD_{setting}_MAX_BYTES, or give JetStream more storage"


async def _config(connection: Connection, name: str, timeout: float | None) -> dict[str, Any] | None:
    try:
        info = await Stream(connection, name).info(timeout)
    except Refused as refusal:
        if refusal.err_code == ErrorCode.STREAM_NOT_FOUND:
            return None
        raise
    config: dict[str, Any] = info["config"]
    return config
