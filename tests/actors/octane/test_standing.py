"""How the condition of an Octane becomes an event, over connections, restarts and outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import REGISTRY

from actors.octane.condition import ConditionLimits
from actors.octane.observations import (
    CallTimedOut,
    ConnectFailed,
    OctaneIdentified,
    PictureFetched,
    RenderProgress,
    Sampled,
)
from actors.octane.standing import OctaneStanding, connection_fault
from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.probe import Probe
from router.nats.embedded import free_port
from tests.actors.octane.watching import latest, said
from tests.waiting import eventually

OLD = "2026-11-20T08:00:00.000000Z"


class StandingAlone(Actor):
    """Publishes the standing of an Octane that only the test observes."""

    name = "octane"
    subjects = ()

    async def start(self, ctx: Context) -> None:
        self.standing = OctaneStanding("127.0.0.1:51022", ctx, ConditionLimits(stale=0.3), lambda: None)
        await self.standing.recall()
        ctx.source("standing", lambda beat: self.standing.run(beat, lambda: None), None)


@asynccontextmanager
async def standing(**options: Any) -> AsyncIterator[tuple[Probe, OctaneStanding]]:
    async with Probe(StandingAlone, **options) as probe:
        assert isinstance(probe.actor, StandingAlone)
        yield probe, probe.actor.standing


def gauge(name: str, state: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"state": state})


async def test_nothing_is_published_before_an_octane_was_looked_for_and_then_each_change_once():
    async with standing() as (probe, octane):
        octane.observe(OctaneIdentified())
        await eventually(lambda: latest(probe).get("status") == "connected")
        octane.observe(OctaneIdentified())
        octane.observe(ConnectFailed("connection refused"))
        await eventually(lambda: latest(probe).get("status") == "absent")

        assert [state["status"] for state in said(probe, "state")] == ["connected", "absent"]
        assert {event.key for event in probe.events} == {"main"}


async def test_a_picture_becomes_stale_by_time_alone_and_says_since_when():
    async with standing() as (probe, octane):
        octane.observe(OctaneIdentified())
        octane.observe(PictureFetched())
        for samples in (1.0, 2.0):
            octane.observe(Sampled(RenderProgress(samples=samples), rendering=True))
        await eventually(lambda: latest(probe).get("picture") == "stale")
        stale = latest(probe)
        octane.observe(CallTimedOut("getRenderStatistics", 1.2))
        await eventually(lambda: latest(probe).get("status") == "busy")

        # The dates of what did not change stay as they were told.
        assert latest(probe)["picture_since"] == stale["picture_since"]
        assert stale["since"] <= stale["picture_since"] < latest(probe)["since"]


async def test_metrics_count_what_an_octane_and_its_picture_are():
    async with standing() as (_, octane):
        octane.observe(OctaneIdentified())
        octane.observe(PictureFetched())

        assert (gauge("actors_octane_state", "connected"), gauge("actors_octane_state", "absent")) == (1, 0)
        assert (gauge("actors_octane_picture", "live"), gauge("actors_octane_picture", "none")) == (1, 0)


async def test_after_a_restart_of_callboard_the_last_picture_is_stale_since_it_was():
    told = {"status": "absent", "since": OLD, "picture": "stale", "picture_since": OLD}
    async with standing(stored=[("octane.main.state", told)]) as (probe, octane):
        octane.observe(ConnectFailed("connection refused"))
        await eventually(lambda: latest(probe))

        state = latest(probe)
        assert (state["status"], state["since"], state["picture"], state["picture_since"]) == (
            "absent",
            OLD,
            "stale",
            OLD,
        )
        octane.observe(OctaneIdentified())
        octane.observe(PictureFetched())
        await eventually(lambda: latest(probe)["picture"] == "live")
        assert latest(probe)["since"] > OLD


async def test_what_an_earlier_incarnation_published_amiss_is_passed_over():
    told = {"status": "absent", "since": "yesterday", "picture": "live", "picture_since": 7}
    async with standing(stored=[("octane.main.state", told)]) as (probe, octane):
        octane.observe(ConnectFailed("connection refused"))

        await eventually(lambda: latest(probe).get("picture") == "stale")


async def test_a_port_where_nobody_listens_is_told_from_one_that_accepts():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        assert await connection_fault(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") is None

    assert await connection_fault(f"127.0.0.1:{free_port()}")
