"""Tests of actor.py and producers.py: the agent under a Probe, and with real runs on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest

from actors.agent.actor import GONE, Agent, AgentSettings
from actors.agent.producers import Heard
from actors.system.actor import Reject
from actors.system.probe import Probe
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.cluster.leases import Leases, lease_key
from router.errors import NoResponders
from router.event import Event
from router.nats.settings import BrokerSettings
from router.sdk import Run, RunSettings
from router.timing import ManualClock
from tests.waiting import PATIENCE, eventually

DEFAULTS = AgentSettings()


class Known:
    """Producers that a test plays."""

    def __init__(self) -> None:
        self.connected = True
        self.heard: Heard
        self.watched = asyncio.Event()
        self.asked: list[tuple[str, str, str | None]] = []
        self.answers = True

    async def watch(self, heard: Heard) -> None:
        self.heard = heard
        self.watched.set()
        await asyncio.Event().wait()

    async def stop(self, domain: str, run: str, reason: str | None) -> dict[str, Any]:
        if not self.answers:
            raise NoResponders
        self.asked.append((domain, run, reason))
        return {"ok": True}


def states(probe: Probe) -> list[dict[str, Any]]:
    return [dict(data) for subject, data in probe.emitted if subject.endswith(".state")]


@contextlib.asynccontextmanager
async def probed(
    producers: Known | None = None, *, settings: AgentSettings = DEFAULTS, **options: Any
) -> AsyncIterator[tuple[Probe, ManualClock]]:
    clock = ManualClock()
    async with Probe(lambda: Agent(settings, producers), clock=clock, **options) as probe:
        if producers:
            await producers.watched.wait()
        yield probe, clock


async def test_a_runs_state_is_told_at_once_when_its_status_turns() -> None:
    async with probed() as (probe, _):
        await probe.receive("agent.run-42.workflow_start", {"name": "Report"})
        await probe.receive("agent.run-42.progress", {"progress": 0.65, "message": "Halfway"})
        await probe.receive("agent.run-42.completion", {"success": True, "tokens_used": 1250})

        assert [subject for subject, _ in probe.emitted] == ["agent.run-42.state"] * 2
        first, last = states(probe)
        assert (first["run"], first["domain"], first["name"]) == ("run-42", "agent", "Report")
        assert (first["status"], first["progress"]) == ("running", None)
        assert (last["status"], last["progress"], last["message"], last["tokens_used"]) == (
            "completed",
            1.0,
            "Halfway",
            1250,
        )
        assert probe.events[-1].key == "agent.run-42"


async def test_progress_is_told_four_times_a_second_and_the_last_one_always() -> None:
    async with probed() as (probe, clock):
        await probe.receive("job.render.workflow_start", {})
        for n in range(1, 101):
            await probe.receive("job.render.progress", {"progress": n / 200})
            await clock.advance(0.01)
            await probe.tick()

        assert len(states(probe)) == pytest.approx(5, abs=1)
        await clock.advance(0.25)
        await probe.tick()
        await probe.tick()
        assert states(probe)[-1]["progress"] == 0.5
        assert len(states(probe)) <= 6


async def test_its_own_word_is_passed_over() -> None:
    async with probed() as (probe, _):
        assert await probe.receive("agent.x.state", {"status": "running"}) == "acked"

        assert probe.emitted == [] and await probe.ask("runs") == {"runs": []}


async def test_malformed_progress_is_a_dead_letter_with_a_reason() -> None:
    async with probed() as (probe, _):
        await probe.receive("agent.x.progress", {"progress": "half"})

        assert [reason for _, reason in probe.rejected] == ["progress must be a number, not 'half'"]
        assert probe.emitted == []
        assert await probe.receive("agent.x.some_type_of_tomorrow", {"progress": "half"}) == "acked"


async def test_what_comes_after_the_end_changes_nothing_even_when_the_run_is_long_forgotten() -> None:
    async with probed(settings=AgentSettings(keep_over=5)) as (probe, clock):
        await probe.receive("job.j.workflow_start", {})
        await probe.receive("job.j.completion", {"success": False, "error": "first"})
        await probe.receive("job.j.completion", {"success": True})
        await clock.advance(10)
        await probe.tick()
        assert await probe.ask("runs") == {"runs": []}

        await probe.receive("job.j.progress", {"progress": 0.9})

        assert (await probe.ask("run", run="j"))["status"] == "failed"
        assert len(states(probe)) == 2
        await probe.receive("job.j.workflow_start", {})
        assert (await probe.ask("run", run="j"))["status"] == "running"


async def test_a_vanished_producer_is_given_its_end() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0)
        await probe.receive("agent.x.workflow_start", {})
        await probe.receive("agent.x.progress", {"progress": 0.5})
        for _ in range(15):  # it is refreshed all the time
            await clock.advance(3)
            known.heard("agent.x", 10.0)
            await probe.tick()
        assert (await probe.ask("run", run="x"))["status"] == "running"

        known.heard("agent.x", None)
        await clock.advance(9)
        await probe.tick()
        assert (await probe.ask("run", run="x"))["status"] == "running"
        await clock.advance(2)
        await probe.tick()

        ends = [data for subject, data in probe.emitted if subject == "agent.x.completion"]
        assert ends == [{"success": False, "error": GONE, "synthesized": True}]
        assert states(probe)[-1]["status"] == "failed" and states(probe)[-1]["error"] == GONE
        await probe.receive(probe.events[-2])  # it comes by as any other event does
        await clock.advance(60)
        await probe.tick()
        assert len([subject for subject, _ in probe.emitted if subject == "agent.x.completion"]) == 1


async def test_a_completion_that_waits_to_be_received_is_not_said_again() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0)
        await probe.receive("agent.x.workflow_start", {})
        end = Event.new("agent.x.completion", {"success": True})
        probe._stored.append(end)
        known.heard("agent.x", None)

        await clock.advance(30)
        await probe.tick()
        await probe.receive(end)

        assert [subject for subject, _ in probe.emitted if subject == "agent.x.completion"] == []
        assert states(probe)[-1]["status"] == "completed"


async def test_while_nats_is_away_nobody_is_believed_gone() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0)
        await probe.receive("agent.x.workflow_start", {})

        known.connected = False
        for _ in range(20):
            await clock.advance(5)
            await probe.tick()
        known.connected = True
        await clock.advance(15)
        await probe.tick()

        assert (await probe.ask("run", run="x"))["status"] == "running"


async def test_a_run_without_a_lease_is_left_alone_until_it_was_silent_for_long() -> None:
    async with probed(Known(), settings=AgentSettings(silent_after=100)) as (probe, clock):
        await probe.receive("thread.t.token", {"content": "hi"})

        await clock.advance(99)
        await probe.tick()
        assert (await probe.ask("run", run="t"))["status"] == "running"
        await clock.advance(2)
        await probe.tick()

        assert "nothing was heard" in (await probe.ask("run", run="t"))["error"]


async def test_after_a_restart_the_runs_are_known_again() -> None:
    async with probed() as (probe, _):
        await probe.receive("agent.x.workflow_start", {"name": "X"})
        await probe.receive("agent.x.completion", {"success": True})
        await probe.receive("job.y.workflow_start", {"name": "Y"})
        stored = [event for event in probe.events if event.type == "state"]

    async with probed(stored=stored) as (probe, _):
        await probe.receive("job.y.progress", {"progress": 0.5})
        await probe.receive("agent.x.progress", {"progress": 0.5})

        names = [(state["name"], state["status"]) for state in (await probe.ask("runs"))["runs"]]
        assert names == [("Y", "running"), ("X", "completed")]


async def test_a_producer_that_vanished_during_a_restart_is_missed() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        await probe.receive("agent.x.workflow_start", {})
        known.heard("agent.x", 10.0)
        await clock.advance(1)
        await probe.tick()
        await probe.tick()
        assert states(probe)[-1]["leased"] is True
        stored = [event for event in probe.events if event.type == "state"]

    async with probed(Known(), stored=stored) as (probe, clock):
        await clock.advance(21)
        await probe.tick()

        assert states(probe)[-1]["error"] == GONE


async def test_a_run_is_asked_to_stop() -> None:
    known = Known()
    async with probed(known) as (probe, _):
        await probe.receive("job.a=20b.workflow_start", {})

        answer = await probe.ask("stop", run="a b", reason="enough")

        assert answer == {"ok": True, "status": "stopping"} and known.asked == [("job", "a b", "enough")]
        assert states(probe)[-1]["status"] == "stopping"
        known.answers = False
        with pytest.raises(Reject, match="nobody answers"):
            await probe.ask("stop", run="a b")
        with pytest.raises(Reject, match="no run"):
            await probe.ask("stop", run="nope")
        with pytest.raises(Reject, match="no run has such a name"):
            await probe.ask("run", run="x" * 400)
        with pytest.raises(Reject, match="domain"):
            await probe.ask("run", run="x", domain="octane")
        await probe.receive("job.a=20b.completion", {"success": False, "status": "cancelled"})
        with pytest.raises(Reject, match="over already"):
            await probe.ask("stop", run="a b")
        assert probe.crashes == []


async def test_runs_are_listed_by_domain_and_status() -> None:
    async with probed() as (probe, _):
        for n in range(5):
            await probe.receive(f"job.j{n}.workflow_start", {})
        await probe.receive("agent.a.workflow_start", {})
        await probe.receive("job.j1.completion", {})

        async def listed(**wanted: Any) -> list[str]:
            return [state["run"] for state in (await probe.ask("runs", **wanted))["runs"]]

        assert await listed() == ["a", "j4", "j3", "j2", "j0", "j1"]
        assert await listed(domain="agent") == ["a"]
        assert await listed(status="completed") == ["j1"]
        assert await listed(limit=2) == ["a", "j4"]


@contextlib.asynccontextmanager
async def running_agent(broker: Broker, entity: str) -> AsyncIterator[None]:
    """The agent under a name of its own, on the tests' server."""
    own = type("OwnAgent", (Agent,), {"name": f"agent-{entity}"})
    stop = asyncio.Event()
    running = asyncio.ensure_future(run_actor(own, broker, stop=stop))
    try:
        await eventually(lambda: answers(broker, entity, "runs"))
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE)


