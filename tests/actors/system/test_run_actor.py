"""One actor on a real nats-server: run_actor, and with it intake, commands and runtime."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
import pytest
from prometheus_client import REGISTRY

from actors.system.actor import Actor, Reject, Restart, command
from actors.system.context import Context
from actors.system.intake import ack_wait, consumer_name
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.cluster.leases import Leases, view_key
from router.deadletters import DeadLetter, DeadLetters
from router.errors import Escalate, NoResponders
from router.event import Event
from router.frame import pack
from router.nats.headers import header
from router.subject import STORED
from tests.actors.system.cast import Stock, made
from tests.waiting import PATIENCE, eventually


@contextlib.asynccontextmanager
async def running_actor(
    make: Callable[[], Actor], broker: Broker, instance: str = "main", grace: float = 5.0
) -> AsyncIterator[asyncio.Task[None]]:
    """Runs an actor for the length of a block; returns once it takes deliveries and calls."""
    stop = asyncio.Event()
    ready = asyncio.Event()

    def watched() -> Actor:
        actor = make()
        start = actor.start

        async def started(ctx: Context) -> None:
            await start(ctx)
            ready.set()

        actor.start = started  # type: ignore[method-assign]
        return actor

    running = asyncio.ensure_future(run_actor(watched, broker, instance=instance, stop=stop, grace=grace))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({running, waiting}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield running
    finally:
        stop.set()
        with contextlib.suppress(Escalate, asyncio.CancelledError):
            await asyncio.wait_for(running, grace + 5)


def stock(entity: str, **fields: Any) -> Callable[[], Actor]:
    """The stock actor under a name and on subjects that only one test has."""
    own = {"name": f"stock-{entity}", "subjects": (f"{entity}.*.placed", f"{entity}.*.returned"), **fields}
    return type("OwnStock", (Stock,), own)


async def say(broker: Broker, subject: str, data: dict[str, Any]) -> Event:
    event = Event.new(subject, data)
    await broker.publish(event)
    return event


async def told(broker: Broker, pattern: str) -> list[Event]:
    """All stored events under a pattern, oldest first."""
    return [record.event for record in (await broker.read(pattern, 0)).records if record.event]


async def buried(broker: Broker, entity: str) -> list[DeadLetter]:
    return (await DeadLetters(broker).read(pattern=f"dead.actor.stock-{entity}")).letters


async def consumer(broker: Broker, entity: str) -> dict[str, Any]:
    return await broker.connection.api(f"CONSUMER.INFO.EVENTS.actor-stock-{entity}")


async def test_an_event_is_received_and_what_it_leads_to_is_stored(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        cause = await say(broker, f"{entity}.1.placed", {"sku": entity, "qty": 1})

        (event,) = await eventually(lambda: told(broker, f"stock.{entity}.emptied"))

        assert event.id == f"{cause.id}.stock-{entity}.1"
        assert event.cause == cause.id
        info = await eventually(lambda: settled(broker, entity))
        assert info["config"]["durable_name"] == f"actor-stock-{entity}"
        assert sorted(info["config"]["filter_subjects"]) == [f"ev.{entity}.*.placed", f"ev.{entity}.*.returned"]


async def test_what_events_of_two_publishers_with_one_id_lead_to_is_all_stored(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        for source in ("alice", "bob"):
            await broker.publish(Event.new(f"{entity}.1.placed", {"sku": entity, "qty": 1}, source=source, id="1"))

        emitted = await eventually(lambda: _two(broker, f"stock.{entity}.emptied"))

        assert {event.cause for event in emitted} == {"1"}


async def _two(broker: Broker, pattern: str) -> list[Event] | None:
    found = await told(broker, pattern)
    return found if len(found) == 2 else None


async def settled(broker: Broker, entity: str, name: str = "") -> dict[str, Any] | None:
    """The consumer's state, once nothing is pending."""
    info = await broker.connection.api(f"CONSUMER.INFO.EVENTS.{name}") if name else await consumer(broker, entity)
    return info if info["num_ack_pending"] == 0 and info["num_pending"] == 0 else None


