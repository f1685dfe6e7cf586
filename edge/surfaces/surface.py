"""Defines a row of the table of surfaces: an address, who may read it, in which dialect, and how what it reads is found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from edge.auth.authenticator import Access
from edge.dialects.dialect import Dialect, Headers
from edge.dialects.folding import Ending, endless
from edge.http.openapi.operation import Answer, Media, header, operation
from edge.view import FULL, Pace
from router.cursor import Start
from router.position import Position


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one request reads: subject patterns, types, where it begins, and where it ends.

    Up to the position `after` the client has everything, of its last event the first `had` parts where these are not all.
    `parameters` are what the dialect begins with, `headers` those of the answer beside its own. `abandoned` is called where the
    client leaves before the end.
    """

    subjects: tuple[str, ...]
    start: Start
    types: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    after: Position | None = None
    had: int = 0
    ending: Ending = endless
    headers: Headers = ()
    abandoned: Callable[[], Awaitable[object]] | None = None


class SurfaceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where a client that was here before goes on."""

    cursor: Annotated[str | None, Meta(description="As the header Last-Event-ID, which takes precedence.")] = None
    lastEventId: Annotated[str | None, Meta(description="The same, as polyfills send it.")] = None
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None
    token: Annotated[
        str | None, Meta(description="A token, where the server is configured to take it from addresses.")
    ] = None


Find = Callable[[Request], Awaitable[Reading | Response]]

LAST_EVENT_ID = header("Last-Event-ID", "The `id:` of the last event read: the stream goes on behind it.")


@dataclass(frozen=True, kw_only=True)
class StreamSurface:
    """An address that is answered with server-sent events in one dialect.

    `find` says what a request reads, or answers it at once. `name` is that of the operation in the OpenAPI document.
    """

    path: str
    name: str
    summary: str
    dialect: Dialect
    find: Find
    method: str = "GET"
    query: type[msgspec.Struct] = SurfaceQuery
    body: Any = None
    answers: tuple[Answer, ...] = ()
    problems: tuple[str, ...] = ()
    access: Access = Access.STREAM
    pace: Pace = FULL

    def route(self, serve: Callable[[StreamSurface, Request], Awaitable[Any]]) -> BaseRoute:
        """The route of the row, with its operation declared."""

        async def handle(request: Request) -> Any:
            return await serve(self, request)

        handle.__name__ = self.name
        declared = operation(
            self.summary,
            Answer(200, f"Server-sent events of the dialect {self.dialect.name}", Media("text/event-stream")),
            *self.answers,
            query=self.query,
            body=self.body,
            problems=("bad_subject", "draining", "not_granted", "too_many", *self.problems),
            headers=(LAST_EVENT_ID,),
        )(handle)
        return Route(self.path, declared, methods=[self.method], name=self.name)


@dataclass(frozen=True, kw_only=True)
class CallSurface:
    """An address that is answered with JSON, by a handler that declares its operation itself."""

    path: str
    handler: Callable[[Request], Awaitable[Response | ASGIApp]]
    method: str = "GET"
    access: Access = Access.TOKEN

    def route(self, _serve: object) -> BaseRoute:
        """The route of the row."""
        return Route(self.path, self.handler, methods=[self.method])


@dataclass(frozen=True, kw_only=True)
class SocketSurface:
    """An address of a WebSocket, whose handler declares its operation itself."""

    path: str
    handler: Callable[[WebSocket], Awaitable[None]]
    access: Access = Access.STREAM
    method: ClassVar[str] = "WEBSOCKET"

    def route(self, _serve: object) -> BaseRoute:
        """The route of the row."""
        return WebSocketRoute(self.path, self.handler)


Surface = StreamSurface | CallSurface | SocketSurface
