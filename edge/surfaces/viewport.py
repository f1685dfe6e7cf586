"""The WebSocket of octaneWebR's browser client, `/api/callbacks`: an Octane's callbacks, with its pictures as pixels."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge import metrics
from edge.auth.connection import ConnectionAuth
from edge.dialects.folding import Folding
from edge.dialects.viewport import CALLBACKS, NAMES, VIEWPORT, say
from edge.disconnect import BAD_CURSOR, FORBIDDEN, SHUTDOWN
from edge.errors import Problem
from edge.http.bodies.system import PassName, PixelWidth
from edge.http.body import draining_problem, edge_of, read_query
from edge.http.credentials import address_of, principal_of
from edge.http.openapi.operation import operation
from edge.http.video import check_pass
from edge.problem import count_refusal
from edge.runtime import Edge
from edge.sessions.registry import Session
from edge.sessions.spec import UNSTORED, SessionSpec
from edge.surfaces.octanes import which_octane
from edge.surfaces.surface import SocketSurface, Surface
from edge.transports.abort import abort, cut
from edge.transports.flow import send_plainly
from edge.transports.pixels import FORMS, PixelCounts, PixelPicture, UnreadablePicture
from edge.transports.video.frame import Frame
from edge.transports.websocket import SocketReader
from edge.types import Authorized, ReadRequest
from edge.view import Pace
from router.codec import from_json
from router.cursor import Start
from router.errors import BadEvent, BadInput, BrokerError
from router.frame import pack
from router.last_pictures import LastPictures, PictureKey
from router.rendition import DEFAULT, Rendition, rendition_subject
from router.subject import escape

log = logging.getLogger(__name__)

SESSION_ID = UNSTORED + "viewport"
Form = Literal["base64", "binary", "buffer", "none"]
NO_PIXELS = "none"
# After the store of frames could not be reached.
RETRY_SECONDS = 1.0


class ViewportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which Octane, and how its pictures and enums are written. The client's own address has none of these."""

    octane: Annotated[
        str | None, Meta(description="Which Octane; `main`, or the first one there is, where it is not said.")
    ] = None
    pixels: Annotated[
        Form | None,
        Meta(
            description="How RGBA bytes are sent: `base64` in JSON (the default), `binary` messages, `buffer` as Node writes it, or "
            "`none`. The message `subscribe` may say it instead, as `pixels`."
        ),
    ] = None
    width: Annotated[
        PixelWidth | None,
        Meta(description="The least width in pixels that will do: the next power of two, or the full width."),
    ] = None
    pass_: Annotated[PassName, Meta(description="Which render pass, as `passes` of the statistics names it.")] = (
        msgspec.field(default="beauty", name="pass")
    )
    enums: Annotated[
        Literal["names", "numbers"], Meta(description="`state` of statistics as `RSTATE_RENDERING`, or as `2`.")
    ] = NAMES
    ticket: Annotated[
        str | None,
        Meta(description='From `POST /tickets` with `{"path": "/api/callbacks"}`, where no Authorization can be sent.'),
    ] = None
    token: Annotated[
        str | None, Meta(description="A token, where the server is configured to take it from addresses.")
    ] = None


