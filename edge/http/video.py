"""Handlers of pictures: MJPEG, snapshots, WebSocket."""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge import metrics
from edge.auth.limits import ConnectionSlot
from edge.disconnect import EXPIRED
from edge.errors import Problem
from edge.http.bodies.system import OctaneMjpegQuery, OctaneSnapshotQuery, OctaneSocketQuery, PictureQuery
from edge.http.body import edge_of, read_query
from edge.http.credentials import address_of, principal_of
from edge.http.openapi.operation import Answer, Media, operation
from edge.http.pictures import answer_with, frame_headers
from edge.http.streams import WithCleanup, time_left
from edge.runtime import Edge
from edge.transports.flow import send_plainly
from edge.transports.video.frame import BOUNDARY, OPENING, Frame
from edge.transports.video.viewer import Viewer
from router.frame import frame_subject
from router.last_pictures import LastPictures, PictureKey
from router.rendition import DEFAULT, STREAMED, BadRendition, Rendition, rendition_subject
from router.subject import escape

_MJPEG = Answer(200, "JPEG after JPEG", Media("multipart/x-mixed-replace"))
_JPEG = Answer(200, "A JPEG", Media("image/jpeg"))
_PICTURE = Answer(200, "A picture", Media("image/jpeg", ("image/png", "image/webp", "image/x-exr")))
_SOCKET = "Watch over WebSocket: [uint32 LE header length][JSON header][picture]"
_WATCHING = ("not_granted", "too_many")
# What is encoded for one request takes longer than what a stream brings; of an EXR, also to fetch.
SNAPSHOT_SECONDS, SLOW_SNAPSHOT_SECONDS = 3.0, 15.0


OctaneQuery = OctaneMjpegQuery | OctaneSocketQuery | OctaneSnapshotQuery


@dataclass(frozen=True)
class PictureSource:
    """The pictures that a request names: their subject, and what the lease of a viewer says is watched."""

    domain: str
    entity: str
    subject: str
    what: tuple[str, ...] = ()
    rendition: Rendition = DEFAULT

    def watch(self, edge: Edge) -> AbstractAsyncContextManager[Viewer]:
        """Watches them, for as long as the block lasts."""
        return edge.video.watch(self.domain, self.entity, self.subject, *self.what)

    async def newest(self, edge: Edge) -> Frame | None:
        """One fresh picture; None where there is none."""
        # Renditions that nobody watches are not kept up to date, so one of before may show what was long ago.
        kept = self.rendition == DEFAULT
        seconds = SNAPSHOT_SECONDS if self.rendition.format in STREAMED else SLOW_SNAPSHOT_SECONDS
        return await edge.video.newest(self.domain, self.entity, self.subject, *self.what, timeout=seconds, stored=kept)


def _camera(connection: Request | WebSocket) -> PictureSource:
    """The pictures of a camera. Raises Problem 403 where the principal may not read all of their source."""
    entity = _readable("camera", connection)
    return PictureSource("camera", entity, frame_subject("camera", entity, connection.query_params.get("track")))


async def _octane(connection: Request | WebSocket, shape: type[OctaneQuery]) -> PictureSource:
    """The pictures of an Octane. Raises Problem 403 as above, and 400 where there are none of that kind."""
    entity = _readable("octane", connection)
    query = read_query(connection, shape)
    if query.pass_ and query.track and query.pass_ != query.track:
        raise Problem("bad_parameter", "pass and track are two names of one parameter, and differ", field="pass")
    track = query.pass_ or query.track or "beauty"
    try:
        rendition = Rendition.asked(query.format, query.width, query.background)
    except BadRendition as fault:
        raise Problem("bad_parameter", str(fault), field="background") from None
    await check_pass(edge_of(connection), entity, track)
    subject = rendition_subject("octane", entity, track, rendition)
    return PictureSource("octane", entity, subject, (track, rendition.token), rendition)


async def check_pass(edge: Edge, entity: str, track: str) -> None:
    """Raises Problem 400 for a render pass that the render does not have, as far as its statistics say."""
    if track == "beauty":
        return
    records = await edge.broker.latest([f"octane.{escape(entity)}.statistics"])
    event = records[-1].event if records else None
    passes = event.data.get("passes") if event is not None and isinstance(event.data, dict) else None
    if isinstance(passes, list) and passes and track not in passes and not track.startswith("image-"):
        known = ", ".join(map(str, passes))[:300]
        raise Problem("bad_parameter", f"the render has no pass {track[:60]!r}; it has {known}", field="pass")


def _readable(domain: str, connection: Request | WebSocket) -> str:
    """The entity of the address. Raises Problem 403 where the principal may not read all of it."""
    entity: str = connection.path_params["entity"]
    principal_of(connection.scope).require_read(f"{domain}.{escape(entity)}.>")
    return entity


