"""Relays pictures: one subscription per track and process, and for each viewer the newest frame only.

Pictures are not resumed and never queue: a viewer that is slower than the source skips frames. While a track has viewers,
this process holds a lease that tells the actor so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.broker import Broker
from router.cluster.leases import Leases, view_key
from router.errors import BadEvent, BrokerError
from router.frame import unpack
from router.nats.subscription import Subscription

log = logging.getLogger(__name__)

# 6 s: three lost refreshes later a camera whose viewers' process died is idle again.
LEASE_SECONDS = 6.0
BOUNDARY = b"callboard-frame"
# What stands before the first part; each part brings the one for the next.
OPENING = b"--" + BOUNDARY + b"\r\n"


class Frame:
    """One picture as it came; its multipart form is made once and shared."""

    __slots__ = ("_part", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._part: bytes | None = None

    @property
    def jpeg(self) -> memoryview:
        return unpack(self.payload)[1]

    @property
    def part(self) -> bytes:
        """The picture as one part of multipart/x-mixed-replace, with the boundary behind it.

        A browser shows a part when it sees where it ends, and the next picture may never come.
        """
        if self._part is None:
            header, body = unpack(self.payload)
            self._part = b"".join(
                (
                    b"Content-Type: image/jpeg\r\nContent-Length: ", str(len(body)).encode(),
                    b"\r\nX-Timestamp: ", str(header.get("time", "")).encode(),
                    b"\r\nX-Simulated: ", b"true" if header.get("simulated") else b"false", b"\r\n\r\n", body, b"\r\n", OPENING,
                )
            )  # fmt: skip
        return self._part


class Viewer:
    """One connection that watches a track: a slot for the newest frame."""

    __slots__ = ("_arrived", "_newest", "dropped")

    def __init__(self) -> None:
        self._newest: Frame | None = None
        self._arrived = asyncio.Event()
        self.dropped = 0

    def show(self, frame: Frame) -> None:
        """Puts a frame into the slot; one that was not fetched yet is dropped."""
        if self._newest is not None:
            self.dropped += 1
        self._newest = frame
        self._arrived.set()

    async def next(self) -> Frame:
        """Waits for a frame newer than the last one given."""
        await self._arrived.wait()
        self._arrived.clear()
        frame, self._newest = self._newest, None
        assert frame is not None
        return frame


class Track:
    """One picture stream as this process receives it."""

    def __init__(self) -> None:
        self.viewers: set[Viewer] = set()
        self.listening: Subscription | None = None
        self.lease: asyncio.Task[None] | None = None
        self.users = 0
        self.changing = asyncio.Lock()


class Video:
    """All picture streams that this process relays."""

    def __init__(self, broker: Broker, edge_id: str) -> None:
        self._broker = broker
        self._edge_id = edge_id
        self._leases = Leases(broker.connection)
        self._tracks: dict[str, Track] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Holds the leases' tasks until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    @asynccontextmanager
    async def watch(self, domain: str, entity: str, subject: str) -> AsyncIterator[Viewer]:
        """Watches one track: holds its lease and gives the newest frames. Raises BrokerError."""
        viewer = Viewer()
        track = self._tracks.setdefault(subject, Track())
        track.users += 1
        try:
            async with track.changing:
                if track.listening is None:
                    track.listening = await self._broker.connection.listen(
                        subject, lambda _s, _r, payload, _h: self._show(track, payload)
                    )
                    assert self._group is not None
                    key = view_key(domain, entity, self._edge_id)
                    track.lease = self._group.create_task(self._leases.hold(key, LEASE_SECONDS))
            track.viewers.add(viewer)
            last = await self._broker.last_frame(subject)
            if last is not None and viewer in track.viewers and not viewer._arrived.is_set():
                self._give(viewer, last)
            yield viewer
        finally:
            track.viewers.discard(viewer)
            track.users -= 1
            async with track.changing:
                if track.users == 0:
                    if track.listening is not None:
                        await track.listening.stop()
                        track.listening = None
                    if track.lease is not None:
                        track.lease.cancel()
                        track.lease = None
                    if self._tracks.get(subject) is track:
                        del self._tracks[subject]

    def _show(self, track: Track, payload: bytes) -> None:
        try:
            unpack(payload)
        except BadEvent:
            return
        frame = Frame(payload)
        for viewer in track.viewers:
            viewer.show(frame)

    @staticmethod
    def _give(viewer: Viewer, payload: bytes) -> None:
        try:
            unpack(payload)
        except BadEvent:
            return
        viewer.show(Frame(payload))

    async def newest(self, domain: str, entity: str, subject: str, timeout: float = 3.0) -> Frame | None:
        """One fresh picture: the next one that the source makes, or the last one where it makes none in time."""
        try:
            async with asyncio.timeout(timeout), self.watch(domain, entity, subject) as viewer:
                return await viewer.next()
        except (TimeoutError, BrokerError):
            return None
