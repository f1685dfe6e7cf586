"""Handler of a camera's H.264 as one MP4 file without an end, for `<video src>` and players of files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from edge import metrics
from edge.http.bodies.system import RungQuery
from edge.http.body import draining_problem, edge_of, read_query
from edge.http.camera import open_slot, readable_camera, require_camera, seconds_left
from edge.http.openapi.operation import Answer, Media, operation
from edge.http.streams import WithCleanup
from edge.runtime import Edge
from edge.transports.abort import abort
from edge.transports.flow import drained, hold_little, limit, unread
from edge.transports.video.mp4 import MEDIA_TYPE, BadAccessUnit
from edge.transports.video.mp4_viewer import Mp4File
from edge.transports.video.reading import MOST_UNREAD, ReadingPace
from edge.transports.video.statistics import TransportCounts
from edge.transports.video.viewer import RungViewer
from router.rungs import Rung

_FILM = Answer(
    200, "Fragmented MP4 of H.264, from a key on; it ends where the size of the pictures changes", Media(MEDIA_TYPE)
)
# A client that takes nothing for so long is cut off.
STALLED_SECONDS = 30.0
# The send buffer holds the largest picture so far, and no less than that: 64 KiB hold 2.5 Mbit/s at a round trip of 200 ms.
LEAST_HELD = 64 * 1024
# How often a client that is behind is looked at.
LOOK_SECONDS = 0.05


@operation(
    "Watch as one MP4 file without an end",
    _FILM,
    query=RungQuery,
    problems=("camera_not_found", "camera_gone", "draining", "not_granted", "too_many"),
)
async def camera_film(request: Request) -> WithCleanup:
    edge = edge_of(request)
    if edge.draining:
        raise draining_problem()
    entity = readable_camera(request, request.path_params["entity"])
    rung = Rung("h264", read_query(request, RungQuery).height)
    await require_camera(edge, entity)
    slot = open_slot(request)
    return WithCleanup(CameraFilm(_film(edge, entity, rung, seconds_left(request))), slot.release)


async def _film(edge: Edge, entity: str, rung: Rung, seconds: float | None) -> AsyncGenerator[bytes, None]:
    gauge, counts = metrics.viewers.labels("mp4"), edge.viewers.counts("camera", entity).of("mp4")
    gauge.inc()
    counts.viewers += 1
    try:
        async with edge.video.watch_rung(entity, rung) as viewer:
            file = Mp4File()
            try:
                while not edge.draining:
                    if viewer.dropped and not viewer.waiting:
                        # It goes on at the next key, and nothing is sent until then.
                        viewer.ask_key()
                    async with asyncio.timeout(seconds):
                        frame = await viewer.next()
                    _collect(viewer, counts)
                    try:
                        part = file.of(frame)
                    except BadAccessUnit:
                        viewer.miss()
                        continue
                    if part is None:
                        return
                    if part:
                        yield part
                        counts.sent(frame, len(part))
                        if frame.fresh:
                            # It goes on when the client's kernel has it.
                            counts.aged(time.time() * 1000 - frame.header["time"])
            except TimeoutError:
                return
            finally:
                _collect(viewer, counts)
    finally:
        counts.viewers -= 1
        gauge.dec()


def _collect(viewer: RungViewer, counts: TransportCounts) -> None:
    """Counts the pictures that were left out since the last time."""
    if viewer.dropped:
        counts.drop(viewer.dropped)
        viewer.dropped.clear()


class CameraFilm:
    """The answer. The kernel holds about one picture of it, so that a slow client skips to a key and sees the present; one that
    stalls is cut off.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None]) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = 0
        pace = ReadingPace(asyncio.get_running_loop().time())

        async def sending(message: Message) -> None:
            nonlocal held
            if (size := max(LEAST_HELD, len(message.get("body", b"")))) > held:
                held = size
                limit(scope, held)
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await send(message)
                    await drained(scope)
                if size := len(message.get("body", b"")):
                    await _read(scope, pace, size)
            except TimeoutError:
                abort(scope, "mp4")
                raise OSError("the client has stalled") from None

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Accept-Ranges": "none"}
        if scope["method"] == "HEAD":
            await Response(headers=headers, media_type=MEDIA_TYPE)(scope, receive, send)
            return
        hold_little(scope)
        answer = StreamingResponse(self._parts, media_type=MEDIA_TYPE, headers=headers)
        try:
            await answer(scope, receive, sending)
        except OSError:
            return
        finally:
            # Its lease is given back now, not when the generator is collected.
            await self._parts.aclose()


async def _read(scope: Scope, pace: ReadingPace, size: int) -> None:
    """Waits until the client has read most of what it was sent, or a while. Raises TimeoutError where it reads nothing."""
    clock = asyncio.get_running_loop().time
    pace.sent(size, clock())
    wait = pace.wait(unread(scope), clock())
    until = clock() + wait
    while wait and clock() < until:
        await asyncio.sleep(LOOK_SECONDS)
        if pace.unread(unread(scope), clock()) <= MOST_UNREAD:
            return
    if pace.stalled(clock()) > STALLED_SECONDS:
        raise TimeoutError