async def _mjpeg(source: PictureSource, request: Request) -> WithCleanup:
    edge = edge_of(request)

    async def parts(viewer: Viewer) -> Any:
        yield OPENING
        while not edge.draining:
            try:
                async with asyncio.timeout(_time_left(request)):
                    frame = await viewer.next()
            except TimeoutError:
                return
            yield frame.part
            metrics.frames.labels("mjpeg").inc()

    async def watched() -> Any:
        gauge = metrics.viewers.labels("mjpeg")
        gauge.inc()
        try:
            async with source.watch(edge) as viewer:
                async for part in parts(viewer):
                    yield part
        finally:
            gauge.dec()

    await _require_known(edge, source)
    slot = _open_slot(request)
    answer = StreamingResponse(
        watched(),
        media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
    return WithCleanup(answer, slot.release)


def _open_slot(connection: Request | WebSocket) -> ConnectionSlot:
    """Counts a connection that receives pictures. Raises Problem 429."""
    edge = edge_of(connection)
    return edge.authenticator.limits.open(address_of(connection), principal_of(connection.scope))


async def _require_known(edge: Edge, source: PictureSource) -> None:
    """Raises Problem 404 where nothing was ever said by that entity."""
    domain, entity = source.domain, source.entity
    if not await edge.broker.latest([f"{domain}.{escape(entity)}.state"]):
        raise Problem(f"{domain}_not_found", f"no {domain} is known as {entity[:60]!r}")


async def _snapshot(source: PictureSource, request: Request) -> Response:
    edge = edge_of(request)
    try:
        await _require_known(edge, source)
    except Problem:
        # Its state may be older than what EVENTS keeps, and its last picture younger.
        if (kept := await _last_kept(source, request)) is not None:
            return kept
        raise
    frame = await source.newest(edge)
    if frame is None:
        if (kept := await _last_kept(source, request)) is not None:
            return kept
        raise Problem("no_frame", "the source has published no picture yet")
    headers = {"Cache-Control": "no-store", "X-Picture": "live", **frame_headers(frame.header)}
    return Response(bytes(frame.body), media_type=source.rendition.media_type, headers=headers)


async def _last_kept(source: PictureSource, request: Request) -> Response | None:
    """The last picture of an Octane that shows none now, with its age and who rendered it; None where none is kept.

    It is kept as a JPEG, whatever was asked for.
    """
    pictures = LastPictures(edge_of(request).broker)
    key = PictureKey.of_track(source.domain, source.entity, source.what[0] if source.what else "beauty")
    kept = await pictures.find(key)
    return None if kept is None else await answer_with(request, pictures, key, kept)


async def _frames(source: PictureSource, socket: WebSocket) -> None:
    edge = edge_of(socket)
    slot = _open_slot(socket)
    gauge = metrics.viewers.labels("websocket")
    sent = metrics.frames.labels("websocket")
    gauge.inc()
    try:
        send_plainly(socket.scope)
        await socket.accept()
        async with source.watch(edge) as viewer:
            await _show(socket, viewer, sent)
    except WebSocketDisconnect:
        pass
    finally:
        gauge.dec()
        slot.release()


async def _show(socket: WebSocket, viewer: Viewer, sent: Any) -> None:
    """Writes the newest frames until the client leaves or its token expires; only reading notices that it has left."""

    async def leave() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    async def show() -> None:
        while True:
            frame: Frame = await viewer.next()
            await socket.send_bytes(frame.payload)
            sent.inc()

    tasks = {asyncio.ensure_future(leave()), asyncio.ensure_future(show())}
    try:
        done, _ = await asyncio.wait(tasks, timeout=_time_left(socket), return_when=asyncio.FIRST_COMPLETED)
        if not done:
            await socket.close(EXPIRED.code, EXPIRED.reason)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        metrics.frames_dropped.labels("websocket").inc(viewer.dropped.total())


def _time_left(connection: Request | WebSocket) -> float | None:
    """Seconds for which the viewer's token is still valid; None without an end."""
    left = time_left(connection)
    return None if math.isinf(left) else left


@operation("Watch as MJPEG", _MJPEG, query=PictureQuery, problems=("camera_not_found", *_WATCHING))
async def camera_mjpeg(request: Request) -> WithCleanup:
    return await _mjpeg(_camera(request), request)


@operation("Read one fresh picture", _JPEG, query=PictureQuery, problems=("camera_not_found", "no_frame", *_WATCHING))
async def camera_snapshot(request: Request) -> Response:
    return await _snapshot(_camera(request), request)


@operation(_SOCKET, query=PictureQuery, websocket=True)
async def camera_socket(socket: WebSocket) -> None:
    await _frames(_camera(socket), socket)


@operation("Watch as MJPEG", _MJPEG, query=OctaneMjpegQuery, problems=("octane_not_found", "bad_parameter", *_WATCHING))
async def octane_mjpeg(request: Request) -> WithCleanup:
    return await _mjpeg(await _octane(request, OctaneMjpegQuery), request)


@operation(
    "Read one fresh picture",
    _PICTURE,
    query=OctaneSnapshotQuery,
    problems=("octane_not_found", "no_frame", "bad_parameter", *_WATCHING),
)
async def octane_snapshot(request: Request) -> Response:
    return await _snapshot(await _octane(request, OctaneSnapshotQuery), request)


@operation(_SOCKET, query=OctaneSocketQuery, websocket=True)
async def octane_socket(socket: WebSocket) -> None:
    await _frames(await _octane(socket, OctaneSocketQuery), socket)
