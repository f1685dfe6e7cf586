"""A token that travels as a WebSocket subprotocol: it opens what it grants, is not sent back, and is not logged."""

from __future__ import annotations

import logging

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from router.broker import Broker
from router.event import Event
from tests.edge.auth.conftest import SecuredEdge, bearer, token


async def test_a_token_may_travel_as_a_subprotocol(
    edge: SecuredEdge, broker: Broker, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await broker.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    given = token("alice", read=[f"job.{entity}.>", f"camera.{entity}.>"])
    session = await edge.showing(given).session(subjects=[f"job.{entity}.>"])

    for path in (f"callbacks/sessions/{session}/ws", f"cameras/{entity}/ws"):
        address = f"ws://127.0.0.1:{edge.port}/{path}"
        offered = ["callboard.v1", f"bearer.{given}"]
        async with websockets.connect(address, subprotocols=offered) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == "callboard.v1"
            assert socket.response and given not in str(socket.response.headers)

    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets")]
    assert not [line for line in logged if given in line]
    assert any("sec-websocket-protocol" in line.lower() for line in logged), "the handshake was not logged at all"


@pytest.mark.parametrize(
    ("offered", "header", "code"),
    [
        (["callboard.v1"], False, "token_required"),
        (["callboard.v1", "bearer."], False, "bad_token"),
        (["callboard.v1", "bearer.nobody"], False, "bad_token"),
        (["callboard.v1", "bearer.{good}", "bearer.{good}"], False, "bad_token"),
        (["callboard.v1", "bearer.{good}"], True, "bad_token"),
    ],
)
async def test_a_subprotocol_that_proves_nobody_opens_nothing(
    edge: SecuredEdge, entity: str, offered: list[str], header: bool, code: str
) -> None:
    good = token("alice", read=[f"job.{entity}.>"])
    session = await edge.showing(good).session(subjects=[f"job.{entity}.>"])
    names = [name.format(good=good) for name in offered]

    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(
            f"ws://127.0.0.1:{edge.port}/callbacks/sessions/{session}/ws",
            subprotocols=names,  # type: ignore[arg-type]
            additional_headers=bearer(good) if header else None,
        )

    answer = refused.value.response
    assert f'"code":"{code}"'.encode() in (answer.body or b"")
    assert good not in str(answer.headers) and good.encode() not in (answer.body or b"")
