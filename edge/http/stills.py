"""Handlers of stills: one picture of a camera at full size, captured after the request or as old as the client allows."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.stills import StillQuery
from edge.http.body import edge_of, read_query
from edge.http.camera import camera_gone, open_slot, readable_camera, require_camera
from edge.http.openapi.operation import Answer, Media, operation
from edge.http.pictures import frame_headers
from edge.presence import EntityState
from edge.runtime import Edge
from edge.transports.video.frame import Frame
from edge.transports.video.still import NextCapture, captured_at
from router.codec import rfc3339
from router.errors import BrokerError
from router.rungs import JPEG, Rung, rung_subject

PNG: Final = Rung("png")
# A device takes seconds to open; a source that has failed is opened anew within one.
STILL_SECONDS: Final = 10.0
FAILED_SECONDS: Final = 5.0
# As old as a snapshot may be.
SNAPSHOT_AGE: Final = 1.0

_MEDIA: Final = {"jpeg": "image/jpeg", "png": "image/png"}
_SUFFIX: Final = {"jpeg": "jpg", "png": "png"}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_PROBLEMS: Final = ("camera_not_found", "camera_gone", "camera_failed", "no_capture", "not_granted", "too_many")
_ABOUT: Final = "The picture, with Age, X-Capture-Time and X-Frame (`<life>.<seq>`)"


@operation(
    "Read one picture, captured after the request, as JPEG",
    Answer(200, _ABOUT, Media("image/jpeg")),
    query=StillQuery,
    problems=_PROBLEMS,
)
async def camera_still_jpeg(request: Request) -> Response:
    return await _still(request, JPEG, read_query(request, StillQuery))


@operation(
    "Read one picture, captured after the request, as PNG",
    Answer(200, _ABOUT, Media("image/png")),
    query=StillQuery,
    problems=_PROBLEMS,
)
async def camera_still_png(request: Request) -> Response:
    return await _still(request, PNG, read_query(request, StillQuery))


@operation(
    "Read one picture, at most one second old",
    Answer(200, _ABOUT, Media("image/jpeg")),
    query=StillQuery,
    problems=_PROBLEMS,
)
async def camera_snapshot(request: Request) -> Response:
    return await _still(request, JPEG, read_query(request, StillQuery), SNAPSHOT_AGE)


async def _still(request: Request, rung: Rung, query: StillQuery, age: float | None = None) -> Response:
    entity = readable_camera(request, request.path_params["entity"])
    edge = edge_of(request)
    state = await require_camera(edge, entity)
    slot = open_slot(request)
    try:
        frame = await take_still(edge, state, rung, age if query.max_age is None else query.max_age)
    finally:
        slot.release()
    headers = {"Cache-Control": "no-store", "X-Picture": "live", **still_headers(frame)}
    # By name: one without a value is left out of what is read of a query.
    if "download" in request.query_params:
        headers["Content-Disposition"] = f'attachment; filename="{_file_name(entity, frame, rung)}"'
    return Response(bytes(frame.body), media_type=_MEDIA[rung.codec], headers=headers)


async def take_still(edge: Edge, state: EntityState, rung: Rung, max_age: float | None) -> Frame:
    """The next capture of a camera, or one of before that is not too old. Raises Problem, and BrokerError."""
    asked = NextCapture(time.time() * 1000.0, max_age)
    if max_age is not None:
        # Read without a lease: an idle camera is not opened for a picture that is there.
        last = await edge.video.last(rung_subject(state.id, rung))
        if last is not None and asked.takes(last, time.time() * 1000.0):
            return last
    gone: asyncio.Future[EntityState] = asyncio.get_running_loop().create_future()

    def heard(now: EntityState) -> None:
        if now.gone and not gone.done():
            gone.set_result(now)

    stop = edge.presence.listen("camera", state.id, heard)
    capture = asyncio.ensure_future(_next_capture(edge, state.id, rung, asked))
    try:
        await asyncio.wait((capture, gone), timeout=_seconds(state), return_when=asyncio.FIRST_COMPLETED)
        if capture.done():
            return capture.result()
        if gone.done():
            raise camera_gone(gone.result())
    finally:
        stop()
        gone.cancel()
        capture.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrokerError):
            await capture
    now = edge.presence.known("camera", state.id) or state
    if now.status == "failed":
        raise Problem("camera_failed", f"the camera's source has failed: {now.reason or 'without a reason'}")
    raise Problem("no_capture", f"the camera has captured no picture within {_seconds(state):g} s")


async def _next_capture(edge: Edge, entity: str, rung: Rung, asked: NextCapture) -> Frame:
    async with edge.video.watch_rung(entity, rung) as viewer:
        while True:
            frame = await viewer.next()
            if asked.takes(frame, time.time() * 1000.0):
                return frame


def _seconds(state: EntityState) -> float:
    """How long a capture is waited for: two periods of a slow camera."""
    if state.status == "failed":
        return FAILED_SECONDS
    fps = state.data.get("fps")
    return (
        max(STILL_SECONDS, 2.0 / fps + FAILED_SECONDS) if isinstance(fps, (int, float)) and fps > 0 else STILL_SECONDS
    )


def still_headers(frame: Frame) -> dict[str, str]:
    """Says of a picture when it was captured, how old it is, and which it is."""
    said = frame_headers(frame.header)
    captured = captured_at(frame)
    if captured is not None:
        said["Age"] = str(max(0, int(time.time() - captured / 1000.0)))
        said["X-Capture-Time"] = rfc3339(int(captured * 1e6))
    if frame.order is not None:
        said["X-Frame"] = f"{frame.order[0]}.{frame.order[1]}"
    return said


def _file_name(entity: str, frame: Frame, rung: Rung) -> str:
    """A name that every system takes: the camera and the time of capture (UTC)."""
    captured = captured_at(frame)
    when = rfc3339(int(captured * 1e6)) if captured is not None else rfc3339(time.time_ns())
    stamp = when[:23].replace("-", "").replace(":", "").replace(".", "-")
    return f"{_UNSAFE.sub('_', entity)[:60] or 'camera'}-{stamp}Z.{_SUFFIX[rung.codec]}"
