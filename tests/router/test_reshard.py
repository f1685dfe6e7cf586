"""Putting the events into another number of streams, on a real server, while others publish."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router import layout_entry, provisioning
from router.broker import Broker
from router.cluster.ownership import ALIVE, member_key
from router.errors import BrokerError, Timeout
from router.event import Event
from router.layout import generation
from router.layout_entry import KEY, MAX_GENERATIONS, KeptGeneration, LayoutEntry
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.nats.stream import Ack, Stream, stream_names
from router.reshard import BadReshard, Reshard, UnfinishedReshard, drop_old, plan, settled_end
from router.topology import LAYOUT, LEASES, MIB, TopologySettings, event_stream, is_of_events
from tests.router.resharding import SHORT, all_stored, broker_of, ids, reshard
from tests.waiting import eventually

# A kill, and what follows from it, ends within the dedup window.
LONG = TopologySettings(dedup_window=600)


def said(entity: str, number: int) -> Event:
    return Event.new(f"job.{entity}.said", {"n": number}, id=f"{entity}-{number}")


async def test_publishers_go_on_while_the_events_are_put_into_other_streams(own_nats: str) -> None:
    async with broker_of(own_nats) as one, broker_of(own_nats) as two:
        acks: dict[str, Ack] = {}
        stop = asyncio.Event()

        async def publish(broker: Broker, entity: str) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                acks[f"{entity}-{number}"] = await broker.publish(said(entity, number), 60)

        async with asyncio.TaskGroup() as group:
            for place in range(8):
                group.create_task(publish((one, two)[place % 2], f"e{place}"))
            await eventually(lambda: len(acks) > 50)
            await reshard(one, 4)
            before = len(acks)
            await eventually(lambda: len(acks) > before + 50 and not one.earlier.active)
            await reshard(two, 2)
            before = len(acks)
            await eventually(lambda: len(acks) > before + 50)
            stop.set()

        stored = await all_stored(one)
        places = {
            id: (name, message.sequence)
            for name, each in stored.items()
            for id, message in zip(ids(each), each, strict=True)
        }
        assert sum(map(len, stored.values())) == len(acks)
        assert places == {id: (ack.stream, ack.sequence) for id, ack in acks.items()}
        assert [len(each.shards) for each in one.layout.generations] == [1, 4, 2]
        # Generation after generation each entity's events are in their order.
        for place in range(8):
            numbers = [
                int(id.split("-")[1]) for each in stored.values() for id in ids(each) if id.startswith(f"e{place}-")
            ]
            assert numbers == sorted(numbers)


async def test_an_interrupted_reshard_is_finished_by_the_next_call(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await broker.publish(said("a", 1))
        # Interrupted behind the sealing: publishers wait.
        entry = layout_entry.begun(LayoutEntry(), 2)
        for shard in generation(1, 2).shards:
            await Stream(broker.connection, shard.stream).create(event_stream(shard, SHORT).desired)
        await Bucket(broker.connection, LAYOUT).put(KEY, msgspec.json.encode(entry))
        stream = Stream(broker.connection, "EVENTS")
        await stream.update({**(await stream.info())["config"], "sealed": True})
        waiting = asyncio.ensure_future(broker.publish(said("a", 2), 60))
        await provisioning.apply(broker.connection, SHORT)  # another process starts meanwhile

        with pytest.raises(BadReshard, match="reshard 2"):
            await reshard(broker, 3)
        told = await reshard(broker, 2)

        assert any("was begun" in line for line in told)
        assert (await waiting).stream.startswith("EVENTS_1_")
        assert broker.layout.generations[0].ends == (1,)
        assert await Reshard(broker, 2, told.append).run() is False


async def test_where_there_is_no_room_nothing_is_changed(own_nats: str) -> None:
    huge = TopologySettings(events_max_bytes=2**60)
    async with broker_of(own_nats) as broker:
        broker.topology = huge

        with pytest.raises(UnfinishedReshard, match=r"CALLBOARD_EVENTS_MAX_BYTES.*nothing was changed"):
            await reshard(broker, 2)

        assert set(filter(is_of_events, await stream_names(broker.connection))) == {"EVENTS"}
        assert (await broker.publish(said("a", 1))).stream == "EVENTS"


@pytest.mark.parametrize(
    ("step", "standing"),
    [
        (
            "making EVENTS_1_0",
            "EVENTS_1_0 to EVENTS_1_1 may have been made, and hold nothing; events go to EVENTS as before",
        ),
        ("sealing EVENTS", "EVENTS may be sealed, and publishers wait then"),
    ],
)
async def test_where_nats_is_killed_it_is_told_how_the_events_stand_and_the_same_call_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, standing: str
) -> None:
    monkeypatch.setattr("router.reshard.SEAL_SECONDS", 0.0)
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await server.start()

    def killing(line: str) -> None:
        if line == step:
            assert server.process is not None
            server.process.kill()

    try:
        # What is asked of a server that has just gone waits so long for the next one.
        async with Broker(BrokerSettings(server.url, request_timeout=20.0), "test", SHORT) as broker:
            await broker.publish(said("a", 1))
            with pytest.raises(UnfinishedReshard) as raised:
                await Reshard(broker, 2, killing).run()
            assert standing in str(raised.value) and "`callboard streams reshard 2` finishes it" in str(raised.value)
            assert raised.value.is_passing

        assert server.process is not None
        await server.process.wait()
        await server.start()
        async with broker_of(server.url) as broker:
            await reshard(broker, 2)
            assert (await broker.publish(said("a", 2))).stream.startswith("EVENTS_1_")
            assert broker.layout.generations[0].ends == (1,)
    finally:
        await server.stop()


async def test_a_reshard_that_is_cancelled_says_how_the_events_stand(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        told: list[str] = []

        def tell(line: str) -> None:
            told.append(line)
            if line == "making EVENTS_1_0":
                running.cancel()

        running = asyncio.ensure_future(Reshard(broker, 2, tell).run())
        await asyncio.wait({running})

    assert running.cancelled()
    assert told[-1].startswith("interrupted; EVENTS") and "finishes it" in told[-1]


async def test_while_an_edge_of_a_former_version_runs_nothing_is_changed(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.reshard.REFRESH_SECONDS", 0.5)
    async with broker_of(own_nats) as broker:
        leases = Bucket(broker.connection, LEASES)
        await leases.put(member_key("new"), ALIVE)
        # Of one that was killed.
        await leases.put(member_key("gone"), b"1")

        async def live() -> None:
            while True:
                await leases.put(member_key("old"), b"1")
                await asyncio.sleep(0.1)

        living = asyncio.ensure_future(live())
        await eventually(lambda: leases.get(member_key("old")))
        with pytest.raises(BadReshard, match=r"former version .*: old; update or stop"):
            await reshard(broker, 2)
        living.cancel()
        assert set(filter(is_of_events, await stream_names(broker.connection))) == {"EVENTS"}

        await reshard(broker, 2)
        assert len(broker.layout.current.shards) == 2


async def test_a_process_that_starts_leaves_sealed_streams_alone_and_makes_no_former_one_again(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 2)

    async with broker_of(own_nats) as broker:
        assert await provisioning.diff(broker.connection, SHORT, broker.layout) == []
        await Stream(broker.connection, "EVENTS").remove()
        await Stream(broker.connection, "EVENTS_1_1").remove()

    async with broker_of(own_nats) as broker:
        assert set(filter(is_of_events, await stream_names(broker.connection))) == {"EVENTS_1_0", "EVENTS_1_1"}


async def test_a_former_generation_goes_once_its_newest_event_is_too_old(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await broker.publish(said("a", 1))
        await reshard(broker, 2)
        assert await drop_old(broker) == []

        broker.topology = TopologySettings(events_max_age=0.001)
        assert await drop_old(broker) == ["EVENTS"]

        await eventually(lambda: len(broker.layout.generations) == 1)
        assert set(filter(is_of_events, await stream_names(broker.connection))) == {"EVENTS_1_0", "EVENTS_1_1"}
        assert (await broker.publish(said("a", 2))).sequence == 1


async def test_without_a_limit_of_age_a_former_generation_goes_once_the_next_has_no_room(own_nats: str) -> None:
    topology = TopologySettings(events_max_age=0, events_max_bytes=MIB, dedup_window=0.2)
    async with broker_of(own_nats, topology) as broker:
        await broker.publish(said("a", 1))
        await reshard(broker, 1 + 1)
        assert await drop_old(broker) == []

        large = "x" * 100_000
        for place in range(40):
            await broker.publish(Event.new(f"job.e{place}.said", {"text": large}))
        await broker.publish(said("a", 2))

        assert await drop_old(broker) == ["EVENTS"]


def test_what_cannot_be_done_now_is_told_with_what_can() -> None:
    with pytest.raises(BadReshard, match="1 to 64"):
        plan(LayoutEntry(), 65, 120)
    assert plan(LayoutEntry(), 1, 120) is None
    just_now = layout_entry.finished(layout_entry.begun(LayoutEntry(), 2), [0], now=2**62)
    with pytest.raises(BadReshard, match="possible in"):
        plan(just_now, 3, 120)
    many = LayoutEntry(tuple(KeptGeneration(number, 1, began=1) for number in range(1, MAX_GENERATIONS + 1)))
    with pytest.raises(BadReshard, match="EVENTS_1_0"):
        plan(many, 2, 120)


def described(
    last: int = 7, leader: str = "n0", active: tuple[int, ...] = (10**8, 5 * 10**9), sealed: bool = True
) -> Any:
    """A stream of three replicas; how long ago its leader has heard of the others, in ns."""
    replicas = [{"name": f"n{number}", "active": each} for number, each in enumerate(active, 1)]
    return {
        "config": {"num_replicas": 3, "sealed": sealed},
        "state": {"last_seq": last},
        "cluster": {"leader": leader, "replicas": replicas},
    }


def test_a_sealed_stream_ends_where_its_leader_and_a_majority_say_so_twice() -> None:
    assert settled_end(described(), described()) == 7
    # Stored meanwhile; another leader, which may not know of the seal; a leader that does not; one that is alone.
    assert settled_end(described(6), described()) is None
    assert settled_end(described(leader="n1"), described()) is None
    assert settled_end(described(sealed=False), described()) is None
    assert settled_end(described(), described(sealed=False)) is None
    assert settled_end(described(), described(active=(0, 5 * 10**9))) is None


@pytest.mark.slow
async def test_nothing_is_lost_or_stored_twice_where_nats_is_killed_in_the_middle(tmp_path: Path) -> None:
    """Publishers whose acknowledgements are lost, and a reshard that is interrupted at each of several moments."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await server.start()
    stop = asyncio.Event()
    asked: set[str] = set()

    async def publish(broker: Broker, entity: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            asked.add(f"{entity}-{number}")
            while True:
                try:
                    await broker.publish(said(entity, number), 0.2)
                    break
                except Timeout:
                    # The same event comes again by another call, when the reshard may be over.
                    await asyncio.sleep(1.0)

    async def finish(broker: Broker, shards: int) -> None:
        while True:
            try:
                await reshard(broker, shards)
                return
            except (BrokerError, BadReshard):
                await asyncio.sleep(0.05)

    try:
        async with broker_of(server.url, LONG) as one, broker_of(server.url, LONG) as two:
            async with asyncio.TaskGroup() as group:
                for place in range(12):
                    group.create_task(publish((one, two)[place % 2], f"e{place}"))
                await eventually(lambda: len(asked) > 200)
                resharding = group.create_task(finish(one, 3))
                for pause in (0.001, 0.01, 0.05):
                    await asyncio.sleep(pause)
                    assert server.process is not None
                    server.process.kill()
                    await server.process.wait()
                    await server.start()
                    await asyncio.sleep(0.5)
                await resharding
                before = len(asked)
                await eventually(lambda: len(asked) > before + 200)
                stop.set()

            stored = await all_stored(one)
            found = [id for each in stored.values() for id in ids(each)]
            assert len(found) == len(set(found))
            assert set(found) == asked
            assert {name: len(each) > 0 for name, each in stored.items()} == dict.fromkeys(stored, True)
    finally:
        await server.stop()