async def test_a_redelivered_event_is_not_answered_twice(broker: Broker, entity: str) -> None:
    cause = Event.new(f"{entity}.1.placed", {"sku": entity, "qty": 1})
    for _ in range(2):
        async with running_actor(stock(entity, subjects=(f"{entity}.*.placed",)), broker):
            await broker.store(STORED + cause.subject, msgpack.packb(_map(cause)), {})
            await eventually(lambda: settled(broker, entity))

    assert len(await told(broker, f"{entity}.1.placed")) == 2
    assert len(await told(broker, f"stock.{entity}.emptied")) == 1


def _map(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "data": event.data,
    }


async def test_a_rejected_event_lies_in_deadletters(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        await say(broker, f"{entity}.1.placed", {"qty": 1})

        (letter,) = await eventually(lambda: buried(broker, entity))
        await eventually(lambda: settled(broker, entity))

    assert (letter.reason, letter.detail, letter.attempts) == ("rejected", "an order needs a sku and a qty", 1)
    assert letter.origin.stream == "EVENTS" and letter.origin.subject == f"ev.{entity}.1.placed"
    assert letter.destination == f"actor-stock-{entity}"
    assert letter.first <= letter.last


async def test_what_is_no_event_lies_in_deadletters_once_and_is_not_delivered_again(
    broker: Broker, entity: str
) -> None:
    other = stock(entity, name=f"other-{entity}")
    async with running_actor(stock(entity), broker), running_actor(other, broker):
        ack = await broker.store(f"ev.{entity}.1.placed", b"\xc1 garbage", {})

        (letter,) = await eventually(lambda: spoiled(broker, ack.sequence))
        await eventually(lambda: settled(broker, entity))
        await eventually(lambda: settled(broker, entity, f"actor-other-{entity}"))

        assert (letter.reason, letter.name) == ("decode_error", "EVENTS")
        assert letter.payload == b"\xc1 garbage"
        assert letter.source in (f"stock-{entity}", f"other-{entity}")
        assert len(await spoiled(broker, ack.sequence)) == 1


async def spoiled(broker: Broker, sequence: int) -> list[DeadLetter]:
    """The letters of what was no event, by its place in EVENTS."""
    letters = (await DeadLetters(broker).read(pattern="dead.ingest.EVENTS")).letters
    return [letter for letter in letters if letter.origin.sequence == sequence]


async def redrive(broker: Broker, letter: DeadLetter, id: str, payload: bytes | None = None) -> dict[str, Any]:
    """Sends a letter back as a redrive does; the answer, or the error code."""
    request = msgpack.packb({"id": id, "event": payload if payload is not None else letter.payload})
    reply = await broker.connection.ask(letter.back, request)
    code = header(reply.headers, b"Nats-Service-Error-Code")
    return {"code": code} if code else msgpack.unpackb(reply.payload)


async def test_a_dead_letter_that_comes_back_is_received_once_and_answered(broker: Broker, entity: str) -> None:
    good: list[bool] = []
    received: list[str] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.id)
        if not good:
            raise Reject("not yet")
        ctx.emit(f"stock.{entity}.emptied", {})

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive)
    async with running_actor(actor, broker, instance="east"):
        event = await say(broker, f"{entity}.1.placed", {})
        (letter,) = await eventually(lambda: buried(broker, entity))
        assert letter.back == f"cmd.stock-{entity}.east.redrive"

        again = await redrive(broker, letter, "rd.1")
        good.append(True)
        settled_twice = await asyncio.gather(*(redrive(broker, letter, "rd.2") for _ in range(3)))
        remembered = await redrive(broker, letter, "rd.2")

        assert again == {"outcome": "rejected", "reason": "rejected", "detail": "not yet"}
        assert [*settled_twice, remembered] == [{"outcome": "acked"}] * 4
        assert received == [event.id] * 3
        (emitted,) = await told(broker, f"stock.{entity}.emptied")
        assert emitted.id == f"{event.id}.stock-{entity}.1"


async def test_a_dead_letter_that_crashes_the_actor_again_is_answered_at_the_first_crash(
    broker: Broker, entity: str
) -> None:
    async with running_actor(stock(entity, attempts=2), broker):
        await say(broker, f"{entity}.1.placed", {"explode": True})
        (letter,) = await eventually(lambda: buried(broker, entity))

        answer = await redrive(broker, letter, "rd.1")

        assert (answer["outcome"], answer["reason"]) == ("rejected", "attempts_spent")
        # The first two attempts, and this one.
        assert await eventually(lambda: restarts(broker, entity, 3))


