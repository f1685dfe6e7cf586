"""Polling on from an event's own time: nothing is lost, and nothing is repeated for who sends the text back as it came."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.broker import Broker
from router.codec import rfc3339
from router.cursor import marked, parse_start, parse_time
from router.event import Event
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.router.resharding import SHORT, broker_of, reshard

NOW = 1_763_699_499_812_350_123


def _exact(text: str) -> str:
    return text


def _microseconds(text: str) -> str:
    """As Python prints it after reading it."""
    return datetime.fromisoformat(text).isoformat()


def _milliseconds(text: str) -> str:
    """As JavaScript's toISOString prints it."""
    return datetime.fromisoformat(text).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unix(text: str) -> str:
    return repr(datetime.fromisoformat(text).timestamp())


PRINTED = {"exact": _exact, "microseconds": _microseconds, "milliseconds": _milliseconds, "unix": _unix}


@given(st.integers(0, 2**60), st.integers(1, 10**12), st.sampled_from(["0a0b0c0d", "ffffffff"]))
def test_a_time_with_a_place_is_still_that_time_and_names_the_place(time_ns: int, sequence: int, epoch: str) -> None:
    text = marked(rfc3339(time_ns), epoch, sequence)
    start = parse_start(since=text)

    assert start is not None and start.mark is not None
    assert start.since == parse_time(rfc3339(time_ns))
    assert start.mark.sequence == sequence and start.mark.is_of(epoch)
    assert text.startswith(rfc3339(time_ns)[:-1])


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 999))
def test_a_time_of_up_to_nanoseconds_names_no_place(moment: datetime, nanoseconds: int) -> None:
    for text in (
        moment.isoformat(),
        f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}{nanoseconds:03d}Z",
        f"{moment:%Y-%m-%dT%H:%M:%S}Z",
    ):
        try:
            start = parse_start(since=text)
        except ValueError:
            continue
        assert start is not None and start.mark is None


@pytest.mark.parametrize(
    ("text", "exactness"),
    [
        ("2026-11-21T04:31:39.812350Z", 1),
        ("2026-11-21T04:31:39.812Z", 1000),
        ("2026-11-21T04:31:39Z", 1_000_000),
        ("1763699499812", 1000),
        ("1763699499", 1_000_000),
        ("1763699499.5", 100_000),
    ],
)
def test_how_exact_a_time_is_shows_in_its_digits(text: str, exactness: int) -> None:
    start = parse_start(since=text)

    assert start is not None and start.exactness == exactness


async def _say(store: Broker, entity: str, times: list[int]) -> list[str]:
    """Stores events that say these times, as a producer does whose clock is its own; returns their ids."""
    events = [
        Event.new(f"job.{entity}.output", {"n": n}, time_ns=time_ns, source="test") for n, time_ns in enumerate(times)
    ]
    for first in range(0, len(events), 50):
        acks = await asyncio.gather(*(store.publish(event) for event in events[first : first + 50]))
        assert sorted(acks) == acks
    return [event.id for event in events]


def _clocks(chance: random.Random, count: int) -> list[int]:
    """Times of a burst: of several producers, each up to a day off, many of them equal."""
    offsets = [chance.choice([0, 0, -86_400, 3_600, 40, -1]) * 1_000_000_000 for _ in range(3)]
    now, times = NOW, []
    for _ in range(count):
        now += chance.choice([0, 0, 0, 1, 999, 1_000_000, 3_000_000_000])
        times.append(now + chance.choice(offsets))
    return times


