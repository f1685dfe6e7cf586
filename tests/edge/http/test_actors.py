"""Tests of edge/http/actors.py: the list of the actors, with their figures, and their log level."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from actors.system.actor import Actor, command
from actors.system.context import Context
from router.broker import Broker
from router.cluster.leases import Leases, lease_key
from router.event import Event
from router.version import VERSION
from tests.actors.system.running import publish, running_actor
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def same_level() -> Iterator[None]:
    logger = logging.getLogger("actors")
    before = logger.level
    yield
    logger.setLevel(before)


def echoing(entity: str) -> type[Actor]:
    class Echoing(Actor):
        """Says what it hears."""

        name = f"echo-{entity}"
        subjects = (f"job.{entity}.said",)

        async def receive(self, event: Event, ctx: Context) -> None:
            ctx.emit(f"job.{entity}.heard", {})

        @command
        async def burn(self) -> None:
            """Crashes."""
            raise ZeroDivisionError("rtsp://user:secret@host")

    return Echoing


async def listed(edge: RunningEdge, actor: str) -> list[dict[str, Any]]:
    answer = await edge.http.get("/actors")
    assert answer.status_code == 200, answer.text
    return [each for each in answer.json()["actors"] if each["actor"] == actor]


async def test_an_actor_is_listed_with_what_it_receives_publishes_and_how_often_it_crashed(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    async def told() -> dict[str, Any] | None:
        (actor,) = await listed(edge, f"echo-{entity}")
        return actor if actor["publishes"] and actor["crash"] else None

    async with running_actor(echoing(entity), broker, instance="east"):
        await publish(broker, f"job.{entity}.said", {})
        broken = await edge.http.post(f"/commands/echo-{entity}/east/burn", json={})
        actor = await eventually(told)

    assert broken.status_code == 502
    assert (actor["instance"], actor["state"], actor["about"]) == ("east", "running", "Says what it hears.")
    assert (actor["subjects"], actor["version"]) == ([f"job.{entity}.said"], VERSION)
    assert actor["publishes"] == {"job.heard": 1}
    assert (actor["restarts"], actor["mailbox"], actor["crash"]["error"]) == (1, 0, "ZeroDivisionError")
    assert actor["commands"] == ["burn", "log_level", "redrive"]
    assert (actor["requests"], actor["errors"]) == (1, 1)
    assert "secret" not in str(actor)
    assert await listed(edge, f"echo-{entity}") == []


async def test_an_actor_whose_process_holds_its_lease_and_does_not_answer_is_silent(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    holding = asyncio.ensure_future(Leases(broker.connection).hold(lease_key("actor", f"echo-{entity}", "main"), 15))
    try:
        (actor,) = await eventually(lambda: listed(edge, f"echo-{entity}"))
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)

    assert (actor["state"], actor["id"], actor["mailbox"]) == ("silent", None, None)


async def test_only_actors_that_the_token_may_command_are_listed(
    secured: SecuredFactory, broker: Broker, entity: str
) -> None:
    async with secured() as edge, running_actor(echoing(entity), broker):
        mine = await edge.as_("alice", command=[f"echo-{entity}.>"]).http.get("/actors")
        others = await edge.as_("bob", read=[">"]).http.get("/actors")
        all_of_them = await edge.as_("root", operate=True).http.get("/actors")
        nobody = await edge.http.get("/actors", headers={"Authorization": ""})

    assert [each["actor"] for each in mine.json()["actors"]] == [f"echo-{entity}"]
    assert others.json() == {"actors": []}
    assert f"echo-{entity}" in [each["actor"] for each in all_of_them.json()["actors"]]
    assert nobody.status_code == 401


async def test_a_log_level_is_read_and_changed_and_a_slip_is_refused(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    path = f"/commands/echo-{entity}/main/log_level"
    async with running_actor(echoing(entity), broker):
        changed = await edge.http.post(path, json={"level": "debug", "logger": "actors"})
        read = await edge.http.post(path, json={})
        slips = [
            await edge.http.post(path, json=body)
            for body in ({"level": "loud"}, {"level": "debug", "logger": "elsewhere"}, {"lvl": "debug"}, {"level": 7})
        ]

    assert changed.json()["levels"]["actors"] == read.json()["levels"]["actors"] == "debug"
    assert logging.getLogger("actors").level == logging.DEBUG
    assert [(slip.status_code, slip.json()["code"]) for slip in slips] == [(409, "command_refused")] * 4
    assert "a log level is debug, info, warning or error" in slips[0].json()["detail"]
