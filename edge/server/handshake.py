"""Lets a refused WebSocket handshake end as an ordinary HTTP response.

uvicorn would log each refusal as an error of the application.
"""

from __future__ import annotations

from typing import cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class RefusingProtocol(WebSocketsSansIOProtocol):
    """A WebSocket protocol for which a complete refusal completes the handshake."""

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True


def with_refusals(base: type[WebSocketsSansIOProtocol]) -> type[WebSocketsSansIOProtocol]:
    """Makes the refusals of a WebSocket protocol class ordinary responses."""
    return cast(type[WebSocketsSansIOProtocol], type(f"Refusing{base.__name__}", (RefusingProtocol, base), {}))