class ViewportPictures:
    """The pictures of one client: the newest in the form that it has asked for, and none that it has already."""

    def __init__(self, edge: Edge, socket: WebSocket, octane: str, asked: ViewportQuery, counts: PixelCounts) -> None:
        self._edge, self._socket, self._asked, self._counts = edge, socket, asked, counts
        self._octane = octane
        self._rendition = Rendition.asked("rgba", asked.width)
        self._form = NO_PIXELS
        self._wanted, self._unwanted = asyncio.Event(), asyncio.Event()
        self._shown: PixelPicture | None = None
        if asked.pixels is not None:
            self.show(asked.pixels)

    @property
    def default(self) -> Form:
        """The form for a client that says none."""
        return self._asked.pixels or "base64"

    def show(self, form: str) -> None:
        """Begins to send pictures, or goes on in another form; with `none` it ends."""
        if form != self._form:
            self._form, self._shown = form, None
        now, then = (self._unwanted, self._wanted) if form == NO_PIXELS else (self._wanted, self._unwanted)
        now.set()
        then.clear()

    async def run(self, reader: SocketReader) -> None:
        """Sends pictures while they are wanted, until cancelled or the client has gone."""
        while True:
            await self._wanted.wait()
            watching, leaving = (asyncio.ensure_future(each) for each in (self._watch(reader), self._unwanted.wait()))
            try:
                await asyncio.wait((watching, leaving), return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
            except BrokerError as fault:
                log.debug("pictures cannot be read; trying again", extra={"fault": str(fault)})
                await asyncio.sleep(RETRY_SECONDS)
            except TimeoutError:
                abort(self._socket.scope, "websocket")
                return
            except (WebSocketDisconnect, OSError):
                return
            finally:
                for task in (watching, leaving):
                    task.cancel()
                await asyncio.wait((watching, leaving))

    async def _watch(self, reader: SocketReader) -> None:
        """Holds a lease, so that the actor makes raw pictures; shows the JPEG of before until one comes.

        Raises BrokerError, WebSocketDisconnect, OSError or TimeoutError.
        """
        track = self._asked.pass_
        subject = rendition_subject("octane", self._octane, track, self._rendition)
        watching = ("octane", self._octane, subject, track, self._rendition.token)
        pixels = self._edge.pixels
        gauge = metrics.viewers.labels("websocket")
        gauge.inc()
        try:
            async with self._edge.video.watch(*watching, stored=False) as viewer:
                try:
                    if (before := await self._before(track)) is not None:
                        await self._send(pixels.of(f"{subject} before", before), reader)
                    while True:
                        await self._send(pixels.of(subject, await viewer.next()), reader)
                finally:
                    metrics.frames_dropped.labels("websocket").inc(viewer.dropped.total())
        finally:
            gauge.dec()

    async def _before(self, track: str) -> Frame | None:
        """The newest picture there is, also where nothing is rendered any more. Raises BrokerError."""
        if (
            shown := await self._edge.video.last(rendition_subject("octane", self._octane, track, DEFAULT))
        ) is not None:
            return shown
        pictures, key = LastPictures(self._edge.broker), PictureKey.of_track("octane", self._octane, track)
        kept = await pictures.find(key)
        whole = await pictures.body(key, kept) if kept is not None else None
        return None if whole is None else Frame(pack(whole[0].header, whole[1]))

    async def _send(self, picture: PixelPicture, reader: SocketReader) -> None:
        """Sends a picture, unless the client has it."""
        form = self._form
        if picture is self._shown or form == NO_PIXELS:
            return
        self._shown = picture
        try:
            message = await picture.message(form, self._rendition.width)
        except UnreadablePicture as fault:
            self._counts.unreadable += 1
            log.info("a picture is not shown in viewports", extra={"octane": self._octane, "fault": str(fault)})
            return
        async with asyncio.timeout(self._edge.settings.session.send_timeout):
            await reader.send_whole(message)
        metrics.frames.labels("websocket").inc()
        self._counts.pictures += 1
        self._counts.last = time.time_ns() // 1_000_000


class ViewportConversation:
    """What one client says over its connection, and what comes of it."""

    def __init__(self, pictures: ViewportPictures) -> None:
        self._pictures = pictures

    def hear(self, raw: str | bytes, _reader: Authorized) -> tuple[bytes, ...]:
        """Answers one message; `subscribe` is answered by what it asks for."""
        try:
            said = from_json(raw)
        except BadEvent:
            said = None
        if not isinstance(said, dict):
            return (say("error", message="a message must be a JSON object"),)
        kind = said.get("type")
        if kind == "ping":
            return (say("pong"),)
        if kind == "unsubscribe":
            self._pictures.show(NO_PIXELS)
            return ()
        if kind != "subscribe":
            return (say("error", message="known types: subscribe, unsubscribe, ping"),)
        form = form_of(said, self._pictures.default)
        if form is None:
            return (say("error", message=f"pixels must be one of {', '.join(FORMS)} or {NO_PIXELS}"),)
        self._pictures.show(form)
        return ()


def form_of(said: Mapping[str, Any], default: str) -> str | None:
    """The form that a message `subscribe` asks for: `pixels` or `encoding`, or `"binary": true`. None for an unknown one."""
    asked = said.get("pixels", said.get("encoding"))
    if asked is None:
        return "binary" if said.get("binary") is True else default
    return asked if isinstance(asked, str) and (asked in FORMS or asked == NO_PIXELS) else None


@operation(
    "Watch an Octane as octaneWebR's client does: `subscribe`, `newImage`, `newStatistics`, `renderFailure`, "
    "`projectManagerChanged`, `ping`; pixels as base64 in JSON, or binary [uint32 LE header length][JSON header][RGBA]",
    query=ViewportQuery,
    problems=("draining", "too_many"),
    websocket=True,
)
async def socket_viewport(socket: WebSocket) -> None:
    edge = edge_of(socket)
    if edge.draining:
        raise draining_problem()
    auth: ConnectionAuth | None = None
    refusal: Problem | BadInput | None = None
    try:
        try:
            query = read_query(socket, ViewportQuery)
            octane = await which_octane(socket, query.octane)
            session = _session(octane)
            principal = principal_of(socket.scope)
            # Pictures are read by the right to all of an Octane.
            principal.require_read(f"octane.{escape(octane)}.>")
            await check_pass(edge, octane, query.pass_)
            # One connection too many is refused by the handshake: accepting a socket is most of its cost.
            auth = edge.connection_auths.open(principal, session, address_of(socket))
            view = session.view if auth is None else auth.view(session)
        except Problem as problem:
            if problem.status == 429:
                raise
            refusal = problem
        except BadInput as fault:
            refusal = fault
        send_plainly(socket.scope)
        await socket.accept()
        if edge.draining:
            await socket.close(SHUTDOWN.code, SHUTDOWN.reason)
        elif refusal is not None:
            await _refuse(socket, refusal)
        else:
            counts = edge.pixels.counts(octane)
            pictures = ViewportPictures(edge, socket, octane, query, counts)
            folding = Folding(VIEWPORT, {"enums": query.enums})
            asked = ReadRequest(SESSION_ID, view, VIEWPORT, auth, folding, ViewportConversation(pictures).hear)
            await _serve(edge, socket, asked, pictures, counts)
    finally:
        if auth is not None:
            auth.done()


def _session(octane: str) -> Session:
    subjects = [f"octane.{escape(octane)}.{kind}" for kind in CALLBACKS]
    spec = SessionSpec(id=SESSION_ID, delivery_method="websocket", created=0, start="", subjects=subjects)
    return Session(spec, 0)


async def _refuse(socket: WebSocket, refusal: Problem | BadInput) -> None:
    close = FORBIDDEN if refusal.code == "not_granted" else BAD_CURSOR
    detail = refusal.detail if isinstance(refusal, Problem) else str(refusal)
    count_refusal(refusal.code)
    await socket.send_text(say("error", code=refusal.code, message=detail).decode())
    await socket.close(close.code, refusal.code)


async def _serve(
    edge: Edge, socket: WebSocket, asked: ReadRequest, pictures: ViewportPictures, counts: PixelCounts
) -> None:
    """Serves events and pictures until either side ends it; who joins is shown the newest statistics first."""
    stats = edge.cluster_stats.of(asked.session_id)
    reader = SocketReader(edge.hub, asked, Start(snapshot=True), stats, Pace(conflate=True), socket)
    counts.clients += 1
    counts.clients_ever += 1
    showing = asyncio.ensure_future(pictures.run(reader))

    def check(done: asyncio.Future[None]) -> None:
        # Where it fails, the client has to come back.
        if not done.cancelled() and done.exception() is not None:
            cut(socket.scope)

    showing.add_done_callback(check)
    try:
        await reader.run()
    finally:
        counts.clients -= 1
        showing.cancel()
        await asyncio.wait({showing})
    if not showing.cancelled():
        showing.result()


ROWS: tuple[Surface, ...] = (SocketSurface(path="/api/callbacks", handler=socket_viewport),)
