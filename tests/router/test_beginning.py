"""Where readers begin in several shards and generations of a real server."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import msgspec

from router.beginning import Beginnings
from router.broker import Broker
from router.cursor import FOREIGN, UNKNOWN, Cursor, Start, VectorCursor, parse_cursor
from router.event import Event
from router.position import Position
from router.record import Record
from router.replay import Replay
from tests.router.resharding import broker_of, reshard

ALL = (">",)


async def say(broker: Broker, *entities: str) -> None:
    for entity in entities:
        await broker.publish(Event.new(f"job.{entity}.output"))


async def behind(broker: Broker, replay: Replay, position: Position) -> list[Record]:
    """All that comes after a position."""
    state = await broker.events_state()
    found: list[Record] = []
    more = True
    while more:
        stretch = await replay.stretch(ALL, position, state.last)
        found += stretch.records
        position, more = position.joined(stretch.upto), stretch.more
    assert position == state.last
    return found


async def test_readers_begin_where_they_say_and_read_on_through_all_generations(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await say(broker, "a", "b", "c", "d")
        await reshard(broker, 3)
        moment = datetime.now(UTC)
        await say(broker, "a", "b", "c", "d", "a")
        state = await broker.events_state()
        replay = Replay(broker)
        replay.layout = state.layout
        places = Beginnings(broker, replay)

        async def remaining(start: Start) -> int:
            place = await places.place(start, ALL, state)
            assert place.gap is None
            return len(await behind(broker, replay, place.after))

        assert [await remaining(Start(last=count)) for count in (0, 2, 5, 7, 9, 100)] == [0, 2, 5, 7, 9, 9]
        assert await remaining(Start(earliest=True)) == 9
        assert await remaining(Start(now=True)) == 0
        assert 5 <= await remaining(Start(since=moment)) <= 9
        old = state.layout.generations[0].shards[0]
        assert await remaining(Start(cursor=Cursor(old.epoch, 3))) == 6


async def test_a_cursor_is_foreign_whose_place_holds_another_event_or_was_not_reached_yet(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 2)
        await say(broker, "a", "b", "c", "d")
        state = await broker.events_state()
        places = Beginnings(broker, Replay(broker))
        records = await behind(broker, _replay(broker, state.layout), state.begin)
        right = parse_cursor(records[1].cursor(""))
        (own,) = [part for part in right.parts if part.check != UNKNOWN]
        assert len(right.parts) == 2 and own.check == records[1].check
        begin = state.begin

        assert await places.fitting(right, state) == right
        assert await places.place(Start(cursor=right), ALL, state) == (records[1].position, None)
        for change in ({"check": own.check ^ 1}, {"sequence": own.sequence + 100}):
            wrong = VectorCursor(
                tuple(msgspec.structs.replace(part, **change) if part is own else part for part in right.parts)
            )
            place = await places.place(Start(cursor=wrong), ALL, state)
            assert await places.fitting(wrong, state) == Cursor(FOREIGN, wrong.parts[0].sequence)
            assert place.gap is not None and place.gap.reset and place.after == begin


def _replay(broker: Broker, layout: object) -> Replay:
    replay = Replay(broker)
    replay.layout = layout  # type: ignore[assignment]
    return replay


async def test_who_goes_back_by_steps_comes_past_every_event_once_through_all_generations(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await say(broker, "a", "b", "c", "d", "a")
        await reshard(broker, 3)
        await say(broker, *("abcdefgh" * 4))
        state = await broker.events_state()
        replay = _replay(broker, state.layout)
        places = Beginnings(broker, replay)

        steps = [state.last]
        while (before := await places.back(steps[-1], 6, state)) != steps[-1]:
            assert before.behind(steps[-1]) and steps[-1].reaches(before)
            steps.append(before)

        assert steps[-1] == state.begin
        passed = [len(await behind(broker, replay, step)) for step in steps]
        # None of the steps is long, and in the same generation none leads nowhere.
        assert passed == sorted(passed) and passed[-1] == 37
        assert all(more - fewer <= 6 for fewer, more in itertools.pairwise(passed))
        assert len(set(passed)) >= len(passed) - 1


async def test_shards_are_gone_back_in_to_one_time(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 2)
        # Each of one shard, by turns: of `a` three times as many.
        one, other = _of_two_shards(broker)
        for _ in range(20):
            await say(broker, one, one, one, other)
        state = await broker.events_state()
        replay = _replay(broker, state.layout)

        found = await Beginnings(broker, replay).back(state.last, 24, state)

        entities = [record.subject.split(".")[1] for record in await behind(broker, replay, found)]
        assert entities.count(one) == 12
        assert entities.count(other) in (4, 5)


def _of_two_shards(broker: Broker) -> tuple[str, str]:
    shards = {broker.layout.shard_of(f"job.{name}.output").index: name for name in "abcdefgh"}
    return shards[0], shards[1]