async def restarts(broker: Broker, entity: str, count: int) -> bool:
    stats = json.loads((await broker.connection.ask(f"$SRV.STATS.stock-{entity}", b"")).payload)
    return bool(stats["endpoints"][0]["data"]["restarts"] == count)


async def test_a_letter_that_cannot_be_taken_back_is_refused_with_a_code(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        await say(broker, f"{entity}.1.placed", {})
        (letter,) = await eventually(lambda: buried(broker, entity))

        garbage = await redrive(broker, letter, "rd.1", b"\xc1")
        nameless = await redrive(broker, letter, "")

    assert (garbage, nameless) == ({"code": "422"}, {"code": "400"})
    with pytest.raises(NoResponders):
        await redrive(broker, letter, "rd.2")


async def test_who_sent_a_letter_is_told_of_a_shutdown(broker: Broker, entity: str) -> None:
    entered = asyncio.Event()
    stuck: list[bool] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        if not stuck:
            stuck.append(True)
            raise Reject("no")
        entered.set()
        await asyncio.Event().wait()

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive)
    async with running_actor(actor, broker, grace=0.1):
        await say(broker, f"{entity}.1.placed", {})
        (letter,) = await eventually(lambda: buried(broker, entity))
        asking = [asyncio.ensure_future(redrive(broker, letter, f"rd.{n}")) for n in range(2)]
        await asyncio.wait_for(entered.wait(), PATIENCE)

    assert await asyncio.wait_for(asyncio.gather(*asking), PATIENCE) == [{"code": "503"}] * 2


async def test_a_poison_event_is_given_up_and_the_next_is_received(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity, attempts=3), broker):
        await say(broker, f"{entity}.1.placed", {"explode": True})
        await say(broker, f"{entity}.2.placed", {"sku": entity, "qty": 1})

        (letter,) = await eventually(lambda: buried(broker, entity))
        await eventually(lambda: told(broker, f"stock.{entity}.emptied"))
        await eventually(lambda: settled(broker, entity))

        assert (letter.reason, letter.attempts) == ("attempts_spent", 3)
        assert "KeyError" in letter.detail


async def test_a_crash_loses_nothing_of_what_waits_in_the_mailbox(broker: Broker, entity: str) -> None:
    seen: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        number = event.data["n"]
        if number % 10 == 0 and event.data["n"] not in seen:
            seen.append(number)
            raise RuntimeError("the first time")
        ctx.emit(f"{entity}-out.{number}.done", {"n": number})

    restart = Restart(tries=100, base=0.005, cap=0.01)
    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive, restart=restart)
    async with running_actor(actor, broker):
        for number in range(40):
            await say(broker, f"{entity}.{number}.placed", {"n": number})

        await eventually(lambda: settled(broker, entity))

    assert sorted(event.data["n"] for event in await told(broker, f"{entity}-out.*.done")) == list(range(40))


async def test_more_crashes_than_allowed_end_the_run(broker: Broker, entity: str) -> None:
    actor = stock(entity, restart=Restart(tries=1, within=60, base=0.01, cap=0.01))
    async with running_actor(actor, broker) as running:
        await say(broker, f"{entity}.1.placed", {"explode": True})

        with pytest.raises(Escalate, match=f"stock-{entity} crashed 2 times"):
            await asyncio.wait_for(asyncio.shield(running), PATIENCE)

    with pytest.raises(NoResponders):
        await broker.connection.ask(f"cmd.stock-{entity}.main.level", b"{}")


async def test_commands_are_answered_in_the_callers_format(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker, instance="east"):
        subject = f"cmd.stock-{entity}.east.level"
        in_json = await broker.connection.ask(subject, b'{"sku": "tea"}')
        in_msgpack = await broker.connection.ask(subject, msgpack.packb({"sku": "tea", "scale": 2}))

        assert json.loads(in_json.payload) == 0
        assert msgpack.unpackb(in_msgpack.payload) == 0


