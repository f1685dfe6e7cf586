"""Renders as runs on a real nats-server: the Octane actor, a simulated Octane, the agent actor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.agent.actor import Agent
from actors.alerts.actor import Alerts, AlertsSettings
from actors.octane.actor import Octane, OctaneSettings
from actors.octane.render_run import RenderSettings
from actors.octane.render_store import NatsRenderStore
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.simulator import OctaneGeneration, SimulatedKind, SimulatorSettings
from protos import octane_types_pb2 as wire
from router.broker import Broker
from router.errors import Timeout
from router.event import Event
from router.last_pictures import LastPictures, PictureKey
from router.run_entry import GONE, StopRequest
from router.runs import RunLedger
from router.subject import escape
from router.topology import EVENTS
from tests.actors.octane.simulation import QUICK, simulated
from tests.actors.system.running import events_under, running_actor
from tests.waiting import eventually

RULES = Path(__file__).parents[3] / "ops/rules/render.yaml"
# A run begins at once, and is given up soon.
HASTY = RenderSettings(settle=0.2, grace=2.0, progress=0.05, progress_idle=0.2, picture=0.1)
# One second of rendering; then it rests for longer than a test takes.
SECOND: SimulatorSettings = replace(QUICK, max_samples=40, rest=600)
ENDLESS = replace(QUICK, max_samples=100_000, samples_per_second=200.0, rest=600)


@asynccontextmanager
async def acting(broker: Broker, instance: str, address: str, **settings: Any) -> AsyncIterator[None]:
    """The Octane actor, for the length of the block."""
    chosen = OctaneSettings(address=address, reconnect=0.2, idle_fps=20, render=replace(HASTY, **settings))
    async with running_actor(lambda: Octane(chosen), broker, instance=instance):
        yield


async def said(broker: Broker, octane: str, kind: str) -> list[Event]:
    """What the runs of one Octane have said of a kind, oldest first."""
    events = await events_under(broker, f"job.*.{kind}")
    return [event for event in events if event.subject.entity.startswith(f"octane-{octane}-")]


@pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])
async def test_a_render_that_is_done_is_told_of_with_its_last_picture(
    broker: Broker, entity: str, generation: OctaneGeneration
) -> None:
    render = replace(SECOND, generation=generation)
    async with simulated(render) as octane, acting(broker, entity, octane.address, public_url="https://edge.example"):
        (done,) = await eventually(lambda: said(broker, entity, "completion"))

    (start,) = await said(broker, entity, "workflow_start")
    run = start.subject.entity
    assert done.subject.entity == run
    assert done.data["success"] is True and done.data["status"] == "finished"
    assert (done.data["samples"], done.data["width"], done.data["height"]) == (40, 48, 27)
    assert done.data["simulated"] is True and start.data["simulated"] is True
    assert done.data["picture"].startswith(f"https://edge.example/runs/{run}/picture?domain=job&expires=")
    progress = [event.data["progress"] for event in await said(broker, entity, "progress")]
    assert progress and progress == sorted(progress)
    kept = await LastPictures(broker).find(PictureKey.of_run("job", run))
    assert kept is not None and kept.body.startswith(b"\xff\xd8") and kept.header["samples"] == 40
    assert kept.header["run"] == run and "simulator" in kept.header["rendered_by"].lower()
    (known,) = (await broker.latest([f"octane.{entity}.render"]))[-1:]
    assert known.event is not None and known.event.data["status"] == "finished"
    assert known.event.data["picture"] == done.data["picture"]
    # What is a moment's figure does not fill EVENTS.
    figures = await broker.stream(EVENTS).get_last(f"ev.octane.{entity}.statistics")
    assert figures is not None and b"Nats-TTL: 60s" in figures.headers


async def test_a_pause_is_a_status_of_the_run_and_a_stop_its_end(broker: Broker, entity: str) -> None:
    async with simulated(ENDLESS) as octane, acting(broker, entity, octane.address):
        await eventually(lambda: said(broker, entity, "workflow_start"))
        octane.render.pause()
        octane.tell(SimulatedKind.NEW_STATISTICS)
        (paused,) = await eventually(lambda: said(broker, entity, "status"))
        assert paused.data["status"] == "paused" and not await said(broker, entity, "completion")

        octane.render.stop()
        octane.tell(SimulatedKind.NEW_STATISTICS)
        (end,) = await eventually(lambda: said(broker, entity, "completion"))

    assert (end.data["success"], end.data["status"]) == (False, "stopped")
    assert end.data["message"] == "the render was stopped" and "picture" in end.data


async def test_a_render_that_fails_says_why(broker: Broker, entity: str) -> None:
    async with simulated(ENDLESS) as octane, acting(broker, entity, octane.address):
        await eventually(lambda: said(broker, entity, "workflow_start"))
        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)
        (end,) = await eventually(lambda: said(broker, entity, "completion"))

    assert end.data["status"] == "failed" and "the simulator was told to fail" in end.data["error"]


async def test_an_octane_that_dies_in_mid_render_fails_its_run_with_its_last_picture(
    broker: Broker, entity: str
) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_track("octane", entity, "beauty")
    async with AsyncExitStack() as stack:
        octane = await stack.enter_async_context(simulated(ENDLESS))
        async with acting(broker, entity, octane.address):
            await eventually(lambda: said(broker, entity, "workflow_start"))
            await eventually(lambda: pictures.find(key))
            await stack.aclose()
            (end,) = await eventually(lambda: said(broker, entity, "completion"))

    assert end.data["status"] == "failed" and "octane was away for 2 s" in end.data["error"]
    kept = await pictures.find(PictureKey.of_run("job", end.subject.entity))
    assert kept is not None and kept.body.startswith(b"\xff\xd8")


async def test_an_actor_that_is_started_again_goes_on_with_the_run(broker: Broker, entity: str) -> None:
    longer = replace(SECOND, max_samples=160)
    async with simulated(longer) as octane:
        async with acting(broker, entity, octane.address, grace=60.0):
            await eventually(lambda: said(broker, entity, "progress"))
        async with acting(broker, entity, octane.address, grace=60.0):
            (done,) = await eventually(lambda: said(broker, entity, "completion"))

    assert done.data["status"] == "finished" and len(await said(broker, entity, "workflow_start")) == 1


async def test_a_render_that_was_done_while_no_actor_watched_is_told_of_by_the_next(
    broker: Broker, entity: str
) -> None:
    async with simulated(SECOND) as octane:
        async with acting(broker, entity, octane.address, grace=60.0):
            await eventually(lambda: said(broker, entity, "workflow_start"))
        await eventually(lambda: octane.render.state == wire.RSTATE_FINISHED)
        async with acting(broker, entity, octane.address, grace=60.0):
            (done,) = await eventually(lambda: said(broker, entity, "completion"))

    assert done.data["status"] == "finished" and done.data["samples"] == 40
    assert len(await said(broker, entity, "workflow_start")) == 1


async def test_a_run_that_was_failed_while_no_actor_watched_goes_on_as_its_next_life(
    broker: Broker, entity: str
) -> None:
    async with running_actor(Agent, broker), simulated(ENDLESS) as octane:
        async with acting(broker, entity, octane.address, grace=1.0):
            (start,) = await eventually(lambda: said(broker, entity, "workflow_start"))
            await eventually(lambda: held(broker, start.subject.entity))
        (lost,) = await eventually(lambda: said(broker, entity, "completion"))
        assert lost.data["error"] == GONE

        async with acting(broker, entity, octane.address, grace=60.0):
            starts = await eventually(lambda: several(broker, entity, "workflow_start"))
            octane.render.max_samples = octane.render.samples + 10
            ends = await eventually(lambda: several(broker, entity, "completion"))

    assert starts[1].subject == starts[0].subject and starts[1].data["resumed"] is True
    assert [end.data["status"] for end in ends[1:]] == ["finished"]


class UnansweredStore(NatsRenderStore):
    """A store whose first answer to each request is lost: it was done, and nobody knows."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.lost: set[str] = set()

    def _lose(self, what: str) -> None:
        if what not in self.lost:
            self.lost.add(what)
            raise Timeout(f"{what} was not answered")

    async def start(self, event: Event, incarnation: str, ttl: float) -> None:
        await super().start(event, incarnation, ttl)
        self._lose("start")

    async def end(self, event: Event, incarnation: str) -> None:
        await super().end(event, incarnation)
        self._lose("end")

    async def hold(self, run: str, incarnation: str, ttl: float) -> StopRequest | None:
        found = await super().hold(run, incarnation, ttl)
        self._lose("hold")
        return found


