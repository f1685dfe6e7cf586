"""Each request of a route is counted once, by the status with which its answer begins."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from edge import metrics
from edge.http.traffic import RequestMetrics


def counted(route: str, kind: str) -> float:
    return float(metrics.requests.labels(route, kind)._value.get())


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([{"type": "http.response.start", "status": 204, "headers": []}, {"type": "http.response.body"}], "2xx"),
        ([{"type": "http.response.start", "status": 503, "headers": []}], "5xx"),
        ([{"type": "websocket.accept"}, {"type": "websocket.close"}], "1xx"),
        ([{"type": "websocket.close"}], "4xx"),
    ],
)
async def test_a_request_is_counted_once_as_its_answer_begins(messages: list[dict[str, Any]], kind: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    route = f"/traffic/{kind}"
    before = counted(route, kind)

    await RequestMetrics(app, route)({"type": "http", "headers": []}, receive, send)

    assert sent == messages
    assert counted(route, kind) - before == 1