async def test_a_refused_command_says_why_and_a_broken_one_says_only_a_number(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        refused = await broker.connection.ask(f"cmd.stock-{entity}.main.fill", b'{"sku": "tea"}')
        malformed = await broker.connection.ask(f"cmd.stock-{entity}.main.level", b'{"sku": 7}')
        broken = await broker.connection.ask(f"cmd.stock-{entity}.main.burn", b"")

        assert header(refused.headers, b"Nats-Service-Error-Code") == "400"
        assert header(refused.headers, b"Nats-Service-Error") == "tea is not filled by hand"
        assert header(malformed.headers, b"Nats-Service-Error-Code") == "400"
        assert header(broken.headers, b"Nats-Service-Error-Code") == "500"
        assert b"secret" not in broken.headers and b"ZeroDivision" not in broken.headers

        stats = json.loads((await broker.connection.ask(f"$SRV.STATS.stock-{entity}", b"")).payload)
        by_name = {endpoint["name"]: endpoint for endpoint in stats["endpoints"]}
        assert by_name["burn"]["num_errors"] == 1
        assert by_name["burn"]["data"] == {"restarts": 1, "mailbox": 0}


async def test_the_cast_is_described_to_nats(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker, instance="east"):
        info = await described(broker, entity)

    assert info["description"] == "Counts units on hand and says so when a shelf runs empty."
    assert info["metadata"]["instance"] == "east"
    assert {endpoint["name"]: endpoint["metadata"]["about"] for endpoint in info["endpoints"]} == {
        "level": "Units on hand of one SKU.",
        "fill": "Refuses; nobody fills by hand.",
        "burn": "Breaks.",
        "redrive": "Takes one of its dead letters back, and answers once the event is settled.",
    }


async def described(broker: Broker, entity: str) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((await broker.connection.ask(f"$SRV.INFO.stock-{entity}", b"")).payload)
    return info


async def test_instances_see_every_event_each(broker: Broker, entity: str) -> None:
    assert consumer_name("stock", "main") == "actor-stock"
    assert consumer_name("stock", "a.b") == "actor-stock-a=2Eb"
    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=note(entity))

    async with running_actor(actor, broker, "east"), running_actor(actor, broker, "west"):
        await say(broker, f"{entity}.1.placed", {})

        await eventually(lambda: heard_by(broker, entity, {"east", "west"}))


def note(entity: str) -> Callable[..., Any]:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        await ctx.publish(f"{entity}-out.1.heard", {"by": ctx.instance})

    return receive


async def heard_by(broker: Broker, entity: str, names: set[str]) -> bool:
    return {event.data["by"] for event in await told(broker, f"{entity}-out.1.heard")} == names


async def test_a_shutdown_works_off_the_mailbox(broker: Broker, entity: str) -> None:
    received: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        await asyncio.sleep(0.01)
        received.append(event.data["n"])

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive)
    async with running_actor(actor, broker):
        for number in range(20):
            await say(broker, f"{entity}.{number}.placed", {"n": number})
        await eventually(lambda: received)

    info = await consumer(broker, entity)
    assert info["num_ack_pending"] == 0
    assert len(received) + info["num_pending"] == 20
    assert len(received) > 1


async def test_what_a_shutdown_leaves_is_handed_back_at_once(broker: Broker, entity: str) -> None:
    received: list[int] = []
    stopped: list[bool] = []

    async def stuck(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])
        await asyncio.Event().wait()

    async def stop(self: Actor, ctx: Context) -> None:
        stopped.append(True)

    async def free(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])

    fields: dict[str, Any] = {"name": f"stock-{entity}", "subjects": (f"{entity}.*.placed",)}
    async with running_actor(made(receive=stuck, stop=stop, **fields), broker, grace=0.1):
        for number in range(5):
            await say(broker, f"{entity}.{number}.placed", {"n": number})
        await eventually(lambda: received == [0])
    assert stopped == [True]

    async with running_actor(made(receive=free, **fields), broker):
        # Far below ack_wait (10 s): nothing slept it out.
        await eventually(lambda: sorted(received) == [0, 0, 1, 2, 3, 4])


async def test_calls_in_hand_and_waiting_at_a_shutdown_are_answered(broker: Broker, entity: str) -> None:
    entered = asyncio.Event()

    class Slow(Actor):
        name = f"stock-{entity}"

        @command
        async def wait(self) -> str:
            entered.set()
            await asyncio.Event().wait()
            return "never"

    async with running_actor(Slow, broker, grace=0.1):
        asking = [asyncio.ensure_future(broker.connection.ask(f"cmd.stock-{entity}.main.wait", b"")) for _ in range(3)]
        await asyncio.wait_for(entered.wait(), PATIENCE)

    replies = await asyncio.gather(*asking)
    assert [header(reply.headers, b"Nats-Service-Error-Code") for reply in replies] == ["503"] * 3


