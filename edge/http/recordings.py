"""Handlers of recordings: list, read, download with ranges, delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edge.auth.principal import Principal
from edge.errors import Problem
from edge.http.bodies.recordings import RecordingAnswer, RecordingQuery, RecordingsAnswer, RecordingsQuery
from edge.http.body import edge_of, json_answer, read_query
from edge.http.credentials import address_of, principal_of
from edge.http.openapi.operation import Answer, Media, header, operation
from edge.http.ranges import ByteRange, Unsatisfiable, has_tag, range_of
from edge.http.streams import WithCleanup
from edge.transports.abort import abort, cut
from router.cluster.leases import lease_key
from router.codec import rfc3339
from router.errors import BadInput, NoResponders
from router.event import Event
from router.nats.bucket import Bucket
from router.recording_entry import INTERRUPTED, STILLS, VIDEO, Recording, check_recording_id
from router.recordings import Content, Recordings
from router.subject import Subject, escape
from router.topology import LEASES

# A client that takes nothing for so long is cut off; it can go on by a range.
STALLED_SECONDS = 30.0
# So long after its last picture a recording whose camera has no process is still taken for open.
GRACE_SECONDS = 15.0

_READING = ("recording_not_found", "not_granted", "bad_input")
_FILE = Answer(200, "The file, with ETag, Accept-Ranges and Content-Disposition", Media("video/mp4"))
_RANGE = header("Range", "One range of bytes, such as `bytes=1000-`.")
_IF_RANGE = header("If-Range", "The ETag of what the client has: other bytes are sent whole.")


@operation(
    "List the recordings of cameras",
    Answer(200, "Those that the token may read, in the order in which they began", RecordingsAnswer),
    query=RecordingsQuery,
)
async def list_recordings(request: Request) -> Response:
    asked = read_query(request, RecordingsQuery)
    edge, grants = edge_of(request), principal_of(request.scope).grants
    recordings = Recordings(edge.broker)
    if await recordings.is_missing():
        return json_answer(RecordingsAnswer(recordings=[], total=0, bytes_used=0, bytes_limit=0))
    found, usage = await asyncio.gather(recordings.listing(asked.camera), recordings.usage())
    may = {camera: grants.may_read_all(_pattern(camera)) for camera in {each.camera for each in found}}
    found = [each for each in found if may[each.camera] and asked.kind in (None, each.kind)]
    if asked.until is not None:
        found = [each for each in found if each.began < asked.until.timestamp() * 1000]
    current = await _now(request, recordings, found)
    if asked.since is not None:
        since = asked.since.timestamp() * 1000
        current = [each for each in current if each.is_open or (each.ended or each.began) > since]
    listed = [described(each) for each in current[-asked.limit :]]
    return json_answer(
        RecordingsAnswer(recordings=listed, total=len(current), bytes_used=usage.used, bytes_limit=usage.limit)
    )


@operation(
    "Read what is known of one recording",
    Answer(200, "The recording", RecordingAnswer),
    query=RecordingQuery,
    problems=_READING,
)
async def read_recording(request: Request) -> Response:
    recordings, recording = await _readable(request)
    return json_answer(described(*await _now(request, recordings, [recording])))


@operation(
    "Delete a recording",
    Answer(204, "It is deleted"),
    problems=(*_READING, "recording_open"),
)
async def delete_recording(request: Request) -> Response:
    """Takes the right to give the camera the command `stop_recording`."""
    recordings, recording = await _readable(request)
    principal = principal_of(request.scope)
    principal.require_command(f"camera.{recording.camera}.stop_recording")
    (current,) = await _now(request, recordings, [recording])
    if current.is_open:
        raise Problem("recording_open", f"{current.id} goes on; give the camera {current.camera} stop_recording first")
    await recordings.delete(recording)
    await edge_of(request).broker.publish(_deleted(current, principal))
    return Response(status_code=204)


@operation(
    "Download the video of a recording, or a range of it; of one that goes on, what is stored",
    _FILE,
    Answer(206, "The range, with Content-Range", Media("video/mp4")),
    Answer(304, "It is what the client has"),
    query=RecordingQuery,
    headers=(_RANGE, _IF_RANGE),
    problems=(*_READING, "no_video", "range_not_satisfiable", "too_many"),
)
async def download_recording(request: Request) -> Response | WithCleanup:
    recordings, recording = await _readable(request)
    content = await recordings.content(recording)
    if content is None:
        raise Problem("no_video", "it consists of stills" if recording.kind == STILLS else "nothing is stored yet")
    headers = _headers(content)
    if has_tag(request.headers, content.etag):
        return Response(status_code=304, headers=headers)
    try:
        asked = range_of(request.headers, content.size, content.etag)
    except Unsatisfiable:
        size = {"Content-Range": f"bytes */{content.size}"}
        raise Problem("range_not_satisfiable", f"the file has {content.size} bytes", headers=size) from None
    sent = asked or ByteRange(0, content.size)
    if asked is not None:
        headers["Content-Range"] = f"bytes {sent.start}-{sent.stop - 1}/{content.size}"
    headers["Content-Length"] = str(sent.stop - sent.start)
    status = 200 if asked is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    slot = edge_of(request).authenticator.limits.open(address_of(request), principal_of(request.scope))
    return WithCleanup(_Download(status, headers, recordings.read(content, *sent)), slot.release)


@operation(
    "Read one still of a recording, counted from 1",
    Answer(200, "The picture, with X-Capture-Time", Media("image/jpeg")),
    Answer(304, "It is what the client has"),
    query=RecordingQuery,
    problems=(*_READING, "no_frame"),
)
async def recorded_still(request: Request) -> Response:
    recordings, recording = await _readable(request)
    number = request.path_params["n"]
    found = None
    if recording.kind == STILLS and number.isdecimal() and len(number) < 10 and int(number) > 0:
        found = await recordings.still(recording, int(number))
    if found is None:
        raise Problem("no_frame", f"{recording.id} has no still {number[:20]!r}")
    etag = f"{recording.id}-{int(number)}"
    headers = {
        "ETag": f'"{etag}"',
        "Cache-Control": "private, max-age=86400",
        "X-Capture-Time": _text(found.piece.time),
        "Content-Disposition": f'inline; filename="{_name(recording)}-{int(number)}.jpg"',
    }
    if has_tag(request.headers, etag):
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type="image/jpeg", headers=headers)


class _Download:
    """Sends a file as fast as the client takes it, and cuts off a client that takes nothing."""

    def __init__(self, status: int, headers: dict[str, str], chunks: AsyncIterator[bytes]) -> None:
        self._status = status
        self._headers = headers
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it as an ASGI application."""
        left = int(self._headers["Content-Length"])
        raw = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": self._status, "headers": raw})
        try:
            async for chunk in self._chunks:
                left -= len(chunk)
                async with asyncio.timeout(STALLED_SECONDS):
                    await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
        except TimeoutError:
            abort(scope, "download")
            return
        if left > 0:
            # It was deleted meanwhile.
            cut(scope)