async def test_what_was_stored_without_an_answer_is_stored_once(broker: Broker, entity: str) -> None:
    store = UnansweredStore(broker)
    async with simulated(SECOND) as octane:
        chosen = OctaneSettings(address=octane.address, reconnect=0.2, idle_fps=20, render=HASTY)
        async with running_actor(lambda: Octane(chosen, None, store), broker, instance=entity):
            await eventually(lambda: render_is(broker, entity, "finished"))

    assert store.lost >= {"start", "end"}
    assert len(await said(broker, entity, "workflow_start")) == len(await said(broker, entity, "completion")) == 1


async def render_is(broker: Broker, octane: str, status: str) -> bool:
    records = await broker.latest([f"octane.{octane}.render"])
    return any(record.event is not None and record.event.data["status"] == status for record in records)


async def held(broker: Broker, run: str) -> bool:
    entry = await RunLedger(broker).read("job", run)
    return entry is not None and entry.lease is not None


async def several(broker: Broker, octane: str, kind: str) -> list[Event] | None:
    events = await said(broker, octane, kind)
    return events if len(events) > 1 else None


async def test_a_request_to_stop_the_run_stops_the_render(broker: Broker, entity: str) -> None:
    async with running_actor(Agent, broker), simulated(ENDLESS) as octane, acting(broker, entity, octane.address):
        (start,) = await eventually(lambda: said(broker, entity, "workflow_start"))
        await RunLedger(broker).request_stop("job", escape(start.subject.entity), "the client called")
        (end,) = await eventually(lambda: said(broker, entity, "completion"))
        stopped = octane.render.state

    assert end.data["status"] == "stopped" and end.data["message"] == "asked to stop: the client called"
    assert stopped == wire.RSTATE_STOPPED


