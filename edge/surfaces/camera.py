"""The WebSocket of CompuCyto's camera page, `/ws/camera/stream`: a camera's JPEGs as base64 in JSON (`edge.dialects.camera`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from edge.dialects import camera as dialect
from edge.disconnect import Disconnect
from edge.errors import Problem
from edge.http.body import draining_problem, edge_of, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import operation
from edge.http.watching import Viewing
from edge.presence import EntityState
from edge.surfaces.surface import SocketSurface, Surface
from edge.transports.flow import send_plainly
from edge.transports.video.asgi import AsgiPictureSocket
from edge.transports.video.delivery import PictureDelivery
from edge.transports.video.frame import Frame, Order
from edge.transports.video.mp4_viewer import Mp4Messages
from edge.transports.video.wish import Wish
from router.codec import from_json
from router.errors import BadEvent
from router.rungs import JPEG
from router.subject import escape

DEFAULT_CAMERA = "main"
# How long the confirmation waits for the first picture, which knows its size best. An idle camera starts within a second.
FIRST_SECONDS = 2.0


class CameraPageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which camera, and how it is shown. The page's own address has none of these."""

    camera: Annotated[
        str | None, Meta(description="Which camera; `main`, or the first one there is, where it is not said.")
    ] = None
    field: Annotated[
        Literal["data", "image", "frame"], Meta(description="The field of `frame` messages that has the JPEG.")
    ] = "data"
    height: Annotated[int, Meta(ge=1, le=16384, description="Pixels; the nearest rung of the ladder.")] | None = None
    fps: Annotated[float, Meta(ge=0.1, le=240, description="The most pictures a second.")] | None = None
    ticket: Annotated[
        str | None,
        Meta(
            description='From `POST /tickets` with `{"path": "/ws/camera/stream"}`, where no Authorization can be sent.'
        ),
    ] = None
    token: Annotated[
        str | None, Meta(description="A token, where the server is configured to take it from addresses.")
    ] = None


class CameraPageSocket(AsgiPictureSocket):
    """One connection of that page."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, camera: str, state: EntityState, field: str) -> None:
        super().__init__(scope, receive, send)
        self._camera, self._field = camera, field
        self._about: Mapping[str, Any] = state.data
        self._shown: Order | None = None
        self._first = asyncio.Event()

    def write(self, frame: Frame, mp4: Mp4Messages | None) -> int:
        if not self._first.is_set():
            self._about = frame.header
            self._first.set()
        return super().write(frame, mp4)

    def _form(self, frame: Frame) -> list[bytes]:
        # The page counts what it is sent, so a repeat is left out.
        if not frame.fresh and frame.order == self._shown:
            return []
        self._shown = frame.order
        return [
            frame.kept(
                f"camera {self._field}",
                lambda: dialect.frame(self._camera, frame.header, frame.body, self._field),
            )
        ]

    def _message(self, form: bytes) -> Message:
        return {"type": "websocket.send", "text": form.decode()}

    async def _say(self, said: Mapping[str, Any]) -> None:
        match said.get("control"):
            case "ready":
                if said.get("status") in ("failed", "gone"):
                    await self._send(self._message(dialect.condition(self._camera, said["status"], said["reason"])))
                else:
                    await self._wait_for_picture()
                await self._send(self._message(dialect.connected(self._camera, self._about)))
            case "state":
                await self._send(self._message(dialect.condition(self._camera, said["status"], said["reason"])))

    async def _wait_for_picture(self) -> None:
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._first.wait()
        except TimeoutError:
            return

    async def _finish(self, reason: Disconnect) -> None:
        await self._send({"type": "websocket.close", "code": reason.code, "reason": reason.reason})

    async def _read(self, delivery: PictureDelivery) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            try:
                said = from_json(message.get("text") or message.get("bytes") or b"")
            except BadEvent:
                continue
            if isinstance(said, dict) and said.get("control") in ("shown", "prefer"):
                delivery.hear(message.get("text") or message.get("bytes") or b"")


async def which_camera(connection: HTTPConnection, asked: str | None) -> EntityState:
    """The camera that a request is about; one of those that are granted, where it names none. Raises Problem 404."""
    presence = edge_of(connection).presence
    if asked is not None:
        state = await presence.find("camera", asked)
    else:
        grants = principal_of(connection.scope).grants
        granted = [each for each in await presence.all("camera") if grants.may_read(f"camera.{escape(each.id)}.>")]
        # One that lives, then the usual one, then by name.
        state = min(granted, key=lambda each: (each.id != DEFAULT_CAMERA, each.gone, each.id), default=None)
    if state is None:
        raise Problem("camera_not_found", f"no camera is known as {(asked or DEFAULT_CAMERA)[:60]!r}")
    return state


@operation(
    "Watch a camera as CompuCyto's page does: JSON messages `connected` and `frame`, with JPEGs in base64",
    query=CameraPageQuery,
    problems=("draining", "too_many", "not_granted", "camera_not_found"),
    websocket=True,
)
async def socket_camera_page(socket: WebSocket) -> None:
    edge = edge_of(socket)
    if edge.draining:
        raise draining_problem()
    query = read_query(socket, CameraPageQuery)
    state = await which_camera(socket, query.camera)
    principal_of(socket.scope).require_read(f"camera.{escape(state.id)}.>")
    viewing = Viewing(
        socket,
        ("camera", state.id),
        lambda rung: edge.video.watch_rung(state.id, rung or JPEG),
        Wish("jpeg", query.height, query.fps),
        state,
    )
    try:
        send_plainly(socket.scope)
        await socket.accept()
        page = CameraPageSocket(socket.scope, socket.receive, socket.send, state.id, state, query.field)
        await page.run(viewing.begin)
    finally:
        viewing.end()


ROWS: tuple[Surface, ...] = (SocketSurface(path="/ws/camera/stream", handler=socket_camera_page),)
