"""The Python client reads by every transport on one cursor through cuts, publishes, and says why it may not."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from edge.settings import SessionSettings
from router.errors import BadInput
from router.sdk.client import Client, SyncClient
from router.sdk.reader import ReadRefused, SessionReader
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.proxy import Cut, Proxy
from tests.waiting import PATIENCE, eventually, in_time

WAYS = ("websocket", "sse", "polling")


async def numbers(reader: SessionReader, count: int) -> list[Any]:
    """What the next events carry; a loop that asks for one more has dealt with all of them."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        async for event in reader:
            found.append(event.data["n"])
            if len(found) == count:
                break
    return found


async def publish(edge: RunningEdge, entity: str, *values: int) -> None:
    await edge.publish(*({"subject": f"job.{entity}.output", "data": {"n": n}} for n in values))


@pytest.mark.parametrize("way", WAYS)
async def test_each_transport_brings_all_events_in_order_and_a_left_loop_sees_its_last_one_again(
    edge_factory: EdgeFactory, entity: str, way: str
) -> None:
    async with edge_factory() as edge:
        client = Client(edge.url)
        await publish(edge, entity, *range(4))

        async with client.session(subjects=[f"job.{entity}.>"], cursor="earliest", transport=way) as reader:
            assert await numbers(reader, 4) == [0, 1, 2, 3]
            assert reader.transport == way
        await publish(edge, entity, 4)
        async with client.session(subjects=[f"job.{entity}.>"], cursor=reader.cursor, transport=way) as again:
            assert await numbers(again, 2) == [3, 4]


@pytest.mark.parametrize("way", WAYS)
async def test_a_reader_whose_connections_are_cut_anywhere_misses_nothing(
    edge_factory: EdgeFactory, entity: str, way: str
) -> None:
    chance = random.Random(7)
    async with edge_factory() as edge, Proxy(edge.port) as proxy:
        proxy.cut = lambda: Cut(chance.randrange(1, 6000))
        client = Client(f"http://127.0.0.1:{proxy.port}")
        await publish(edge, entity, *range(40))

        async with client.session(subjects=[f"job.{entity}.>"], cursor="earliest", transport=way) as reader:
            assert await numbers(reader, 40) == list(range(40))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_that_goes_silent_is_replaced_within_three_seconds(
    edge_factory: EdgeFactory, entity: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.sdk.links.POLL_SECONDS", 2)
    async with edge_factory(session=SessionSettings(heartbeat=1.6)) as edge, Proxy(edge.port) as proxy:
        await publish(edge, entity, 0)
        async with Client(proxy.url).session(subjects=[f"job.{entity}.>"], last=1, transport=way) as reader:
            events = aiter(reader)
            assert (await anext(events)).data["n"] == 0
            coming = asyncio.ensure_future(anext(events))
            await eventually(lambda: reader.transport == way)
            proxy.freeze()
            began = time.monotonic()
            await publish(edge, entity, 1)

            assert (await in_time(coming)).data["n"] == 1
            # 2 s in which the server should have spoken, 3 s as promised, and 3 s for a busy machine.
            assert time.monotonic() - began < 2 + 3 + 3


async def test_a_client_that_is_refused_a_subject_is_told_so(edge_factory: EdgeFactory) -> None:
    async with edge_factory() as edge:
        with pytest.raises(ReadRefused, match=r"subject|pattern"):
            await numbers(Client(edge.url).session(subjects=["not a subject"]), 1)


async def test_what_is_published_is_read(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory() as edge:
        client = Client(edge.url)
        stored = await client.publish(f"job.{entity}.output", {"n": 7}, key="k")

        async with client.session(subjects=[f"job.{entity}.>"], last=1) as reader:
            event = await in_time(anext(aiter(reader)))
        assert (event.type, event.data, event.cursor) == ("output", {"n": 7}, stored["cursor"])


async def test_programs_without_asyncio_read_the_same(edge_factory: EdgeFactory, entity: str) -> None:
    def read(url: str) -> list[Any]:
        found = []
        for event in SyncClient(url).session(subjects=[f"job.{entity}.>"], cursor="earliest"):
            found.append(event.data["n"])
            if len(found) == 3:
                break
        return found

    async with edge_factory() as edge:
        await publish(edge, entity, 0, 1, 2)

        assert await asyncio.to_thread(read, edge.url) == [0, 1, 2]


def test_an_address_of_nats_is_refused() -> None:
    with pytest.raises(BadInput, match="http://"):
        Client("nats://127.0.0.1:4222")


async def test_what_is_stored_is_read_once_without_a_session(
    edge_factory: EdgeFactory, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.sdk.client.PAGE", 3)
    async with edge_factory() as edge:
        await publish(edge, entity, *range(8))
        client, subjects = Client(edge.url), [f"job.{entity}.>"]
        before = await edge.session_ids()

        whole = [event.data["n"] async for event in client.history(subjects, cursor="earliest")]
        tail = [event.data["n"] async for event in client.history(subjects, last=5, filter="data.n != 4")]
        sync = await asyncio.to_thread(lambda: [e.data["n"] for e in SyncClient(edge.url).history(subjects, last=4)])
        with pytest.raises(ReadRefused, match="pattern"):
            await anext(client.history(["job..x"]))

        assert (whole, tail, sync) == (list(range(8)), [3, 5, 6, 7], [4, 5, 6, 7])
        assert await edge.session_ids() <= before


@pytest.mark.parametrize("way", WAYS)
async def test_a_program_that_ends_in_its_loop_ends_quietly(edge_factory: EdgeFactory, entity: str, way: str) -> None:
    async with edge_factory() as edge:
        await publish(edge, entity, 1)

        def program() -> tuple[list[Any], list[Any]]:
            kept: list[SessionReader] = []
            complaints: list[Any] = []

            async def main() -> list[Any]:
                asyncio.get_running_loop().set_exception_handler(lambda _loop, said: complaints.append(said))
                reader = Client(edge.url).session(subjects=[f"job.{entity}.>"], cursor="earliest", transport=way)
                kept.append(reader)
                return await numbers(reader, 1)

            return asyncio.run(main()), complaints

        assert await asyncio.to_thread(program) == ([1], [])


async def test_a_loop_goes_on_behind_what_went_wrong(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory() as edge:
        await publish(edge, entity, 1, 2)
        async with Client(edge.url).session(subjects=[f"job.{entity}.>"], cursor="earliest") as reader:
            with pytest.raises(ZeroDivisionError):
                async for event in reader:
                    event.data["n"] // 0
            # The event that the loop failed on comes again.
            assert await numbers(reader, 2) == [1, 2]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await numbers(reader, 2)
            await publish(edge, entity, 3)
            assert await numbers(reader, 1) == [3]
