"""Which camera a request may watch."""

from __future__ import annotations

import pytest

from router.broker import Broker
from tests.clocks import Clock
from tests.edge.auth.conftest import SecuredFactory, clock
from tests.edge.transports.video.h264 import LiveFilm

__all__ = ["clock"]


@pytest.mark.parametrize("way", ["stream.mp4", "whep"])
async def test_a_camera_is_watched_by_the_right_to_all_of_it_or_a_ticket_for_that_way(
    secured: SecuredFactory, store: Broker, entity: str, clock: Clock, way: str
) -> None:
    address, method = f"/cameras/{entity}/{way}", "POST" if way == "whep" else "GET"
    async with secured() as edge, LiveFilm(store, entity).running():
        alice, bob = edge.as_("alice", read=[f"camera.{entity}.>"]), edge.as_("bob", read=["camera.another.>"])
        statuses = []
        for given in (edge, bob):
            async with given.http.stream(method, address) as answer:
                statuses.append(answer.status_code)
        wish = {"camera": entity, "transport": "mp4" if way == "stream.mp4" else "whep"}
        other = (await alice.http.post("/tickets", json={**wish, "transport": "mjpeg"})).json()["ticket"]
        async with edge.http.stream(method, f"{address}?ticket={other}") as answer:
            statuses.append(answer.status_code)
        ticket = (await alice.http.post("/tickets", json=wish)).json()["ticket"]
        async with edge.http.stream(method, f"{address}?ticket={ticket}") as answer:
            allowed = answer.status_code

    assert statuses == [401, 403, 401]
    # An offer was not sent.
    assert allowed == (415 if way == "whep" else 200)