async def test_a_slow_actor_is_not_delivered_its_own_backlog_again(broker: Broker, entity: str) -> None:
    received: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])
        await asyncio.sleep(1.8)

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive, timeout=3.0, capacity=2)
    assert ack_wait(actor()) == 6.0
    async with running_actor(actor, broker):
        for number in range(4):
            await say(broker, f"{entity}.{number}.placed", {"n": number})

        await eventually(lambda: settled(broker, entity))

    # Two of them take longer than one may: a message waits for those before it without being delivered again.
    assert received == list(range(4))


async def test_a_producer_ticks(broker: Broker, entity: str) -> None:
    async def tick(self: Actor, ctx: Context) -> None:
        ctx.emit(f"{entity}.1.ticked", {})

    async with running_actor(made(name=f"stock-{entity}", tick=tick, every=0.02), broker):
        await eventually(lambda: many(broker, f"{entity}.1.ticked", 3))


async def many(broker: Broker, pattern: str, count: int) -> bool:
    return len(await told(broker, pattern)) >= count


async def test_what_is_latest_before_and_delivered_after_leaves_no_gap(broker: Broker, entity: str) -> None:
    """The consumer is made before start runs, so an event published while it runs is delivered."""
    seen: set[int] = set()
    await say(broker, f"{entity}.0.placed", {"n": 0})

    async def start(self: Actor, ctx: Context) -> None:
        seen.update(event.data["n"] for event in await ctx.latest(f"{entity}.*.placed"))
        await say(broker, f"{entity}.1.placed", {"n": 1})

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        seen.add(event.data["n"])

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), start=start, receive=receive)
    async with running_actor(actor, broker):
        await eventually(lambda: seen == {0, 1})


async def test_a_camera_shows_its_newest_picture_only_while_somebody_watches(broker: Broker, entity: str) -> None:
    async def start(self: Actor, ctx: Context) -> None:
        viewers = ctx.viewers("camera", entity)

        async def run(beat: Callable[[], None]) -> None:
            await viewers.wait_for_some()
            for seq in range(100):
                ctx.frame("camera", entity, {"seq": seq}, b"jpeg")
            await viewers.wait_for_none()
            await ctx.publish(f"camera.{entity}.state", {"status": "idle"})

        ctx.source("capture", run, silence=None)

    passed_over = sample("actors_frames_total", actor=f"stock-{entity}", outcome="passed_over")
    async with running_actor(made(name=f"stock-{entity}", start=start), broker):
        holding = asyncio.ensure_future(Leases(broker.connection).hold(view_key("camera", entity, "s1"), 5))
        wanted = pack({"seq": 99}, b"jpeg")
        await eventually(lambda: shown(broker, entity, wanted))
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await eventually(lambda: told(broker, f"camera.{entity}.state"))

    assert sample("actors_frames_total", actor=f"stock-{entity}", outcome="passed_over") == passed_over + 99


async def shown(broker: Broker, entity: str, frame: bytes) -> bool:
    return await broker.last_frame(f"frame.camera.{entity}") == frame


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_what_happens_is_counted(broker: Broker, entity: str) -> None:
    name = f"stock-{entity}"
    async with running_actor(stock(entity, attempts=1), broker):
        await say(broker, f"{entity}.1.placed", {"sku": entity, "qty": 1})
        await say(broker, f"{entity}.2.placed", {})
        await say(broker, f"{entity}.3.placed", {"explode": True})
        await eventually(lambda: settled(broker, entity))

    assert sample("actors_receive_seconds_count", actor=name, outcome="acked") == 1
    assert sample("actors_receive_seconds_count", actor=name, outcome="rejected") == 1
    assert sample("actors_receive_seconds_count", actor=name, outcome="failed") == 1
    assert sample("actors_restarts_total", actor=name) == 1
    assert sample("actors_deadletters_total", actor=name) == 2
    assert sample("actors_emitted_total", actor=name) == 1
    assert REGISTRY.get_sample_value("actors_mailbox_messages", {"actor": name}) == 0
    assert REGISTRY.get_sample_value("actors_source_restarts_total", {"actor": name}) == 0


async def test_a_run_that_is_cancelled_leaves_nothing_running(broker: Broker, entity: str) -> None:
    before = asyncio.all_tasks()
    async with running_actor(stock(entity), broker) as running:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()

        await eventually(lambda: asyncio.all_tasks() <= before)
