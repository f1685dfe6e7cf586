"""Selects the WebSocket subprotocol, and reads a token that travels as one.

A browser's WebSocket can send no headers, only subprotocols (RFC 6455 §1.9): `new WebSocket(url, ["callboard.v1",
"bearer.<token>"])`. Only `callboard.v1` is ever selected, so a token is not sent back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Send

NAME = "callboard.v1"
_BEARER = "bearer."


def offered_tokens(scope: Mapping[str, Any]) -> list[str]:
    """Lists the tokens among the subprotocols that a client offers."""
    return [name.removeprefix(_BEARER) for name in scope.get("subprotocols", ()) if name.startswith(_BEARER)]


def selecting(scope: Mapping[str, Any], send: Send) -> Send:
    """Answers a client that offers our subprotocol with it; one that offers others only gets none, as one without any."""
    if NAME not in scope.get("subprotocols", ()):
        return send

    async def sending(message: Message) -> None:
        await send({**message, "subprotocol": NAME} if message["type"] == "websocket.accept" else message)

    return sending