@pytest.mark.slow
async def test_a_drag_of_the_camera_makes_no_runs(broker: Broker, entity: str) -> None:
    # Far longer than a busy machine pauses between two steps of the drag.
    async with simulated(ENDLESS) as octane, acting(broker, entity, octane.address, settle=3.0):
        await eventually(lambda: said(broker, entity, "workflow_start"))
        for _ in range(10):
            octane.render.wipe()
            octane.tell(SimulatedKind.NEW_STATISTICS)
            await asyncio.sleep(0.1)
        starts = await eventually(lambda: several(broker, entity, "workflow_start"))

    (end,) = await said(broker, entity, "completion")
    assert len(starts) == 2 and end.data["message"] == "the film was restarted"


async def test_a_rule_says_that_a_render_gets_no_samples_and_that_it_goes_on(
    broker: Broker, entity: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.read_text().replace("absence: 60s", "absence: 2s"))
    alerts = running_actor(lambda: Alerts(AlertsSettings(str(rules))), broker)
    async with alerts, simulated(ENDLESS) as octane, acting(broker, entity, octane.address, grace=60.0):
        (start,) = await eventually(lambda: said(broker, entity, "workflow_start"))
        octane.strike(OctaneFault.HANG)
        (fired,) = await eventually(lambda: alerts_of(broker, start, "firing"))
        octane.clear()
        await eventually(lambda: alerts_of(broker, start, "resolved"))

    assert fired.data["title"] == f"{start.subject.entity} has had no new samples for a minute"
    assert not await said(broker, entity, "completion")


async def alerts_of(broker: Broker, start: Event, kind: str) -> list[Event]:
    events = await events_under(broker, f"alert.render-without-samples.{kind}")
    return [event for event in events if start.subject.entity in str(event.data)]
