"""Tests that a refused WebSocket handshake is an answer and not an error of the application."""

from __future__ import annotations

import logging

import pytest
import websockets
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.edge.conftest import UNHURRIED, EdgeFactory


@pytest.mark.parametrize("lane", [True, False])
async def test_a_refused_handshake_is_answered_and_not_logged_as_an_error(
    edge_factory: EdgeFactory, caplog: pytest.LogCaptureFixture, lane: bool
) -> None:
    caplog.set_level(logging.INFO)
    async with edge_factory(lane=lane) as edge:
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(
                f"ws://127.0.0.1:{edge.port}/cameras/nowhere/ws", origin=Origin("http://evil.example"), **UNHURRIED
            )

        assert refused.value.response.status_code == 403
        assert (await edge.http.get("/livez")).status_code == 200
    assert not [
        record for record in caplog.records if record.name == "uvicorn.error" and record.levelno >= logging.ERROR
    ]