async def answers(broker: Broker, entity: str, command: str, **arguments: Any) -> Any:
    with contextlib.suppress(NoResponders):
        subject = f"cmd.agent-{entity}.main.{command}"
        reply = await broker.connection.ask(subject, msgpack.packb(arguments))
        return msgpack.unpackb(reply.payload) if reply.payload else None
    return None


async def test_a_real_run_is_followed_and_stopped(nats_server: str, broker: Broker, entity: str) -> None:
    async def state() -> dict[str, Any]:
        records = await broker.latest([f"agent.{entity}.state"])
        return dict(records[-1].event.data) if records and records[-1].event else {}

    async def status() -> str | None:
        return (await state()).get("status")

    async with Broker(BrokerSettings(url=nats_server), "agent") as own, running_agent(own, entity):
        async with Run(entity, broker, name="Real") as run:
            await run.progress(0.5)
            await eventually(lambda: answers(broker, entity, "run", run=entity))
            answer = await eventually(lambda: answers(broker, entity, "stop", run=entity))
            assert answer["ok"] is True
            await asyncio.wait_for(run.stopped.wait(), PATIENCE)

            async def stopping() -> bool:
                return await status() == "stopping"

            await eventually(stopping)

        async def cancelled() -> bool:
            return await status() == "cancelled"

        await eventually(cancelled)
        assert (await state())["progress"] == 0.5


