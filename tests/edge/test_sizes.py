"""The size law on a NATS with its default limit of 1 MiB a message: an event is answered 413 or it is delivered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from aiohttp import web

from router.broker import Broker
from router.codec import encode
from router.deadletter import DeadLetter
from router.event import Event
from router.limits import HEADROOM
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.letters import letters_under
from tests.servers import Server, serving_small
from tests.waiting import eventually, unhurried

MIB = 1024 * 1024
LARGEST = MIB - HEADROOM
MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.fixture
def small_nats(tmp_path: Path) -> Iterator[Server]:
    """A nats-server as it comes: 1 MiB a message. Nobody may have sent more in the end."""
    with serving_small(tmp_path, MIB) as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    async with Broker(unhurried(url), "another client") as broker:
        yield broker


def sized(entity: str, size: int, number: int = 0) -> Event:
    """An event that has so many bytes as msgpack."""
    event = Event.new(f"job.{entity}.output", {"text": ""}, id=f"{entity}-{number}", source="http", time_ns=2**62)
    short = size - len(encode(event)) - 4
    event = Event.new(
        f"job.{entity}.output", {"text": "x" * short}, id=f"{entity}-{number}", source="http", time_ns=2**62
    )
    assert len(encode(event)) == size
    return event


async def post(edge: RunningEdge, event: Event) -> tuple[int, dict[str, Any]]:
    """Publishes over HTTP, as msgpack, so that the body is no larger than the event."""
    body = msgpack.packb({"id": event.id, "subject": event.subject, "source": event.source, "data": dict(event.data)})
    answer = await edge.http.post("/events", content=body, headers=MSGPACK)
    return answer.status_code, answer.json()


async def ready(edge: RunningEdge) -> bool:
    return (await edge.http.get("/readyz")).status_code == 200


async def letters(broker: Broker, pattern: str) -> list[DeadLetter]:
    return await letters_under(broker, pattern)


async def test_sizes_around_the_limit_are_answered_at_once_and_what_is_taken_is_delivered(
    edge_factory: EdgeFactory, small_nats: Server, receiver: Receiver, entity: str
) -> None:
    async with edge_factory(small_nats.url) as edge:
        await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])
        sizes = (MIB - 101, MIB - 300, MIB - 4096, LARGEST + 1, LARGEST, LARGEST - 1)

        answers = [await post(edge, sized(entity, size, number)) for number, size in enumerate(sizes)]
        await eventually(lambda: len(receiver.posts) == 2)

        assert [status for status, _ in answers] == [413, 413, 413, 413, 201, 201]
        for size, (_, answer) in zip(sizes[:4], answers, strict=False):
            assert (answer["code"], answer["limit"], answer["size"]) == ("event_too_large", LARGEST, size)
            assert str(LARGEST) in answer["detail"]
        assert await ready(edge)


async def test_a_batch_with_one_event_too_large_stores_none(
    edge_factory: EdgeFactory, small_nats: Server, entity: str
) -> None:
    async with edge_factory(small_nats.url) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        subject = f"job.{entity}.output"
        large = {"subject": subject, "data": {"text": "x" * (LARGEST - 40)}}

        answer = await edge.http.post("/events", json=[{"subject": subject}, large])
        polled = await edge.poll(session, "?cursor=earliest")

    assert (answer.status_code, answer.json()["code"], answer.json()["index"]) == (413, "event_too_large", 1)
    assert polled["events"] == []


@pytest.mark.parametrize("mode", ["unordered", "fifo"])
async def test_what_comes_too_large_by_nats_is_a_dead_letter_by_reference_and_stops_nobody(
    edge_factory: EdgeFactory, small_nats: Server, receiver: Receiver, entity: str, mode: str
) -> None:
    async with connected(small_nats.url) as broker:
        async with edge_factory(small_nats.url) as edge:
            hook = await edge.session(
                delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"], mode=mode
            )
            large = sized(entity, MIB - 101)
            # Without headers it fits; as a job it does not.
            stored = await broker.store(f"ev.{large.subject}", encode(large), {})
            await edge.numbers(entity, 1)
            await eventually(lambda: len(receiver.posts) == 1)
            (letter,) = await eventually(lambda: letters(broker, f"dead.webhook.{hook}"))

            shown = (await edge.http.get(f"/deadletters/{letter.sequence}")).json()
            job = (await edge.http.post("/deadletters/redrive", json={"id": letter.sequence})).json()

            async def over() -> dict[str, Any] | None:
                found: dict[str, Any] = (await edge.http.get(f"/deadletters/jobs/{job['id']}")).json()
                return found if found["state"] == "done" else None

            redriven = await eventually(over)
            assert await ready(edge)

        # After a restart nothing is tried again.
        async with edge_factory(small_nats.url) as edge:
            await edge.numbers(entity, 1, start=1)
            await eventually(lambda: len(receiver.posts) == 2)
            assert await ready(edge)

        assert len(await letters(broker, f"dead.webhook.{hook}")) == 1
    assert (letter.reason, letter.payload, letter.size) == ("too_large", b"", MIB - 101)
    assert (letter.origin.sequence, letter.origin.subject) == (stored.sequence, f"ev.{large.subject}")
    assert (shown["by_reference"], shown["bytes"], shown["event"]) == (True, MIB - 101, None)
    assert (redriven["sent"], redriven["skipped"], redriven["reasons"]) == (0, 1, {"too_large": 1})
    assert [json.loads(post.body)["data"] for post in receiver.posts] == [{"n": 0}, {"n": 1}]


async def test_the_largest_event_can_be_retried_and_buried_whole(
    edge_factory: EdgeFactory, small_nats: Server, receiver: Receiver, entity: str
) -> None:
    receiver.answer = 400
    async with connected(small_nats.url) as broker, edge_factory(small_nats.url) as edge:
        hook = await edge.session(
            delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"], retry_attempts=0
        )
        large = sized(entity, LARGEST)
        status, _ = await post(edge, large)
        (letter,) = await eventually(lambda: letters(broker, f"dead.webhook.{hook}"))

        assert status == 201
        event = letter.event()
        assert letter.size == 0 and event is not None and event.data == large.data
        assert await ready(edge)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["unordered", "fifo", "keyed"])
async def test_what_fits_as_a_job_and_not_as_a_retry_is_given_up_and_blocks_nobody(
    edge_factory: EdgeFactory, small_nats: Server, receiver: Receiver, entity: str, mode: str
) -> None:
    async def first_fails(request: web.Request) -> web.Response:
        body = await request.json()
        return web.Response(status=204 if "n" in body["data"] else 503)

    receiver.answer = first_fails
    async with connected(small_nats.url) as broker, edge_factory(small_nats.url) as edge:
        hook = await edge.session(
            delivery_method="webhook",
            webhook_url=receiver.url,
            subjects=[f"job.{entity}.>"],
            mode=mode,
            retry_attempts=1,
            retry_profile="fast",
        )
        for number in range(3):
            large = sized(entity, MIB - 220, number)
            await broker.store(f"ev.{large.subject}", encode(large), {})
        await edge.numbers(entity, 1)

        async def given_up() -> list[DeadLetter] | None:
            found = await letters(broker, f"dead.webhook.{hook}")
            return found if len(found) == 3 else None

        found = await eventually(given_up, within=90)

        async def delivered() -> bool:
            return any("n" in json.loads(post.body)["data"] for post in receiver.posts)

        await eventually(delivered, within=90)
        assert await ready(edge)
        assert {letter.reason for letter in found} <= {"too_large", "exhausted"}
        assert all(letter.size == MIB - 220 or letter.payload for letter in found)


async def test_a_server_that_takes_less_after_a_reconnect_gets_no_message_too_large_for_it(
    edge_factory: EdgeFactory, tmp_path: Path, receiver: Receiver, entity: str
) -> None:
    receiver.answer = 503
    with serving_small(tmp_path, MIB) as server:
        port = int(server.url.rpartition(":")[2])
        async with edge_factory(server.url) as edge, connected(server.url) as broker:
            hook = await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])
            await broker.publish(sized(entity, 900_000))
            await eventually(lambda: receiver.posts, within=60)

            server.stop()
            with serving_small(tmp_path, 500_000, port) as smaller:

                async def buried() -> list[DeadLetter]:
                    return await letters(broker, f"dead.webhook.{hook}")

                async def answered() -> int:
                    return (await post(edge, sized(entity, 500_000, 1)))[0]

                # Its retry is due, or was under way, when the server comes back.
                receiver.answer = 204
                await eventually(lambda: ready(edge), within=60)
                assert await answered() == 413
                await edge.numbers(entity, 1)
                await eventually(lambda: any(b'"n":0' in each.body for each in receiver.posts), within=90)
                assert await ready(edge)
                assert smaller.violations == []
                assert all(letter.payload == b"" for letter in await buried())
