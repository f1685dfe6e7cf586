"""Reading one shard of a real server that has three."""

from __future__ import annotations

from router.broker import Broker
from router.event import Event
from router.record import Record
from tests.router.resharding import broker_of, reshard


async def say(broker: Broker, entity: str, n: int) -> int:
    return (await broker.publish(Event.new(f"job.{entity}.progress", {"n": n}))).sequence


async def test_each_shard_is_read_counted_and_summed_up_by_itself(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 3)
        said: dict[str, list[int]] = {}
        for n in range(3):
            for entity in ("a", "b", "c", "d"):
                said.setdefault(entity, []).append(await say(broker, entity, n))
        found: dict[str, list[int]] = {}
        newest: list[Record] = []
        for shard in broker.layout.current.shards:
            store = broker.shard(shard)
            records = (await store.read(">", 0)).records
            assert await store.count(">", 0) == len(records)
            state = await store.state()
            assert state.last == (records[-1].sequence if records else 0)
            for record in records:
                assert record.shard.index == shard.index == broker.layout.shard_of(record.subject).index
                found.setdefault(record.subject.split(".")[1], []).append(record.sequence)
            newest += [record for page in [page async for page in store.latest_pages((">",))] for record in page]

        assert found == said
        assert {record.subject: record.sequence for record in newest} == {
            f"job.{entity}.progress": sequences[-1] for entity, sequences in said.items()
        }
        latest = await broker.latest(["job.*.progress"])
        assert [record.subject for record in latest] == [f"job.{entity}.progress" for entity in "abcd"]
        state = await broker.events_state()
        assert [each.number for each in state.layout.generations] == [0, 1]
        assert sum(state.last.sequences) == 12 and state.epoch.count(",") == 2
