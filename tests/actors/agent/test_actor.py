"""Tests of actor.py and producers.py: the agent under a Probe, and with real runs on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest

from actors.agent.actor import Agent, AgentSettings
from actors.agent.leases import Lease
from actors.agent.metrics import IGNORED_BY
from actors.agent.producers import EntryHeard, LeaseHeard, RunEntries
from actors.system.actor import Reject
from actors.system.probe import Probe
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.cluster.leases import Leases, lease_key
from router.errors import NoResponders, RunEnded, RunSuperseded, Timeout
from router.event import Event
from router.nats.stream import Ack
from router.run_entry import GONE
from router.runs import RunEnd, RunEntry, StopRequest
from router.sdk import Run, RunSettings
from router.timing import ManualClock
from tests.waiting import eventually, in_time, unhurried

DEFAULTS = AgentSettings()


class KnownRuns:
    """A ledger of runs that a test plays: what is published through it is received like any other event."""

    def __init__(self) -> None:
        self.entries: dict[str, RunEntry] = {}
        self.published: list[Event] = []
        self.settled: list[str] = []
        self.away = False

    async def read(self, domain: str, token: str) -> RunEntry | None:
        self._answer()
        return self.entries.get(f"{domain}.{token}")

    async def begin(
        self, domain: str, token: str, incarnation: str, *, resumed: bool = False, started: int | None = None
    ) -> RunEntry:
        self._answer()
        entry = self.entries[f"{domain}.{token}"] = RunEntry(incarnation, started or 0, resumed)
        return entry

    async def end(
        self, event: Event, payload: bytes, *, incarnation: str | None = None, synthesized: bool = False
    ) -> Ack:
        self._answer()
        key = f"{event.subject.domain}.{event.subject.entity}"
        entry = self.entries.get(key, RunEntry(incarnation))
        if entry.incarnation != incarnation:
            raise RunSuperseded(entry.incarnation)
        if entry.ended:
            raise RunEnded(entry.ended.event, entry.ended.type, entry.ended.status, 0)
        self.entries[key] = RunEntry(incarnation, ended=RunEnd(event.id, event.type, "failed", 0, synthesized))
        self.published.append(event)
        return Ack(1, False)

    async def settle(self, domain: str, token: str) -> bool:
        self._answer()
        self.settled.append(f"{domain}.{token}")
        return True

    async def note_end(self, event: Event, status: str, incarnation: str | None) -> None:
        key = f"{event.subject.domain}.{event.subject.entity}"
        self.entries[key] = RunEntry(incarnation, ended=RunEnd(event.id, event.type, status, 0, stored=True))

    async def request_stop(self, domain: str, token: str, reason: str | None = None) -> RunEntry:
        self._answer()
        entry = self.entries[f"{domain}.{token}"] = RunEntry("one", stop=StopRequest(0, reason))
        return entry

    def _answer(self) -> None:
        if self.away:
            raise Timeout


class Known:
    """Producers that a test plays."""

    def __init__(self) -> None:
        self.connected = True
        self.runs = KnownRuns()
        self.ledger: RunEntries = self.runs
        self.heard_lease: LeaseHeard
        self.heard_entry: EntryHeard
        self.watched = asyncio.Event()
        self.asked: list[tuple[str, str, str | None]] = []
        self.answers = True
        self.held: dict[str, Lease] = {}

    def heard(self, key: str, ttl: float | None, incarnation: str | None = None, via: str = "nats") -> None:
        self.heard_lease(key, None if ttl is None else Lease(ttl, incarnation, via))

    async def reachable(self) -> bool:
        return self.connected

    async def watch_leases(self, heard: LeaseHeard) -> None:
        self.heard_lease = heard
        await asyncio.Event().wait()

    async def watch_entries(self, heard: EntryHeard) -> None:
        self.heard_entry = heard
        self.watched.set()
        await asyncio.Event().wait()

    async def lease(self, key: str) -> Lease | None:
        return self.held.get(key)

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


async def test_a_vanished_producer_is_given_its_end_within_twenty_seconds() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0, "one")
        await probe.receive("agent.x.workflow_start", {"incarnation": "one"})
        await probe.receive("agent.x.progress", {"progress": 0.5})
        for _ in range(15):  # it is refreshed all the time
            await clock.advance(3)
            known.heard("agent.x", 10.0, "one")
            await probe.tick()
        last = clock.now()
        while not known.runs.published:
            await clock.advance(0.25)
            await probe.tick()
            assert clock.now() - last < 17
        assert clock.now() - last > 14

        (end,) = known.runs.published
        assert end.data == {"success": False, "error": GONE, "synthesized": True, "incarnation": "one"}
        assert end.subject == "agent.x.completion"
        await probe.receive(end)  # it comes by as any other event does
        assert states(probe)[-1]["status"] == "failed" and states(probe)[-1]["error"] == GONE
        await clock.advance(60)
        await probe.tick()
        assert len(known.runs.published) == 1


async def test_a_producer_that_gave_its_lease_back_without_an_end_is_given_one_sooner() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0)
        await probe.receive("agent.x.workflow_start", {})
        known.heard("agent.x", None)
        await clock.advance(4.9)
        await probe.tick()
        assert known.runs.published == []
        await clock.advance(1)
        await probe.tick()

        assert len(known.runs.published) == 1


async def test_a_lease_that_the_bucket_still_holds_is_none_that_ran_out() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        await probe.receive("agent.x.workflow_start", {"incarnation": "one"})
        known.heard("agent.x", 10.0, "one")
        known.held["agent.x"] = Lease(10.0, "one")  # the watch was deaf
        await clock.advance(16)
        await probe.tick()
        assert known.runs.published == []

        known.held.clear()
        await clock.advance(16)
        await probe.tick()
        assert len(known.runs.published) == 1


async def test_a_producer_that_died_before_its_first_lease_is_missed_as_well() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.runs.entries["agent.x"] = RunEntry("one", lease=10.0)
        known.heard_entry("agent.x", known.runs.entries["agent.x"])
        await probe.receive("agent.x.workflow_start", {"incarnation": "one"})
        await clock.advance(16)
        await probe.tick()

        assert [event.data["error"] for event in known.runs.published] == [GONE]


async def test_while_the_ledger_does_not_answer_a_lost_run_waits() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0)
        await probe.receive("agent.x.workflow_start", {})
        known.runs.away = True
        await clock.advance(16)
        await probe.tick()
        known.runs.away = False
        await clock.advance(16)
        await probe.tick()

        assert len(known.runs.published) == 1 and probe.crashes == []


async def test_a_run_whose_own_end_is_claimed_is_not_given_another() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        known.heard("agent.x", 10.0, "one")
        await probe.receive("agent.x.workflow_start", {"incarnation": "one"})
        end = Event.new("agent.x.completion", {"success": True, "incarnation": "one"})
        known.runs.entries["agent.x"] = RunEntry("one", ended=RunEnd(end.id, end.type, "completed", 0, stored=True))
        known.heard("agent.x", None)

        await clock.advance(30)
        await probe.tick()
        await probe.receive(end)

        assert known.runs.published == []
        assert states(probe)[-1]["status"] == "completed"


async def test_an_end_that_was_claimed_and_not_published_is_published() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        claimed = RunEntry("one", ended=RunEnd("e", "completion", "completed", 0))
        known.heard_entry("agent.x", claimed)
        known.heard_entry("agent.y", claimed)
        await clock.advance(1)
        await probe.tick()
        assert known.runs.settled == []  # its finisher may be at it
        known.heard_entry("agent.y", RunEntry("one", ended=RunEnd("e", "completion", "completed", 0, stored=True)))
        known.runs.away = True
        await clock.advance(3)
        await probe.tick()
        known.runs.away = False
        await clock.advance(3)
        await probe.tick()

        assert known.runs.settled == ["agent.x"]


async def test_a_late_end_of_a_life_before_does_not_decide_the_one_that_lives() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        await probe.receive("agent.x.workflow_start", {"incarnation": "old"})
        known.heard("agent.x", 10.0, "old")
        await probe.receive("agent.x.workflow_start", {"incarnation": "new"})
        known.heard("agent.x", 10.0, "new")
        before = IGNORED_BY["superseded"]._value.get()

        await probe.receive("agent.x.progress", {"progress": 0.9, "incarnation": "old"})
        await probe.receive("agent.x.completion", {"success": False, "error": "evicted", "incarnation": "old"})
        for _ in range(8):  # the lease of the life before runs out, that of the living one does not
            await clock.advance(3)
            known.heard("agent.x", 10.0, "new")
            await probe.tick()

        assert known.runs.published == [] and IGNORED_BY["superseded"]._value.get() - before == 2
        assert (states(probe)[-1]["status"], states(probe)[-1]["progress"]) == ("running", None)
        await probe.receive("agent.x.completion", {"success": True, "incarnation": "new"})
        assert states(probe)[-1]["status"] == "completed"


async def test_a_run_that_was_failed_for_its_frozen_producer_revives_with_its_progress_and_ends_as_it_says() -> None:
    known = Known()
    async with probed(known) as (probe, clock):
        await probe.receive("agent.x.workflow_start", {"name": "X", "incarnation": "one"})
        await probe.receive("agent.x.progress", {"current": 4, "total": 10})
        known.heard("agent.x", 10.0, "one")
        await clock.advance(20)
        await probe.tick()
        await probe.receive(known.runs.published[0])
        assert states(probe)[-1]["status"] == "failed"
        began = states(probe)[-1]["started"]

        known.heard("agent.x", 10.0, "two")
        await probe.receive("agent.x.workflow_start", {"incarnation": "two", "resumed": True})
        revived = states(probe)[-1]
        await probe.receive("agent.x.completion", {"success": True, "incarnation": "two"})

        assert (revived["status"], revived["progress"], revived["error"]) == ("running", 0.4, None)
        assert (revived["name"], revived["started"], revived["incarnation"]) == ("X", began, "two")
        assert states(probe)[-1]["status"] == "completed"
        assert len(known.runs.published) == 1


async def test_ends_and_begins_past_the_ledger_are_noted_in_it() -> None:
    known = Known()
    async with probed(known) as (probe, _):
        start = await _received(probe, "agent.x.workflow_start", {})
        assert known.runs.entries["agent.x"].incarnation == start.id
        end = await _received(probe, "agent.x.completion", {"success": True})

        entry = known.runs.entries["agent.x"]

        assert entry.ended and (entry.ended.event, entry.ended.status) == (end.id, "completed")


async def _received(probe: Probe, subject: str, data: dict[str, Any]) -> Event:
    event = Event.new(subject, data)
    assert await probe.receive(event) == "acked"
    return event


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
    known = Known()
    async with probed(known, settings=AgentSettings(silent_after=100)) as (probe, clock):
        await probe.receive("thread.t.token", {"content": "hi"})

        await clock.advance(99)
        await probe.tick()
        assert known.runs.published == []
        await clock.advance(2)
        await probe.tick()
        await probe.receive(known.runs.published[0])

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

    known = Known()
    async with probed(known, stored=stored) as (probe, clock):
        await clock.advance(16)
        await probe.tick()

        assert [event.data["error"] for event in known.runs.published] == [GONE]


async def test_a_run_is_asked_to_stop() -> None:
    known = Known()
    async with probed(known) as (probe, _):
        await probe.receive("job.a=20b.workflow_start", {})

        answer = await probe.ask("stop", run="a b", reason="enough")

        assert answer == {"ok": True, "via": "nats", "status": "stopping"} and known.asked == [("job", "a b", "enough")]
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


async def test_a_run_whose_producer_holds_its_lease_by_http_is_stopped_with_its_next_heartbeat() -> None:
    known = Known()
    async with probed(known) as (probe, _):
        await probe.receive("job.h.workflow_start", {"incarnation": "one"})
        known.heard("job.h", 10.0, "one", "http")

        answer = await probe.ask("stop", run="h", reason="enough")

        assert answer == {"ok": True, "run": "h", "domain": "job", "via": "http", "status": "stopping"}
        stop = known.runs.entries["job.h"].stop
        assert stop and stop.reason == "enough" and known.asked == []
        known.runs.away = True
        with pytest.raises(Reject, match="could not be stored"):
            await probe.ask("stop", run="h")


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
        await in_time(running)


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

    async with Broker(unhurried(nats_server), "agent") as own, running_agent(own, entity):
        async with Run(entity, broker, name="Real") as run:
            await run.progress(0.5)
            await eventually(lambda: answers(broker, entity, "run", run=entity))
            answer = await eventually(lambda: answers(broker, entity, "stop", run=entity))
            assert answer["ok"] is True
            await in_time(run.stopped.wait())

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
    async with Broker(unhurried(nats_server), "agent") as own, running_agent(own, entity):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", VANISHING, nats_server, entity, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout and await in_time(process.stdout.readline()) == b"ready\n"
        bucket = Leases(broker.connection).bucket
        await eventually(lambda: bucket.get(lease_key("run", "agent", entity)))
        process.kill()
        await process.communicate()

        async def end() -> Any:
            records = await broker.latest([f"agent.{entity}.completion"])
            return records[0].event if records else None

        event = await eventually(end)

        assert event.data == {
            "success": False, "error": GONE, "synthesized": True, "incarnation": event.data["incarnation"],
        }  # fmt: skip
        assert event.source == f"agent-{entity}"


@pytest.mark.slow
async def test_an_open_run_with_a_short_lease_lives_on(nats_server: str, broker: Broker, entity: str) -> None:
    bucket, key = Leases(broker.connection).bucket, lease_key("run", "agent", entity)
    async with (
        Broker(unhurried(nats_server), "agent") as own,
        running_agent(own, entity),
        Run(entity, broker, settings=RunSettings(ttl=9)),
    ):
        first = await eventually(lambda: bucket.get(key))

        async def refreshed() -> bool:
            entry = await bucket.get(key)
            assert entry is not None
            return entry.revision > first.revision and asyncio.get_running_loop().time() > begun + 11

        begun = asyncio.get_running_loop().time()
        await eventually(refreshed)

        assert await broker.latest([f"agent.{entity}.completion"]) == []
