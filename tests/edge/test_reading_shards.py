"""Reading events that are in one stream, in three, and in new ones while readers are there: by every door, nothing lost or twice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pytest

from edge.settings import SessionSettings
from router.broker import Broker
from router.cursor import parse_cursor
from router.provisioning import apply
from router.topology import event_stream
from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.router.resharding import SHORT, broker_of, reshard, reshard_soon
from tests.waiting import PATIENCE

ENTITIES = [f"run{number}" for number in range(8)]
Events = list[dict[str, Any]]


class Place:
    """An edge whose events are in so many streams, and a broker beside it."""

    def __init__(self, edge: RunningEdge, broker: Broker, shards: int) -> None:
        self.edge, self.broker, self.shards = edge, broker, shards
        self.said: dict[str, int] = defaultdict(int)

    async def say(self, rounds: int) -> list[str]:
        """Publishes so many events of each entity, in turn; returns their cursors."""
        events = []
        for _ in range(rounds):
            for entity in ENTITIES:
                events.append({"subject": f"job.{entity}.output", "data": {"n": self.said[entity]}})
                self.said[entity] += 1
        return await self.edge.publish(*events)

    def check(self, events: Iterable[dict[str, Any]], since: dict[str, int] | None = None) -> None:
        """All events of each entity behind some, once and in order."""
        found: dict[str, list[int]] = defaultdict(list)
        for event in events:
            found[event["subject"].split(".")[1]].append(event["data"]["n"])
        first = since or {}
        assert found == {
            entity: list(range(first.get(entity, 0), count))
            for entity, count in self.said.items()
            if count > first.get(entity, 0)
        }

    async def keep_to_itself(self, *subjects: str) -> None:
        """Stores events without a live copy."""
        layout, connection = self.broker.layout, self.broker.connection
        for shard in layout.current.shards:
            config = {key: value for key, value in event_stream(shard, SHORT).desired.items() if key != "republish"}
            await connection.api(f"STREAM.UPDATE.{shard.stream}", config)
        await self.edge.publish(*({"subject": subject, "data": {"n": subject}} for subject in subjects))
        await apply(connection, SHORT, layout)


@pytest.fixture(params=[1, 3], ids=["one", "three"])
async def place(edge_factory: EdgeFactory, own_nats: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with broker_of(own_nats) as broker:
        if request.param > 1:
            await reshard(broker, request.param)
        session = SessionSettings(heartbeat=0.4)
        async with edge_factory(nats=own_nats, topology=SHORT, session=session) as edge:
            yield Place(edge, broker, request.param)


async def test_every_door_brings_all_events_those_of_each_entity_in_order(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    async with place.edge.socket(session) as socket, place.edge.sse(session) as stream:
        await socket.control("ready")
        await place.say(3)
        first = await socket.events(24)
        await place.say(2)

        place.check(first + await socket.events(16))
        place.check(await stream.events(40))
    polled: Events = []
    cursor = "earliest"
    while True:
        page = await place.edge.poll(session, f"?cursor={cursor}&limit=7")
        polled += page["events"]
        cursor = page["next"]
        if not page["has_more"]:
            break
    place.check(polled)
    assert cursor.startswith("1-" if place.shards == 1 else "2-")
    assert len(parse_cursor(cursor).parts) == place.shards


async def test_a_reader_goes_on_behind_each_cursor_that_it_was_given_by_whichever_door(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    await place.say(3)
    async with place.edge.socket(session, "?cursor=earliest") as socket:
        seen = await socket.events(24)
    for had in (1, 7, 13, 23):
        cursor = seen[had - 1]["cursor"]
        async with place.edge.socket(session, f"?cursor={cursor}") as socket:
            place.check(seen[:had] + await socket.events(24 - had))
            assert socket.controls[0]["recovered"] is True
        async with place.edge.sse(session, headers={"Last-Event-ID": cursor}) as stream:
            place.check(seen[:had] + await stream.events(24 - had))
        page = await place.edge.poll(session, f"?cursor={cursor}")
        place.check(seen[:had] + page["events"])


async def test_a_reader_of_one_entity_has_its_events_alone(place: Place) -> None:
    session = await place.edge.session(subjects=["job.run3.>"])
    async with place.edge.socket(session) as socket:
        await socket.control("ready")
        await place.say(4)
        live = await socket.events(4)
        async with place.edge.socket(session, f"?cursor={live[1]['cursor']}") as again:
            assert [event["subject"] for event in live] == ["job.run3.output"] * 4
            assert n(live[:2] + await again.events(2)) == [0, 1, 2, 3]


async def test_readers_begin_at_the_last_events_at_a_time_at_the_beginning_and_now(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    await place.say(3)
    seen = (await place.edge.poll(session, "?cursor=earliest"))["events"]

    place.check((await place.edge.poll(session, "?last=8"))["events"], dict.fromkeys(ENTITIES, 2))
    assert (await place.edge.poll(session, "?last=0"))["events"] == []
    assert (await place.edge.poll(session, "?cursor=now"))["events"] == []
    assert len((await place.edge.poll(session, "?last=100"))["events"]) == 24
    behind = (await place.edge.poll(session, f"?since={seen[0]['timestamp']}"))["events"]
    assert {event["id"] for event in behind} >= {event["id"] for event in seen[1:]}


async def test_the_cursor_of_an_event_that_was_published_leads_behind_it(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    async with place.edge.socket(session) as socket:
        await socket.control("ready")
        await place.say(1)
        await socket.events(8)
        (cursor,) = await place.edge.publish({"subject": "job.run0.output", "data": {"n": "later"}})
        await socket.events(1)
        await place.edge.publish({"subject": "job.run1.output", "data": {"n": "last"}})

    assert n((await place.edge.poll(session, f"?cursor={cursor}"))["events"]) == ["last"]


async def test_a_foreign_cursor_is_answered_by_a_gap_and_all_that_is_kept(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    await place.say(1)

    for cursor in ("1-00000000-000000000001", "2-1.-1--04--15"):
        async with place.edge.socket(session, f"?cursor={cursor}") as socket:
            events = await socket.events(8)
            assert [each["reset"] for each in socket.controls if each["control"] == "gap"] == [True]
            place.check(events)


async def test_a_snapshot_has_the_newest_of_each_entity_and_then_what_comes(place: Place) -> None:
    for number in range(2):
        await place.edge.publish(*({"subject": f"job.{entity}.progress", "data": {"n": number}} for entity in ENTITIES))
    session = await place.edge.session(subjects=["job.>"])

    async with place.edge.socket(session, "?cursor=snapshot") as socket:
        shown = await socket.events(8)
        assert {event["subject"] for event in shown} == {f"job.{entity}.progress" for entity in ENTITIES}
        assert n(shown) == [1] * 8
        await place.edge.publish({"subject": "job.run0.progress", "data": {"n": 2}})
        assert n(await socket.events(1)) == [2]
    page = await place.edge.poll(session, "?cursor=snapshot&limit=3")
    rest = await place.edge.poll(session, f"?cursor={page['next']}&limit=30")
    # It may be the one of a second ago.
    assert sorted(event["subject"] for event in page["events"] + rest["events"]) == [
        f"job.{entity}.progress" for entity in ENTITIES
    ]


async def test_who_goes_on_at_any_event_of_a_snapshot_misses_none_of_it(place: Place) -> None:
    async def say(entities: Sequence[str], *numbers: int) -> None:
        for number in numbers:
            await place.edge.publish(*({"subject": f"job.{each}.progress", "data": {"n": number}} for each in entities))

    async def read(cursor: str) -> Events:
        events: Events = []
        while True:
            page = (
                await place.edge.http.get("/events", params={"subjects": "job.>", "cursor": cursor, "limit": 500})
            ).json()
            assert "gap" not in page
            events += page["events"]
            if not page["has_more"]:
                return events
            cursor = page["next"]

    await say(ENTITIES, 0, 1)
    await reshard_soon(place.broker, 4)
    await say(ENTITIES[:5], 2, 3)
    shown = await read("snapshot")
    await say(ENTITIES, 4)

    newest = {f"job.{each}.progress": 3 if each in ENTITIES[:5] else 1 for each in ENTITIES}
    assert {event["subject"]: event["data"]["n"] for event in shown} == newest
    for index, event in enumerate(shown):
        rest = {(each["subject"], each["data"]["n"]) for each in await read(event["cursor"])}
        missing = {each["subject"] for each in shown[index + 1 :]}
        assert {(subject, newest[subject]) for subject in missing} | {(each, 4) for each in newest} <= rest
        assert not {(each["subject"], 0) for each in shown[: index + 1]} & rest


async def test_a_snapshot_has_the_newest_of_each_key_of_a_subject_in_any_generation(place: Place) -> None:
    async def say(campaign: str, clicks: int) -> None:
        data = {"campaignId": campaign, "metrics": {"clicks": clicks}}
        await place.edge.publish(
            {"subject": "campaign.shop.campaign_metrics", "type": "campaign_metrics", "data": data}
        )

    for campaign, clicks in (("silent", 1), ("both", 1), ("both", 2)):
        await say(campaign, clicks)
    await reshard_soon(place.broker, 2)
    await say("both", 3)
    session = await place.edge.session(subjects=["campaign.>"])

    async with place.edge.socket(session, "?cursor=snapshot") as socket:
        shown = await socket.events(2)
        assert {(event["data"]["campaignId"], event["data"]["metrics"]["clicks"]) for event in shown} == {
            ("silent", 1), ("both", 3)
        }  # fmt: skip
        assert socket.controls[0]["snapshot"] == {"events": 2, "left_out": 0}


async def test_a_live_copy_that_never_came_is_found_in_its_shard(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    async with place.edge.sse(session) as stream:
        await place.say(1)
        await stream.events(8)
        kept = [f"job.{entity}.kept" for entity in ENTITIES]
        await place.keep_to_itself(*kept)

        # Nothing follows: they are found by counting.
        assert sorted(n(await stream.events(8))) == kept


async def test_readers_have_every_event_once_while_the_events_are_put_into_other_streams(place: Place) -> None:
    session = await place.edge.session(subjects=["job.>"])
    await place.say(1)
    old = (await place.edge.poll(session, "?cursor=earliest&limit=3"))["next"]
    async with place.edge.socket(session, "?cursor=earliest") as socket, place.edge.sse(session) as stream:
        live: Events = await stream.events(8)
        await socket.events(8)

        async def publish() -> None:
            for _ in range(10):
                await place.say(1)
                await asyncio.sleep(0)

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(publish())
            await reshard_soon(place.broker, 2)
        await place.say(1)

        place.check(await socket.events(88), dict.fromkeys(ENTITIES, 1))
        place.check(live + await stream.events(88))
    # A cursor of the former streams leads through the rest of them, and on into the new ones.
    seen = (await place.edge.poll(session, "?cursor=earliest&limit=3"))["events"]
    rest: Events = []
    cursor, more = old, True
    while more:
        page = await place.edge.poll(session, f"?cursor={cursor}&limit=10")
        assert "gap" not in page, (old, cursor, page["gap"])
        rest += page["events"]
        cursor, more = page["next"], page["has_more"]
    place.check(seen + rest)


async def test_the_past_is_read_backwards_by_places_that_answers_say(place: Place) -> None:
    await place.say(4)
    query = {"subjects": "job.>", "limit": 1000}
    events: dict[str, dict[str, Any]] = {}
    cursor, steps = "now", 0
    while True:
        answer = await place.edge.http.get("/events", params={**query, "cursor": cursor, "back": 9})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        events = {event["id"]: event for event in page["events"]} | events
        if page["begin"] == cursor:
            break
        cursor, steps = page["begin"], steps + 1

    place.check(events.values())
    assert 4 <= steps <= 12
    refused = await place.edge.http.get("/events", params={"cursor": "snapshot", "back": 9})
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_cursor")
