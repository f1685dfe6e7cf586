from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.webhooks.queue.ordering import ALL
from edge.webhooks.queue.room import CEILING, OVERHEAD, PART, RUN, Account, Room, RoomSettings, Sizes
from router.broker import Broker
from router.topology import HOOKS, TopologySettings
from tests.edge.webhooks.stage import Stage
from tests.waiting import in_time

KIB = 1024


@given(st.lists(st.one_of(st.integers(1, 10_000), st.integers(-300, 0)), max_size=300))
def test_sizes_know_the_newest_and_are_off_by_no_more_than_one_run(steps: list[int]):
    sizes, model = Sizes(), list[int]()
    for step in steps:
        if step > 0:
            sizes.add(step)
            model.append(step)
        else:
            sizes.keep(-step)
            model = model[step:] if step else []
        assert sizes.count == len(model)
        # Within the oldest run sizes are taken to be equal.
        assert abs(sizes.bytes - sum(model)) <= RUN * 10_000
    sizes.keep(0)
    assert (sizes.count, sizes.bytes) == (0, 0)


def test_what_a_predecessor_stored_is_taken_to_be_of_mean_size():
    sizes = Sizes()
    sizes.add(10)
    sizes.keep(5, mean=100)
    assert (sizes.count, sizes.bytes) == (5, 410)


def test_a_key_that_stands_still_with_large_events_is_not_taken_for_the_small_ones_that_pass():
    account = Account()
    for n in range(1000):
        account.add(1000_000 if n % 10 == 0 else 100, "stuck" if n % 10 == 0 else "passing")
    account.measured(waiting=3, parked={"stuck": 100}, since=0, mean=1)
    assert account.jobs == 103
    assert account.bytes >= 100 * 1000_000


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 300_000), st.booleans()), max_size=400))
def test_no_session_holds_more_than_its_share_and_some_room_stays_free(steps: list[tuple[int, int, bool]]):
    room = Room(_Sized())
    limit = 4096 * KIB
    room._free = limit * CEILING
    for number, size, keyed in steps:
        session = f"sess_{number}"
        jobs, held = room.held(session)
        share = room.most_bytes
        if room.take(session, size, f"k{size % 3}" if keyed else ALL):
            assert not jobs or held + size + OVERHEAD <= share
        else:
            assert jobs and held + size + OVERHEAD > share
        assert room._free > 0
        assert share <= max(0, limit * CEILING) / PART


class _Sized(Broker):
    """What a room asks of a broker before it has measured anything: its settings."""

    def __init__(self) -> None:
        self.topology = TopologySettings()


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_measurement_finds_what_others_stored_and_took_away(stage: Stage, keyed: bool):
    await stage.reshape(hooks_max_bytes=1024 * KIB, hooks_per_session=10)
    room, queue = Room(stage.broker), "k1" if keyed else ALL
    for n in range(8):
        await stage.broker.store(f"hook.park.0.sess_a.{queue}", b"?" * 1000, {"Nats-Msg-Id": f"a{n}"})
    await stage.broker.store("hook.q.1.sess_b", b"?" * 1000, {"Nats-Msg-Id": "b"})

    await room.measure()

    assert room.held("sess_a")[0] == 8 and room.held("sess_b")[0] == 1
    assert 8000 < room.held("sess_a")[1] < 16_000
    assert [room.take("sess_a", 1000, queue) for _ in range(3)] == [True, True, False]
    await stage.broker.connection.api(f"STREAM.PURGE.{HOOKS}", {"filter": "hook.park.0.sess_a.*"})
    room.settled("sess_a", 2)
    await room.measure()
    assert room.held("sess_a") == (0, 0)
    assert not room._accounts.keys() - {"sess_b"}


@pytest.mark.parametrize("keyed", [False, True])
async def test_jobs_on_their_way_into_the_stream_count_until_they_are_settled(stage: Stage, keyed: bool):
    await stage.reshape(hooks_max_bytes=1024 * KIB, hooks_per_session=10)
    room, queue = Room(stage.broker), "k1" if keyed else ALL
    await room.measure()
    assert [room.take("sess_a", 1000, queue) for _ in range(6)] == [True] * 6
    await room.measure()  # which sees none of them
    for n in range(6):
        await stage.broker.store("hook.q.0.sess_a", b"?" * 1000, {"Nats-Msg-Id": f"a{n}"})
    room.settled("sess_a", 6)

    assert [room.take("sess_a", 1000, queue) for _ in range(5)] == [True] * 4 + [False]
    room.settled("sess_a", 4)  # refused
    await room.measure()
    assert room.held("sess_a")[0] == 6


async def test_room_that_nobody_uses_is_measured_early_once_somebody_does() -> None:
    room = Room(_Sized(), RoomSettings(every=0.01))
    waiting = asyncio.ensure_future(room.wait(3600.0))
    await asyncio.sleep(0)
    assert not waiting.done()

    room.take("sess_1", 100)
    await in_time(waiting)
    # From then on it is looked at as often as while a session waits for room.
    await in_time(room.wait(3600.0))


async def test_room_that_nobody_uses_is_measured_seldom() -> None:
    room = Room(_Sized(), RoomSettings(every=100.0, seldom=2000.0, unused=30000.0))
    # As after a measurement.
    room._measured = time.monotonic()

    assert 20000 < room.due_in(False) <= 30000
    room.take("sess_1", 100)
    assert 1000 < room.due_in(False) <= 2000
    assert room.due_in(True) <= 100