async def _poll_all(
    edges: list[RunningEdge],
    session: str,
    limit: int,
    printed: Callable[[str], str],
    chance: random.Random,
    expected: int,
) -> list[str]:
    """Polls as the guide does, by the last event's time; one answer in five is lost on its way."""
    found: list[str] = []
    since = ""
    for _ in range(12 * (expected // limit + 2)):
        answer = await chance.choice(edges).http.get(
            f"/callbacks/sessions/{session}/events", params={"since": since, "limit": limit}
        )
        assert answer.status_code == 200, answer.text
        if chance.random() < 0.2:
            continue
        events = answer.json()["events"]
        found += [event["id"] for event in events]
        if events:
            since = printed(events[-1]["timestamp"])
        if len(set(found)) == expected:
            break
    return found


@pytest.mark.parametrize("way", PRINTED)
@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
async def test_polling_by_the_last_event_s_time_loses_nothing_whatever_the_clocks_say(
    edge_factory: EdgeFactory, store: Broker, entity: str, way: str, limit: int
) -> None:
    chance = random.Random(f"{way} {limit}")
    count = {1: 25, 7: 60, 100: 250, 1000: 1100}[limit]
    async with edge_factory() as one, edge_factory() as other:
        session = await one.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
        await other.poll(session)
        ids = await _say(store, entity, _clocks(chance, count))

        found = await _poll_all([one, other], session, limit, PRINTED[way], chance, count)

        assert list(dict.fromkeys(found)) == ids
        if way == "exact":
            assert found == ids


async def test_a_burst_of_equal_times_comes_whole_and_once_by_pages(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    ids = await _say(store, entity, [NOW] * 250)

    found: list[str] = []
    sizes = []
    since = "undefined"
    for _ in range(5):
        page = await edge.poll(session, f"?since={since}")
        found += [event["id"] for event in page["events"]]
        sizes.append(page["count"])
        since = page["events"][-1]["timestamp"] if page["events"] else since

    assert found == ids
    assert sizes == [100, 100, 50, 0, 0]


async def test_any_event_of_an_answer_is_a_place_to_go_on_from(edge: RunningEdge, store: Broker, entity: str) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    ids = await _say(store, entity, [NOW] * 50)
    page = await edge.poll(session)

    again = await edge.poll(session, f"?since={page['events'][29]['timestamp']}")

    assert [event["id"] for event in again["events"]] == ids[30:]
    assert page["last_timestamp"] == page["events"][-1]["timestamp"]


async def test_the_time_in_an_answer_is_the_event_s_own_and_plain_for_who_polls_by_cursor(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    await _say(store, entity, [NOW - 86_400 * 10**9] * 2)

    by_time = await edge.poll(session)
    by_cursor = await edge.poll(session, f"?cursor={by_time['events'][0]['cursor']}")

    assert by_cursor["events"][0]["timestamp"] == rfc3339(NOW - 86_400 * 10**9)
    assert {datetime.fromisoformat(event["timestamp"]) for event in by_time["events"]} == {
        parse_time(by_cursor["events"][0]["timestamp"])
    }


async def test_a_place_of_another_life_of_the_stream_is_told_by_a_gap(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    ids = await _say(store, entity, [NOW] * 3)

    page = await edge.poll(session, f"?since={marked(rfc3339(NOW), '00000000', 7)}")

    assert page["gap"]["reset"] is True
    assert [event["id"] for event in page["events"]] == ids


async def test_a_time_of_one_s_own_finds_what_was_said_since_by_a_clock_that_is_ahead(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    now = datetime.now(UTC)
    ahead, on_time = now + timedelta(seconds=30), now
    ids = await _say(store, entity, [int(moment.timestamp() * 10**9) for moment in (on_time, ahead)])

    page = await edge.poll(session, f"?since={(now + timedelta(seconds=20)).isoformat().replace('+00:00', 'Z')}")

    assert [event["id"] for event in page["events"]] == ids[1:]


@pytest.mark.parametrize("printed", ["microseconds", "milliseconds"])
async def test_a_time_from_before_a_reshard_still_says_what_its_client_had(
    edge_factory: EdgeFactory, own_nats: str, printed: str
) -> None:
    async with edge_factory(nats=own_nats, topology=SHORT) as edge, broker_of(own_nats) as broker:
        session = await edge.session(delivery_method="polling", subjects=["job.a.>"])
        first = await _say(broker, "a", [NOW - 10_000_000, NOW, NOW])
        since = PRINTED[printed]((await edge.poll(session))["events"][-1]["timestamp"])
        await reshard(broker, 2)
        second = await _say(broker, "a", [NOW, NOW])

        page = await edge.poll(session, f"?since={since}")
        again = await edge.poll(session, f"?since={since}")

    assert [event["id"] for event in page["events"] if event["id"] not in first] == second
    assert first[0] not in [event["id"] for event in page["events"]]
    assert [event["id"] for event in again["events"]][-2:] == second


async def test_a_cloud_event_s_time_is_a_place_too(edge: RunningEdge, store: Broker, entity: str) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"], dialect="cloudevents")
    ids = await _say(store, entity, [NOW] * 5)
    first = (await edge.poll(session, "?limit=2"))["events"]

    rest = (await edge.poll(session, f"?since={first[-1]['time']}"))["events"]

    assert [event["id"] for event in first + rest] == ids
