"""Tests of router/runs.py on a real nats-server: lives of runs that begin, end, crash and come again, at once and in turn."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router import runs
from router.broker import Broker
from router.codec import encode
from router.errors import BadEvent, RunConflict, RunEnded, RunSuperseded, TooLarge
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.settings import BrokerSettings
from router.nats.stream import Ack
from router.run_entry import MAX_EARLIER
from router.runs import RunEnd, RunEntry, RunLedger
from router.topology import RUNS, TopologySettings
from tests.router.resharding import all_stored, broker_of, ids, reshard
from tests.waiting import eventually, unhurried


class Crash(Exception):
    """The process ends here."""


class CrashingBroker(Broker):
    """A broker whose process ends when it publishes: before the event is sent, or before its acknowledgement is read."""

    def __init__(self, settings: BrokerSettings, when: str | None = None) -> None:
        super().__init__(settings, "test")
        self.when = when

    async def put(self, *args: object, **options: object) -> Ack:
        if self.when == "before":
            raise Crash
        ack = await super().put(*args, **options)  # type: ignore[arg-type]
        if self.when == "after":
            raise Crash
        return ack


def end_of(
    run: str, incarnation: str | None = None, success: bool = True, type: str = "completion", **more: object
) -> Event:
    said = {"incarnation": incarnation} if incarnation else {}
    return Event.new(f"agent.{run}.{type}", {"success": success, **said, **more})


async def end(ledger: RunLedger, event: Event, **options: object) -> Ack:
    return await ledger.end(event, encode(event), **options)  # type: ignore[arg-type]


async def ends(broker: Broker, run: str) -> list[Event]:
    """The terminal events that readers see, in stream order."""
    found = [
        record
        for kind in ("completion", "complete", "done")
        for record in (await broker.read(f"agent.{run}.{kind}", 0)).records
    ]
    return [record.event for record in sorted(found, key=lambda each: each.sequence) if record.event is not None]


async def test_the_first_end_is_stored_and_any_other_is_refused(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    entry = await ledger.begin("agent", entity, "one")
    assert (entry.incarnation, entry.ended, entry.resumed) == ("one", None, False)
    first = end_of(entity, "one")

    ack = await end(ledger, first)
    assert await end(ledger, first) == Ack(ack.sequence, True, "EVENTS")
    with pytest.raises(RunEnded, match=f"completed, by the completion {first.id}") as refused:
        await end(ledger, end_of(entity, "one", success=False))

    assert (refused.value.event, refused.value.synthesized) == (first.id, False)
    assert [event.id for event in await ends(broker, entity)] == [first.id]
    read = await ledger.read("agent", entity)
    assert read and read.ended and (read.ended.stored, read.ended.sequence, read.ended.payload) == (
        True, ack.sequence, b"",
    )  # fmt: skip


async def test_an_event_of_the_same_id_by_another_source_is_another_end(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    mine = Event.new(f"agent.{entity}.completion", {"success": True}, id="done", source="mine")
    await end(ledger, mine)

    with pytest.raises(RunEnded):
        await end(ledger, msgspec.structs.replace(mine, source="other"))


async def test_the_end_of_a_superseded_life_does_not_end_the_one_that_lives(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, "old")
    await ledger.begin("agent", entity, "new")

    with pytest.raises(RunSuperseded) as refused:
        await end(ledger, end_of(entity, "old", success=False))
    with pytest.raises(RunSuperseded):
        await ledger.begin("agent", entity, "old")
    await end(ledger, end_of(entity, "new"))

    assert refused.value.incarnation == "new"
    assert [event.data["incarnation"] for event in await ends(broker, entity)] == ["new"]


async def test_an_end_without_an_incarnation_is_that_of_the_living_one(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, "old")
    first = end_of(entity)
    await end(ledger, first)
    await ledger.begin("agent", entity, "new")
    # The former life's end is repeated, by a client that did not see the answer.
    repeated = await end(ledger, first)
    second = end_of(entity)
    await end(ledger, second)

    assert repeated.duplicate
    assert [event.id for event in await ends(broker, entity)] == [first.id, second.id]


async def test_a_life_that_is_delivered_late_does_not_supersede_the_one_that_began_after_it(
    broker: Broker, entity: str
) -> None:
    ledger = RunLedger(broker)
    entry = await ledger.begin("agent", entity, "new")

    with pytest.raises(RunSuperseded):
        await ledger.begin("agent", entity, "spooled", started=entry.started - 1)

    assert (await ledger.begin("agent", entity, "newer", started=entry.started + 1)).incarnation == "newer"


async def test_a_resumed_life_says_so_and_is_still_asked_to_stop(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, "one", lease=10)
    await ledger.request_stop("agent", entity, "too slow", by="ann")
    lost = end_of(entity, "one", success=False, synthesized=True)
    await end(ledger, lost, synthesized=True)
    with pytest.raises(RunEnded) as refused:
        await ledger.hold("agent", entity, 10, "one")

    revived = await ledger.begin("agent", entity, "two", resumed=True, lease=10)
    await end(ledger, end_of(entity, "two"))
    afresh = await ledger.begin("agent", entity, "three")

    assert refused.value.synthesized
    assert revived.resumed and revived.stop and (revived.stop.reason, revived.stop.by) == ("too slow", "ann")
    assert not afresh.resumed and afresh.stop is None
    assert len(await ends(broker, entity)) == 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_finisher_that_dies_after_its_claim_is_completed_once(
    broker: Broker, broker_settings: BrokerSettings, entity: str, when: str
) -> None:
    ledger = RunLedger(broker)
    event = end_of(entity, result="the whole of it")
    async with CrashingBroker(broker_settings, when) as dying:
        with pytest.raises(Crash):
            await end(RunLedger(dying), event)
    with pytest.raises(RunEnded):
        await end(ledger, end_of(entity, success=False))

    assert await ledger.settle("agent", entity)
    assert not await ledger.settle("agent", entity)

    assert [each.data for each in await ends(broker, entity)] == [event.data]


async def test_a_claimed_end_is_stored_before_the_next_life_begins(
    broker: Broker, broker_settings: BrokerSettings, entity: str
) -> None:
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, "one")
    async with CrashingBroker(broker_settings, "before") as dying:
        with pytest.raises(Crash):
            await end(RunLedger(dying), end_of(entity, "one"))

    await ledger.begin("agent", entity, "two")

    assert [event.data["incarnation"] for event in await ends(broker, entity)] == ["one"]


async def test_a_claim_is_stored_once_also_when_the_duplicate_window_has_passed(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    event = end_of(entity)
    await end(ledger, event)
    entry = await ledger.read("agent", entity)
    assert entry and entry.ended
    # As it stands when a finisher was frozen for minutes between its claim and its publish: JetStream knows the id no more.
    claim = msgspec.structs.replace(
        entry.ended, stored=False, sequence=0, payload=encode(event), dedup=f"forgotten-{entity}"
    )
    await Bucket(broker.connection, RUNS).put(f"agent.{entity}", msgspec.json.encode(RunEntry(ended=claim)))
    stored = await broker.put(event, encode(event), dedup=claim.dedup, headers={"X": "published by the other"})
    assert not stored.duplicate

    # The frozen one goes on with what it saw when it claimed: JetStream refuses by the sequence of the subject.
    late = await ledger._publish(f"agent.{entity}", claim, event, encode(event), 10.0)

    assert late == Ack(stored.sequence, True, "EVENTS")
    assert len(await ends(broker, entity)) == 2  # the first, and the other's


async def test_events_past_the_ledger_on_the_same_subject_do_not_keep_a_claim_from_being_stored(
    broker: Broker, broker_settings: BrokerSettings, entity: str
) -> None:
    event = end_of(entity)
    async with CrashingBroker(broker_settings, "before") as dying:
        with pytest.raises(Crash):
            await end(RunLedger(dying), event)
    await broker.publish(end_of(entity, success=False))

    assert await RunLedger(broker).settle("agent", entity)

    assert event.id in [each.id for each in await ends(broker, entity)]


async def test_an_end_that_was_published_past_the_ledger_is_noted(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, "one")
    raw = end_of(entity)
    await broker.publish(raw)
    await ledger.note_end(raw, "completed", "another")
    assert not (await ledger.read("agent", entity) or RunEntry()).ended
    await ledger.note_end(raw, "completed", "one")
    await ledger.note_end(end_of(entity), "completed", "one")

    with pytest.raises(RunEnded) as refused:
        await end(ledger, end_of(entity, "one"))

    assert refused.value.event == raw.id


async def test_of_a_large_end_the_outcome_is_kept_until_it_is_stored(
    broker: Broker, broker_settings: BrokerSettings, entity: str
) -> None:
    event = end_of(entity, result="x" * 1_000_000, error="y" * 1000, tokens_used=7)
    async with CrashingBroker(broker_settings, "before") as dying:
        with pytest.raises(Crash):
            await end(RunLedger(dying), event)
    value = await Bucket(broker.connection, RUNS).get(f"agent.{entity}")
    assert value and value.value and len(value.value) < 2000

    await RunLedger(broker).settle("agent", entity)

    (stored,) = await ends(broker, entity)
    assert (stored.id, stored.time) == (event.id, event.time)
    assert stored.data == {"success": True, "error": "y" * 500, "tokens_used": 7, "truncated": True}


async def test_what_ends_nothing_or_does_not_fit_claims_nothing(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    with pytest.raises(BadEvent, match="progress ends no run"):
        await end(ledger, Event.new(f"agent.{entity}.progress", {"progress": 1}))
    with pytest.raises(TooLarge):
        await ledger.end(end_of(entity), b"x" * (broker.largest_event + 1))

    assert await ledger.read("agent", entity) is None


async def test_each_answer_of_a_thread_that_nobody_began_has_its_end(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    answers = [Event.new(f"thread.{entity}.done", {"content": str(n)}) for n in range(3)]

    acks = [await end(ledger, answer) for answer in answers]

    assert (await end(ledger, answers[0])) == Ack(acks[0].sequence, True, "EVENTS")
    assert len({ack.sequence for ack in acks}) == 3
    await ledger.begin("thread", entity, "one")
    await end(ledger, Event.new(f"thread.{entity}.done", {}))
    with pytest.raises(RunEnded):
        await end(ledger, Event.new(f"thread.{entity}.done", {}))


async def test_a_request_to_stop_waits_for_the_heartbeat(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    assert (await ledger.hold("agent", entity, 10)).stop is None
    await ledger.request_stop("agent", entity, "enough", by="ann")
    await ledger.request_stop("agent", entity, "again", by="bob")

    entry = await ledger.hold("agent", entity, 10)

    assert entry.stop and (entry.stop.reason, entry.stop.by, entry.lease) == ("enough", "ann", 10)
    await end(ledger, end_of(entity))
    with pytest.raises(RunEnded):
        await ledger.request_stop("agent", entity)


async def test_heartbeats_that_tell_nothing_new_write_nothing(broker: Broker, entity: str) -> None:
    ledger, bucket = RunLedger(broker), Bucket(broker.connection, RUNS)
    await ledger.begin("agent", entity, "one")
    await ledger.hold("agent", entity, 10, "one")
    before = await bucket.get(f"agent.{entity}")
    for _ in range(3):
        await ledger.hold("agent", entity, 10, "one")

    after = await bucket.get(f"agent.{entity}")

    assert before and after and before.revision == after.revision
    with pytest.raises(RunSuperseded):
        await ledger.hold("agent", entity, 10, "other")


async def test_an_entry_runs_out_and_remembers_few_earlier_lives(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    for life in range(MAX_EARLIER + 3):
        await ledger.begin("agent", entity, f"life-{life}")
    entry = await ledger.read("agent", entity)
    assert entry and len(entry.earlier) == MAX_EARLIER and entry.was("life-9") and not entry.was("life-0")
    open_ttl = await _ttl(broker, entity)
    await end(ledger, end_of(entity))

    assert (open_ttl, await _ttl(broker, entity)) == (f"{runs.OPEN_SECONDS:.0f}s", f"{runs.OVER_SECONDS:.0f}s")


async def _ttl(broker: Broker, run: str) -> str:
    message = await broker.stream(f"KV_{RUNS}").get_last(f"$KV.{RUNS}.agent.{run}")
    assert message is not None
    lines = message.headers.decode().split("\r\n")
    return next(line.removeprefix("Nats-TTL: ") for line in lines if line.startswith("Nats-TTL"))


async def test_two_finishers_four_others_a_retry_a_crash_and_a_late_success_at_once_are_one_end(
    broker: Broker, broker_settings: BrokerSettings, entity: str
) -> None:
    async with Broker(broker_settings, "another process") as other, CrashingBroker(broker_settings, "before") as dying:
        ledgers = [RunLedger(broker), RunLedger(other)]
        await ledgers[0].begin("agent", entity, "one")
        retried, dead, late = end_of(entity, "one"), end_of(entity, "one"), end_of(entity, "one")
        finishers: list[tuple[RunLedger, Event]] = [
            *((ledgers[n % 2], end_of(entity, "one", success=n % 2 == 0)) for n in range(2)),
            *((ledgers[n % 2], end_of(entity, None, type=("complete", "done")[n % 2])) for n in range(4)),
            *((ledger, retried) for ledger in ledgers),
            (RunLedger(dying), dead),
        ]

        outcomes = await asyncio.gather(*(end(*each) for each in finishers), return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, (Ack, RunEnded, Crash)), outcome
        await ledgers[0].settle("agent", entity)
        with pytest.raises(RunEnded):
            await end(ledgers[1], late)

        assert len(await ends(broker, entity)) == 1


LIVES = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("begin"), LIVES),
    st.tuples(st.just("end"), LIVES),
    st.tuples(st.just("crash before"), LIVES),
    st.tuples(st.just("crash after"), LIVES),
    st.tuples(st.just("repeat"), LIVES),
    st.tuples(st.just("settle"), LIVES),
)


@given(st.lists(st.tuples(STEPS, st.booleans()), min_size=3, max_size=14))
@example([(("begin", "a"), False), (("crash before", "a"), True), (("begin", "b"), True), (("end", "a"), False)])
@example(
    [(("begin", "a"), False), (("crash after", "a"), False), (("begin", "b"), True), (("crash before", "b"), True)]
)
@settings(max_examples=25)
def test_however_lives_begin_end_crash_and_retry_each_has_one_end_in_the_stream(
    nats_server: str, steps: list[tuple[tuple[str, str], bool]]
) -> None:
    asyncio.run(_scenario(unhurried(nats_server), steps))


async def _scenario(to: BrokerSettings, steps: list[tuple[tuple[str, str], bool]]) -> None:
    """Plays steps, each beside the one before it where that is asked for; all claims are settled at the end."""
    run = f"p{secrets.token_hex(6)}"
    async with Broker(to, "test") as broker, CrashingBroker(to) as dying:
        ledger = RunLedger(broker)
        claimed: set[str] = set()
        events = {life: end_of(run, life) for life in "abc"}

        async def finish(life: str, event: Event, when: str | None) -> None:
            dying.when = when
            try:
                await end(RunLedger(dying) if when else ledger, event)
                claimed.add(life)
            except Crash:
                claimed.add(life)
            except RunConflict:
                pass

        async def begin(life: str) -> None:
            try:
                await ledger.begin("agent", run, life)
            except RunSuperseded:
                pass

        plays: dict[str, Callable[[str], Awaitable[object]]] = {
            "begin": begin,
            "end": lambda life: finish(life, end_of(run, life), None),
            "repeat": lambda life: finish(life, events[life], None),
            "crash before": lambda life: finish(life, events[life], "before"),
            "crash after": lambda life: finish(life, events[life], "after"),
            "settle": lambda _: ledger.settle("agent", run),
        }
        beside: list[asyncio.Task[object]] = []
        for (step, life), concurrent in steps:
            if not concurrent:
                await asyncio.gather(*beside)
                beside = []
            beside.append(asyncio.ensure_future(plays[step](life)))
        await asyncio.gather(*beside)
        await ledger.settle("agent", run)

        told = Counter(event.data["incarnation"] for event in await ends(broker, run))
        assert set(told) == claimed and set(told.values()) <= {1}, (told, claimed)


async def test_the_bucket_forgets_the_oldest_runs_instead_of_refusing_new_ones(broker: Broker) -> None:
    config = (await broker.stream(f"KV_{RUNS}").info())["config"]

    assert config["discard"] == "old" and config["max_bytes"] > 0 and config["allow_msg_ttl"]


async def test_an_entry_of_another_version_is_skipped_and_written_anew(broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, RUNS)
    await bucket.put(f"agent.{entity}", b'{"incarnation": 7}')

    await end(RunLedger(broker), end_of(entity))

    async def is_over() -> bool:
        entry = await RunLedger(broker).read("agent", entity)
        return bool(entry and isinstance(entry.ended, RunEnd))

    await eventually(is_over)


async def test_lives_begin_and_end_across_a_reshard_as_in_one_stream(own_nats: str) -> None:
    async with broker_of(own_nats, TopologySettings()) as broker:
        ledger = RunLedger(broker)
        begun = Event.new("agent.a.workflow_start", {"incarnation": "one"})
        first = await ledger.start(begun, encode(begun), "one")
        ended = await end(ledger, end_of("a", "one"))
        # Claimed, and its finisher dies before it is stored.
        dying = CrashingBroker(broker.connection.settings, "before")
        async with dying:
            await RunLedger(dying).begin("agent", "b", "one")
            with pytest.raises(Crash):
                await end(RunLedger(dying), end_of("b", "one"))
        await reshard(broker, 2)
        await eventually(lambda: broker.layout.current.number == 1)

        assert await ledger.start(begun, encode(begun), "one") == first._replace(duplicate=True)
        assert await ledger.settle("agent", "b")
        again = Event.new("agent.a.workflow_start", {"incarnation": "two"})
        second = await ledger.start(again, encode(again), "two")
        last = await end(ledger, end_of("a", "two"))

        assert ended.stream == "EVENTS" and second.stream == last.stream != "EVENTS"
        entry = await ledger.read("agent", "a")
        assert entry and entry.ended and (entry.ended.stream, entry.ended.sequence) == (last.stream, last.sequence)
        with pytest.raises(RunSuperseded):
            await ledger.start(begun, encode(begun), "one")
        stored = [id for each in (await all_stored(broker)).values() for id in ids(each)]
        assert len(stored) == len(set(stored)) == 5
