"""This file is where a handshake that was refused with an answer counts as finished."""

from __future__ import annotations

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


def with_refusals(base: type[WebSocketsSansIOProtocol]) -> type[WebSocketsSansIOProtocol]:
    """Makes a WebSocket protocol that does not log each refusal as an error of the application, as uvicorn does."""

    class RefusingProtocol(base):  # type: ignore[misc, valid-type]
        """A WebSocket protocol whose refusals are answers."""

        async def send(self, message: ASGISendEvent) -> None:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                self.handshake_complete = True

    return RefusingProtocol