async def _readable(request: Request) -> tuple[Recordings, Recording]:
    """The recording of the address. Raises Problem where there is none, or the principal may not read its camera."""
    try:
        id = check_recording_id(request.path_params["id"])
    except BadInput:
        raise _unknown(request) from None
    recordings = Recordings(edge_of(request).broker)
    try:
        recording = await recordings.find(id)
    except NoResponders:
        if not await recordings.is_missing():
            raise
        recording = None
    if recording is None:
        raise _unknown(request)
    principal_of(request.scope).require_read(_pattern(recording.camera))
    return recordings, recording


def _unknown(request: Request) -> Problem:
    return Problem("recording_not_found", f"there is no recording {request.path_params['id'][:60]!r}")


def _pattern(camera: str) -> str:
    return f"camera.{escape(camera)}.>"


async def _now(request: Request, recordings: Recordings, found: Iterable[Recording]) -> list[Recording]:
    """The recordings with the figures of now; one whose camera has no process is interrupted."""
    return list(await asyncio.gather(*(_figures(request, recordings, each) for each in found)))


async def _figures(request: Request, recordings: Recordings, recording: Recording) -> Recording:
    if not recording.is_open:
        return recording
    last = await recordings.last_piece(recording)
    until = max(recording.began, last.until if last is not None else 0)
    frames, size = (last.frames, last.at + last.size) if last is not None else (0, 0)
    current = replace(recording, ended=until, frames=frames, bytes=size)
    if until / 1000 < time.time() - GRACE_SECONDS:
        leases = Bucket(edge_of(request).broker.connection, LEASES)
        if await leases.get(lease_key("actor", "camera", recording.camera)) is None:
            return replace(current, status=INTERRUPTED)
    return current


def described(recording: Recording) -> RecordingAnswer:
    """What clients are told of a recording."""
    ended = recording.ended or recording.began
    return RecordingAnswer(
        id=recording.id,
        camera=recording.camera,
        kind=recording.kind,
        status=recording.status,
        reason=recording.reason,
        session=recording.session,
        label=recording.label,
        started_by=recording.started_by,
        continuous=recording.continuous,
        overwritable=recording.overwritable,
        began=_text(recording.began),
        ended=_text(ended),
        until=_text(recording.until) if recording.until is not None else None,
        duration=round((ended - recording.began) / 1000, 3),
        frames=recording.frames,
        bytes=recording.bytes,
        lost=recording.lost,
        every=recording.every,
        width=recording.width,
        height=recording.height,
        codec=recording.codec,
        source=recording.source,
        simulated=recording.simulated,
        url=f"/recordings/{recording.id}.mp4" if recording.kind == VIDEO else f"/recordings/{recording.id}/{{n}}.jpg",
    )


def _headers(content: Content) -> dict[str, str]:
    codec = content.recording.codec
    return {
        "Content-Type": f'video/mp4; codecs="{codec}"' if codec else "video/mp4",
        "Accept-Ranges": "bytes",
        "ETag": f'"{content.etag}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{_name(content.recording)}.mp4"',
    }


def _name(recording: Recording) -> str:
    """The name of a file without its ending: the camera, and when it began in UTC."""
    camera = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in recording.camera)
    return f"{camera}-{datetime.fromtimestamp(recording.began / 1000, UTC):%Y%m%dT%H%M%SZ}"


def _text(ms: float) -> str:
    return rfc3339(round(ms * 1000) * 1000)


def _deleted(recording: Recording, principal: Principal) -> Event:
    data = {"what": "deleted", "recording": recording.id, "kind": recording.kind, "by": principal.user}
    return Event.new(Subject.of("camera", recording.camera, "recording"), data, source="edge")
