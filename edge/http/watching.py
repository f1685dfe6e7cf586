"""Connections that are sent pictures, MJPEG and WebSocket: opened, handed to their deliveries, and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from edge.http.body import draining_problem, edge_of
from edge.http.camera import open_slot, seconds_left
from edge.http.credentials import SUBPROTOCOL
from edge.presence import EntityState
from edge.runtime import Edge
from edge.transports.fast.pictures import PictureSocket, PictureStream
from edge.transports.fast.upgrade import EXTENSION, SseHandover, WebSocketHandover
from edge.transports.flow import send_plainly
from edge.transports.video.asgi import AsgiPictureSocket, AsgiPictureStream
from edge.transports.video.connections import ViewerConnection
from edge.transports.video.delivery import PictureDelivery, PictureSink, Watch
from edge.transports.video.frame import BOUNDARY
from edge.transports.video.wish import Wish
from router.rungs import STREAMED, rungs_of

_MJPEG_HEADERS = {
    "Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}",
    "Cache-Control": "no-store",
    # nginx passes pictures on as they come, so that they do not grow old in its buffers.
    "X-Accel-Buffering": "no",
}


class Viewing:
    """One connection from its opening to its end: its slot, its delivery, and the news of its source's state."""

    def __init__(
        self, connection: Request | WebSocket, source: tuple[str, str], watch: Watch, wish: Wish | None,
        state: EntityState | None,
    ) -> None:  # fmt: skip
        """`source` is a domain and an entity. Raises Problem 429."""
        self._edge: Edge = edge_of(connection)
        self._source, self._watch, self._wish, self._state = source, watch, wish, state
        self._seconds = seconds_left(connection)
        self._slot = open_slot(connection)
        self._connection: ViewerConnection | None = None
        self._stop_listening: Callable[[], None] | None = None

    def begin(self, sink: PictureSink) -> PictureDelivery:
        """Begins to deliver."""
        # It may have changed while the connection was accepted.
        state = self._edge.presence.known(*self._source) or self._state
        status = {} if self._state is None or state is None else {**_told(state), **offered(state)}
        self._connection = self._edge.viewers.open(
            self._source, self._watch, sink, self._wish, self._slot.release, status=status, seconds=self._seconds
        )
        delivery = self._connection.delivery
        self._stop_listening = self._edge.presence.listen(
            *self._source, lambda state: delivery.tell({"control": "state", **_told(state)})
        )
        return delivery

    def end(self) -> None:
        """Ends what was begun; once is enough."""
        if self._stop_listening is not None:
            self._stop_listening()
        if self._connection is None:
            self._slot.release()
        else:
            self._edge.viewers.close(self._connection)


def _told(state: EntityState) -> Mapping[str, Any]:
    return {"status": state.status, "reason": state.reason, "since": state.since}


def offered(state: EntityState) -> Mapping[str, Any]:
    """The rungs that a camera has whose state names its `codecs`; nothing of one that does not say."""
    codecs = state.data.get("codecs")
    if state.domain != "camera" or not isinstance(codecs, list):
        return {}
    rungs = [rung.token for codec in STREAMED if codec in codecs for rung in rungs_of(codec)]
    return {"rungs": rungs} if rungs else {}


async def serve_socket(socket: WebSocket, viewing: Viewing) -> None:
    """Accepts a WebSocket and delivers over it; its socket is taken over where that can be."""
    edge = edge_of(socket)
    try:
        send_plainly(socket.scope)
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        handover: WebSocketHandover | None = (socket.scope.get("extensions") or {}).get(EXTENSION)
        if edge.settings.lane and handover is not None and handover.detach(PictureSocket(viewing.begin, viewing.end)):
            return
        await AsgiPictureSocket(socket.scope, socket.receive, socket.send).run(viewing.begin)
    except BaseException:
        viewing.end()
        raise
    viewing.end()


class MjpegAnswer:
    """Answers with JPEG after JPEG; the socket is taken over where that can be."""

    def __init__(self, edge: Edge, viewing: Viewing) -> None:
        self._edge, self._viewing = edge, viewing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = False
        try:
            if scope["method"] == "HEAD":
                await Response(headers=_MJPEG_HEADERS)(scope, receive, send)
                return
            taken = await self._stream(scope, receive, send)
        finally:
            if not taken:
                self._viewing.end()

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> bool:
        headers = [(name.lower().encode(), value.encode()) for name, value in _MJPEG_HEADERS.items()]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        handover: SseHandover | None = (scope.get("extensions") or {}).get(EXTENSION)
        if not self._edge.settings.lane or handover is None or not handover.available(scope):
            await send(start)
            await AsgiPictureStream(scope, receive, send).run(self._viewing.begin)
            return False
        handover.open_ended()
        await send(start)
        if handover.detach(PictureStream(self._viewing.begin, self._viewing.end, handover.chunks)):
            return True
        # The client left between request and answer.
        await send({"type": "http.response.body", "body": b""})
        return False


def refuse_while_draining(edge: Edge) -> None:
    """Raises Problem 503 where the process is about to end: a proxy then asks another replica."""
    if edge.draining:
        raise draining_problem()
