"""Aborting ends a connection at once where its server offers that, and counts it as too slow."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from edge.transports.abort import ABORT, abort


def slow(transport: str) -> float:
    labels = {"transport": transport, "reason": "slow"}
    return REGISTRY.get_sample_value("edge_disconnects_total", labels) or 0.0


def test_a_connection_that_offers_it_is_cut() -> None:
    cut: list[str] = []
    before = slow("sse")

    abort({"type": "http", "extensions": {ABORT: lambda: cut.append("now")}}, "sse")

    assert cut == ["now"] and slow("sse") == before + 1


@pytest.mark.parametrize("scope", [{"type": "websocket"}, {"type": "websocket", "extensions": None}])
def test_a_server_that_offers_nothing_is_asked_for_nothing(scope: dict[str, object]) -> None:
    before = slow("websocket")

    abort(scope, "websocket")

    assert slow("websocket") == before + 1
