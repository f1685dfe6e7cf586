"""Relays pictures: one subscription per track and process, and one lease that tells the actor that the track has viewers.

Pictures are not resumed: a viewer that is slower than the source gets the newest, or, of pictures that build on one
another, goes on at the next key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from edge.transports.video.frame import Frame, read_frame
from edge.transports.video.track import PacketTrack, Track
from edge.transports.video.viewer import RungViewer, Viewer
from router.broker import Broker
from router.cluster.leases import Leases, view_key
from router.codec import to_json
from router.errors import BadEvent, BrokerError
from router.frame import MAX_BODY, pack_chunks, part_subject, parts_pattern, unpack
from router.rungs import Rung, rung_subject
from router.subject import escape

log = logging.getLogger(__name__)

# 6 s: three lost refreshes later a camera whose viewers' process died is idle again.
LEASE_SECONDS = 6.0
# A key is ten times as long as another picture; one a second is what all viewers of a rung may ask for together.
KEY_SECONDS = 1.0
# 2 s: how long a part of a picture may follow the frame that names it.
PART_SECONDS = 2.0


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
    async def watch(
        self, domain: str, entity: str, subject: str, *what: str, stored: bool = True
    ) -> AsyncIterator[Viewer]:
        """Watches one track: holds its lease and gives the newest frames. Raises BrokerError.

        The lease names `what` of the entity is watched. The last picture of before comes first, unless not `stored`.
        """
        key = view_key(domain, entity, self._edge_id, *what)
        async with self._watch(self._tracks.setdefault(subject, Track(subject)), key, stored) as viewer:
            assert isinstance(viewer, Viewer)
            yield viewer

    @asynccontextmanager
    async def watch_rung(self, entity: str, rung: Rung) -> AsyncIterator[RungViewer]:
        """Watches one rung of a camera: holds its lease, and gives its pictures. Raises BrokerError."""
        subject = rung_subject(entity, rung)
        if (track := self._tracks.get(subject)) is None:
            track = Track(subject) if rung.independent else PacketTrack(subject, self._key_asker(entity, rung))
            self._tracks[subject] = track
        async with self._watch(track, view_key("camera", entity, self._edge_id, *rung.what), True) as viewer:
            yield viewer

    @asynccontextmanager
    async def _watch(self, track: Track, key: str, stored: bool) -> AsyncIterator[RungViewer]:
        viewer: RungViewer | None = None
        track.users += 1
        try:
            async with track.changing:
                if not track.listening:
                    await self._listen(track)
                    assert self._group is not None
                    track.lease = self._group.create_task(self._leases.hold(key, LEASE_SECONDS))
            viewer = track.viewer()
            track.viewers.add(viewer)
            last = await self._last(track.subject, viewer) if stored and track.keeps_last else None
            if last is not None and viewer in track.viewers and not viewer.waiting:
                viewer.offer(last, asyncio.get_running_loop().time())
            yield viewer
        finally:
            if viewer is not None:
                track.viewers.discard(viewer)
            track.users -= 1
            async with track.changing:
                if track.users == 0:
                    await self._leave(track)

    def _key_asker(self, entity: str, rung: Rung) -> Callable[[], None]:
        """Asks the actor for a key of a rung, at most once a second; where it is away, it begins with one anyway."""
        subject, body = f"cmd.camera.{escape(entity)}.key_frame", to_json({"rung": rung.token})
        not_before = 0.0

        async def ask() -> None:
            with contextlib.suppress(BrokerError):
                await self._broker.connection.ask(subject, body, {"Content-Type": "application/json"}, KEY_SECONDS)

        def ask_once() -> None:
            nonlocal not_before
            now = asyncio.get_running_loop().time()
            if now >= not_before and self._group is not None:
                not_before = now + KEY_SECONDS
                self._group.create_task(ask())

        return ask_once

    async def _leave(self, track: Track) -> None:
        """Ends what was begun for a track that nobody watches any more."""
        listening, track.listening = track.listening, []
        for each in listening:
            await each.stop()
        ending = [task for task in (track.lease, track.gathering) if task is not None]
        track.lease = track.gathering = None
        for task in ending:
            task.cancel()
        # A viewer that comes meanwhile takes the lease anew, which its release must not delete.
        await asyncio.gather(*ending, return_exceptions=True)
        track.parts.clear()
        track.forget()
        if self._tracks.get(track.subject) is track and track.users == 0:
            del self._tracks[track.subject]

    async def _listen(self, track: Track) -> None:
        """Subscribes to a track's pictures, and first to their parts: the frame that names them comes behind them."""
        listen = self._broker.connection.listen
        track.listening.append(
            await listen(parts_pattern(track.subject), lambda _s, _r, payload, _h: track.parts.add(payload))
        )
        try:
            track.listening.append(await listen(track.subject, lambda _s, _r, payload, _h: self._take(track, payload)))
        except BaseException:
            await track.listening.pop().stop()
            raise

    def _take(self, track: Track, payload: bytes) -> None:
        """Shows a picture that has come whole, or whose parts came before it."""
        if (frame := read_frame(payload)) is None:
            return
        if "parts" in frame.header:
            whole = track.parts.take(frame.header)
            if whole is None:
                self._miss_parts(track, frame.header)
                return
            frame = Frame(whole)
        if track.gathering is not None:
            # That picture is older than this one.
            track.gathering.cancel()
            track.gathering = None
        track.show(frame)

    def _miss_parts(self, track: Track, header: dict[str, Any]) -> None:
        """Reads a picture from the stream of which not all parts came live: some were sent before we subscribed.

        Of pictures that build on one another, the next one finds the gap, and a key is asked for.
        """
        if not track.keeps_last:
            track.miss()
        elif track.gathering is None or track.gathering.done():
            assert self._group is not None
            track.gathering = self._group.create_task(self._show_parts(track, dict(header)))

    async def _show_parts(self, track: Track, header: dict[str, Any]) -> None:
        frame = await self._gather(track.subject, header)
        if frame is not None:
            track.show(frame)

    async def last(self, subject: str) -> Frame | None:
        """The latest picture of a subject, whole or in parts."""
        return await self._last(subject)

    async def _last(self, subject: str, viewer: RungViewer | None = None) -> Frame | None:
        """The latest picture of a subject; None where its viewer has a newer one by then."""
        payload = await self._broker.last_frame(subject)
        if payload is None:
            return None
        if (frame := read_frame(payload)) is None:
            return None
        return await self._gather(subject, dict(frame.header), viewer) if "parts" in frame.header else frame

    async def _gather(self, subject: str, header: dict[str, Any], viewer: RungViewer | None = None) -> Frame | None:
        """Puts the parts of a picture together; None where they do not arrive, or are those of another picture by now."""
        count, size, picture = header.pop("parts"), header.pop("size", 0), header.pop("picture", "")
        if not isinstance(count, int) or not isinstance(size, int) or not 0 < count <= size <= MAX_BODY:
            return None
        parts: list[memoryview] = []
        for number in range(1, count + 1):
            part = await self._part(part_subject(subject, number), picture, viewer)
            if part is None:
                return None
            parts.append(part)
        if sum(map(len, parts)) != size:
            return None
        return Frame(await asyncio.to_thread(pack_chunks, header, parts))

    async def _part(self, subject: str, picture: str, viewer: RungViewer | None = None) -> memoryview | None:
        """One part of a picture. It was sent before the frame that names it, but the stream may not have it yet."""
        deadline = asyncio.get_running_loop().time() + PART_SECONDS
        while True:
            payload = await self._broker.last_frame(subject)
            if payload is not None:
                try:
                    header, body = unpack(payload)
                except BadEvent:
                    return None
                if header.get("picture") == picture:
                    return body
            if viewer is not None and viewer.waiting:
                return None
            if asyncio.get_running_loop().time() > deadline:
                if payload is None:
                    log.warning(
                        "a part of the last picture is missing in the stream FRAMES; viewers get the next picture",
                        extra={"subject": subject, "mend": "raise CALLBOARD_FRAMES_MAX_BYTES"},
                    )
                return None
            await asyncio.sleep(0.02)

    async def newest(
        self, domain: str, entity: str, subject: str, *what: str, timeout: float = 3.0, stored: bool = True
    ) -> Frame | None:
        """One fresh picture: the next one that the source makes, or the last one where it makes none in time.

        Where not `stored`, a picture of before is taken only once the time is over.
        """
        try:
            async with asyncio.timeout(timeout), self.watch(domain, entity, subject, *what, stored=stored) as viewer:
                return await viewer.next()
        except (TimeoutError, BrokerError):
            return None if stored else await self.last(subject)