# A program that is gone without a word, and without giving back its lease.
VANISHING = """
import asyncio, os, sys
from router.sdk import Run, RunSettings
async def main():
    async with Run(sys.argv[2], url=sys.argv[1], settings=RunSettings(ttl=1)) as run:
        await run.progress(0.3)
        while run.waiting: await asyncio.sleep(0.01)
        print("ready", flush=True); await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_killed_producers_run_fails_within_seconds(nats_server: str, broker: Broker, entity: str) -> None:
    async with Broker(BrokerSettings(url=nats_server), "agent") as own, running_agent(own, entity):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", VANISHING, nats_server, entity, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout and await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"ready\n"
        bucket = Leases(broker.connection).bucket
        await eventually(lambda: bucket.get(lease_key("run", "agent", entity)))
        process.kill()
        await process.communicate()

        async def end() -> Any:
            records = await broker.latest([f"agent.{entity}.completion"])
            return records[0].event if records else None

        event = await eventually(end)

        assert event.data == {"success": False, "error": GONE, "synthesized": True}
        assert event.source == f"agent-{entity}"


async def test_an_open_run_with_a_short_lease_lives_on(nats_server: str, broker: Broker, entity: str) -> None:
    bucket, key = Leases(broker.connection).bucket, lease_key("run", "agent", entity)
    async with (
        Broker(BrokerSettings(url=nats_server), "agent") as own,
        running_agent(own, entity),
        Run(entity, broker, settings=RunSettings(ttl=4)),
    ):
        first = await eventually(lambda: bucket.get(key))

        async def refreshed() -> bool:
            entry = await bucket.get(key)
            assert entry is not None
            return entry.revision > first.revision and asyncio.get_running_loop().time() > begun + 6

        begun = asyncio.get_running_loop().time()
        await eventually(refreshed)

        assert await broker.latest([f"agent.{entity}.completion"]) == []
