"""Handlers of pictures: MJPEG, snapshots, WebSocket."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge import metrics
from edge.auth.limits import ConnectionSlot
from edge.disconnect import EXPIRED
from edge.errors import Problem
from edge.http.bodies.system import PictureQuery
from edge.http.body import edge_of
from edge.http.credentials import address_of, principal_of
from edge.http.openapi.operation import Answer, Media, operation
from edge.http.streams import WithCleanup, time_left
from edge.runtime import Edge
from edge.transports.video import BOUNDARY, OPENING, Frame, Viewer
from router.frame import frame_subject
from router.subject import escape

_MJPEG = Answer(200, "JPEG after JPEG", Media("multipart/x-mixed-replace"))
_JPEG = Answer(200, "A JPEG", Media("image/jpeg"))
_SOCKET = "Watch over WebSocket: [uint32 LE header length][JSON header][JPEG]"
_WATCHING = ("not_granted", "too_many")


def _track(domain: str, connection: Request | WebSocket) -> tuple[str, str, str]:
    """The pictures that a request names. Raises Problem 403 where the principal may not read all of their source."""
    entity = connection.path_params["entity"]
    principal_of(connection.scope).require_read(f"{domain}.{escape(entity)}.>")
    track = connection.query_params.get("track") or ("beauty" if domain == "octane" else None)
    return domain, entity, frame_subject(domain, entity, track)


async def _mjpeg(domain: str, request: Request) -> WithCleanup:
    edge = edge_of(request)
    where = _track(domain, request)

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
            async with edge.video.watch(*where) as viewer:
                async for part in parts(viewer):
                    yield part
        finally:
            gauge.dec()

    if not await _known(edge, domain, where[1]):
        raise Problem(f"{domain}_not_found", f"no {domain} is known as {where[1][:60]!r}")
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


async def _known(edge: Edge, domain: str, entity: str) -> bool:
    return bool(await edge.broker.latest([f"{domain}.{escape(entity)}.state"]))


async def _snapshot(domain: str, request: Request) -> Response:
    edge = edge_of(request)
    where = _track(domain, request)
    if not await _known(edge, domain, where[1]):
        raise Problem(f"{domain}_not_found", f"no {domain} is known as {where[1][:60]!r}")
    frame = await edge.video.newest(*where)
    if frame is None:
        raise Problem("no_frame", "the source has published no picture yet")
    return Response(bytes(frame.jpeg), media_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _frames(domain: str, socket: WebSocket) -> None:
    edge = edge_of(socket)
    where = _track(domain, socket)
    slot = _open_slot(socket)
    gauge = metrics.viewers.labels("websocket")
    sent = metrics.frames.labels("websocket")
    gauge.inc()
    try:
        await socket.accept()
        async with edge.video.watch(*where) as viewer:
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
        metrics.frames_dropped.labels("websocket").inc(viewer.dropped)


def _time_left(connection: Request | WebSocket) -> float | None:
    """Seconds for which the viewer's token is still valid; None without an end."""
    left = time_left(connection)
    return None if math.isinf(left) else left


@operation("Watch as MJPEG", _MJPEG, query=PictureQuery, problems=("camera_not_found", *_WATCHING))
async def camera_mjpeg(request: Request) -> WithCleanup:
    return await _mjpeg("camera", request)


@operation("Read one fresh picture", _JPEG, query=PictureQuery, problems=("camera_not_found", "no_frame", *_WATCHING))
async def camera_snapshot(request: Request) -> Response:
    return await _snapshot("camera", request)


@operation(_SOCKET, query=PictureQuery, websocket=True)
async def camera_socket(socket: WebSocket) -> None:
    await _frames("camera", socket)


@operation("Watch as MJPEG", _MJPEG, query=PictureQuery, problems=("octane_not_found", *_WATCHING))
async def octane_mjpeg(request: Request) -> WithCleanup:
    return await _mjpeg("octane", request)


@operation("Read one fresh picture", _JPEG, query=PictureQuery, problems=("octane_not_found", "no_frame", *_WATCHING))
async def octane_snapshot(request: Request) -> Response:
    return await _snapshot("octane", request)


@operation(_SOCKET, query=PictureQuery, websocket=True)
async def octane_socket(socket: WebSocket) -> None:
    await _frames("octane", socket)
