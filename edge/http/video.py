"""Handlers of pictures: MJPEG, snapshots, WebSocket."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from edge.errors import Problem
from edge.http.bodies.system import (
    CameraMjpegQuery,
    CameraSocketQuery,
    OctaneMjpegQuery,
    OctaneSnapshotQuery,
    OctaneSocketQuery,
    PictureQuery,
)
from edge.http.body import edge_of, read_query
from edge.http.camera import require_camera
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, Media, operation
from edge.http.pictures import answer_with, frame_headers
from edge.http.watching import MjpegAnswer, Viewing, refuse_while_draining, serve_socket
from edge.runtime import Edge
from edge.transports.video.delivery import Watch
from edge.transports.video.frame import Frame
from edge.transports.video.viewer import RungViewer
from edge.transports.video.wish import Wish
from router.frame import frame_subject
from router.last_pictures import LastPictures, PictureKey
from router.rendition import DEFAULT, STREAMED, BadRendition, Rendition, rendition_subject
from router.rungs import BadRung, Rung
from router.subject import escape

_MJPEG = Answer(200, "JPEG after JPEG", Media("multipart/x-mixed-replace"))
_JPEG = Answer(200, "A JPEG", Media("image/jpeg"))
_PICTURE = Answer(200, "A picture", Media("image/jpeg", ("image/png", "image/webp", "image/x-exr")))
_SOCKET = "Watch over WebSocket: [uint32 LE header length][JSON header][picture]"
_WATCHING = ("not_granted", "too_many", "draining")
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

    def opener(self, edge: Edge) -> Watch:
        """What watches them, for as long as a block lasts; of a camera at the rung that is named."""

        def watch(rung: Rung | None) -> AbstractAsyncContextManager[RungViewer]:
            if rung is not None:
                return edge.video.watch_rung(self.entity, rung)
            return edge.video.watch(self.domain, self.entity, self.subject, *self.what)

        return watch

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


async def _mjpeg(source: PictureSource, request: Request, wish: Wish | None = None) -> MjpegAnswer:
    edge = edge_of(request)
    refuse_while_draining(edge)
    await _require_known(edge, source)
    return MjpegAnswer(edge, Viewing(request, (source.domain, source.entity), source.opener(edge), wish, None))


async def _require_known(edge: Edge, source: PictureSource) -> None:
    """Raises Problem 404 where no such source is known, and 503 where it is a camera that is gone."""
    domain, entity = source.domain, source.entity
    if domain == "camera":
        await require_camera(edge, entity)
    elif await edge.presence.find(domain, entity) is None:
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


async def _frames(source: PictureSource, socket: WebSocket, wish: Wish | None = None) -> None:
    """Delivers over a WebSocket. Raises Problem 404 before the upgrade where the source is not known."""
    edge = edge_of(socket)
    refuse_while_draining(edge)
    state = await edge.presence.find(source.domain, source.entity)
    if state is None:
        raise Problem(f"{source.domain}_not_found", f"no {source.domain} is known as {source.entity[:60]!r}")
    await serve_socket(socket, Viewing(socket, (source.domain, source.entity), source.opener(edge), wish, state))


def _wish(query: CameraMjpegQuery | CameraSocketQuery) -> Wish:
    """What a viewer of a camera asks for. Raises Problem 400."""
    format = query.format if isinstance(query, CameraSocketQuery) else "jpeg"
    if query.track is None:
        return Wish(format, query.height, query.fps)
    try:
        rung = Rung.of_token(query.track)
    except BadRung as fault:
        raise Problem("bad_parameter", str(fault), field="track") from None
    if rung.codec == "png" or (isinstance(query, CameraMjpegQuery) and rung.codec != "jpeg"):
        raise Problem("bad_parameter", f"{rung.codec} is not streamed that way", field="track")
    return Wish(rung.codec, rung.height, query.fps)


@operation(
    "Watch as MJPEG",
    _MJPEG,
    query=CameraMjpegQuery,
    problems=("camera_not_found", "camera_gone", "bad_parameter", *_WATCHING),
)
async def camera_mjpeg(request: Request) -> MjpegAnswer:
    source = _camera(request)
    return await _mjpeg(source, request, _wish(read_query(request, CameraMjpegQuery)))


@operation("Read one fresh picture", _JPEG, query=PictureQuery, problems=("camera_not_found", "no_frame", *_WATCHING))
async def camera_snapshot(request: Request) -> Response:
    return await _snapshot(_camera(request), request)


@operation(_SOCKET, query=CameraSocketQuery, problems=("camera_not_found", "bad_parameter", *_WATCHING), websocket=True)
async def camera_socket(socket: WebSocket) -> None:
    source = _camera(socket)
    await _frames(source, socket, _wish(read_query(socket, CameraSocketQuery)))


@operation("Watch as MJPEG", _MJPEG, query=OctaneMjpegQuery, problems=("octane_not_found", "bad_parameter", *_WATCHING))
async def octane_mjpeg(request: Request) -> MjpegAnswer:
    return await _mjpeg(await _octane(request, OctaneMjpegQuery), request)


@operation(
    "Read one fresh picture",
    _PICTURE,
    query=OctaneSnapshotQuery,
    problems=("octane_not_found", "no_frame", "bad_parameter", *_WATCHING),
)
async def octane_snapshot(request: Request) -> Response:
    return await _snapshot(await _octane(request, OctaneSnapshotQuery), request)


@operation(_SOCKET, query=OctaneSocketQuery, problems=("octane_not_found", "bad_parameter", *_WATCHING), websocket=True)
async def octane_socket(socket: WebSocket) -> None:
    await _frames(await _octane(socket, OctaneSocketQuery), socket)
