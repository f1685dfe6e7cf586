"""The filters of one principal cost it its own time, and nobody else's; whatever they cost, no event is lost."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.filters.budget import Allowance
from edge.filters.child import Evaluator
from edge.filters.evaluation import Converted, Filtering, Wanted
from edge.filters.process import MAX_BYTES, MAX_EVENTS, SLICE_BYTES, SLICE_EVENTS, FilterProcess, _Pipes, _slices
from edge.hub.feed import Feed
from edge.hub.hub import SLOWED_AT_ONCE, Hub
from edge.hub.reader import Reader
from edge.settings import FilterSettings
from edge.stats import Stats
from edge.types import State
from edge.view import View
from router.broker import Broker
from router.codec import encode
from router.errors import Timeout
from router.event import Event
from router.filter import Activation, work
from router.record import Record
from tests.edge.conftest import EdgeFactory
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually

HEAVY = "data.m.all(k, size(k) > 0) && data.n == {}"


class SlowClock:
    """A clock on which every look at it takes a millisecond."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def record(sequence: int, **data: Any) -> Record:
    return Record(sequence, "job.x.output", encode(Event.new("job.x.output", data)))


def stored(event: Event) -> Record:
    return Record(1, str(event.subject), encode(event))


def view(text: str | None, owner: str | None = "one") -> View:
    return View.of("sess", ["job.>"], None, text, owner=owner)


def filtering(settings: FilterSettings | None = None) -> Filtering:
    return Filtering(settings, SlowClock())


def test_an_allowance_is_spent_and_grows_back_by_its_share() -> None:
    allowance = Allowance(FilterSettings(burst=0.010, share=0.25), 0.0)
    allowance.take(0.030)

    assert allowance.left(0.0) == pytest.approx(-0.020)
    assert allowance.left(0.040) == pytest.approx(-0.010)
    assert allowance.left(10.0) == pytest.approx(0.010)


def test_one_principal_s_filters_are_put_off_where_its_time_is_used_up_and_another_s_are_not() -> None:
    filters = filtering(FilterSettings(burst=0.010, share=0.0001))
    event = Event.new("job.x.output", {"n": 1, "m": {"a": 1}})
    seen = Activation(event)

    verdicts = [filters.look(view(HEAVY.format(n)), seen) for n in range(100)]

    assert verdicts[:2] == [False, True]
    assert verdicts.count(None) >= 88
    assert verdicts[-1] is None
    assert filters.look(view("data.n == 1", owner="other"), seen) is True


def test_equal_filters_of_many_views_cost_one_evaluation_and_all_of_them_one_conversion() -> None:
    filters = filtering()
    event = Event.new("job.x.output", {"n": 1, "m": {"a": 1}, **{f"f{n}": n for n in range(50)}})
    views = [view(f"data.f{n % 5} == {n % 5} && data.n == 1", owner=f"p{n}") for n in range(50)]
    before = work.conversions, work.evaluations

    seen = filters.prepare(stored(event), event, Wanted(views))

    assert all(filters.look(each, seen) for each in views)
    assert (work.conversions - before[0], work.evaluations - before[1]) == (1, 5)


def test_what_is_too_large_is_neither_converted_nor_evaluated_on_the_loop() -> None:
    filters = filtering()
    event = Event.new("job.x.output", {"n": 1, "m": {str(n): n for n in range(5000)}})
    seen = filters.prepare(stored(event), event, Wanted([view(HEAVY.format(1)), view("data.n == 1")]))
    before = work.evaluations

    assert filters.look(view(HEAVY.format(1)), seen) is None
    assert work.evaluations == before
    assert filters.look(view("data.n == 1"), seen) is True


def test_a_view_without_variables_in_its_filter_is_still_asked() -> None:
    filters = filtering()
    never = view("1 == 2")
    event = Event.new("job.x.output", {})

    assert Wanted([never]).any
    assert filters.look(never, filters.prepare(stored(event), event, Wanted([never]))) is False


async def test_a_page_is_converted_at_most_twice_whatever_number_of_sessions_reads_it_and_each_filter_asked_once() -> (
    None
):
    filters = filtering(FilterSettings(burst=1000.0))
    records = [record(n, n=n, m={"a": 1}, **{f"f{i}": i for i in range(50)}) for n in range(1, 41)]
    views = [view(f"data.n > 0 && data.f{n} == {n}", owner=f"p{n}") for n in range(50)]
    before = work.conversions, work.evaluations

    for each in views:
        assert filters.select_now(each, records) == records
        assert await filters.select(each, records) == records

    assert work.conversions - before[0] <= 2 * len(records)
    assert work.evaluations - before[1] == len(views) * len(records)


def test_what_stays_converted_is_bounded_by_number_and_by_bytes() -> None:
    records = [record(n, n=n) for n in range(1, 11)]
    few, small = Converted(most=3), Converted(most_bytes=2 * len(records[0].payload))
    for kept, count in ((few, 3), (small, 2)):
        made = [kept.of(each, each.event) for each in records if each.event is not None]
        again = [kept.of(each, each.event) for each in reversed(records) if each.event is not None]
        assert [one is other for one, other in zip(reversed(made), again, strict=True)].count(True) == count


def test_an_event_goes_to_the_filter_process_once_and_by_its_number_afterwards() -> None:
    pipes = _Pipes()
    payloads = [encode(Event.new("job.x.output", {"n": n, "text": "x" * 300_000})) for n in range(6)]
    evaluator = Evaluator()
    sent = []

    for n in range(100):
        for payload in payloads:
            request = pipes._request(f"data.n == {n}", [payload])
            sent += request[2]
            assert list(evaluator.answer(*request)) == [int(payload is payloads[n])] if n < 6 else [0]

    assert sent == payloads


def test_the_filter_process_keeps_what_its_parent_says_and_no_more() -> None:
    pipes, evaluator = _Pipes(), Evaluator()
    for n in range(3 * MAX_EVENTS):
        payload = encode(Event.new("job.x.output", {"n": n}))
        assert list(evaluator.answer(*pipes._request(f"data.n == {n}", [payload]))) == [1]
    assert len(pipes._numbers) == len(evaluator._events) == MAX_EVENTS

    large = [encode(Event.new("job.x.output", {"n": n, "text": "x" * 900_000})) for n in range(40)]
    for payload in large:
        evaluator.answer(*pipes._request("data.n == 1", [payload]))
    assert sum(map(len, pipes._numbers)) <= MAX_BYTES
    assert set(pipes._numbers.values()) == set(evaluator._events)


class Slowed(Reader):
    """A reader that says in which turn of the loop it went on."""

    turn = 0

    def resume_slowed(self, tell: bool) -> None:
        resumed.append(Slowed.turn)


resumed: list[int] = []


async def test_of_the_readers_that_one_event_slows_a_few_go_on_in_each_turn_of_the_loop(broker: Broker) -> None:
    hub = Hub(broker)
    feed = Feed(view("data.n == 1"))
    for _ in range(100):
        reader = Slowed(hub, feed, "sess", Stats(), hub.settings)
        reader.state = State.LIVE
        feed.live.add(reader)
    resumed.clear()

    hub._slow(feed)
    assert not feed.live and not resumed
    for Slowed.turn in range(100 // SLOWED_AT_ONCE + 2):
        await asyncio.sleep(0)

    assert len(resumed) == 100
    assert max(map(resumed.count, resumed)) <= SLOWED_AT_ONCE


async def test_what_is_over_budget_is_selected_in_order_by_the_filter_process() -> None:
    filters = filtering(FilterSettings(burst=0.003, share=0.0))
    records = [record(n, n=n % 3, m={"a": 1}) for n in range(1, 200)]
    try:
        found = await filters.select(view(HEAVY.format(1)), records)
    finally:
        await filters.close()

    assert [each.sequence for each in found] == [n for n in range(1, 200) if n % 3 == 1]
    assert filters.select_now(view(HEAVY.format(2)), records) is None


async def test_a_selection_gives_others_their_turn_every_few_milliseconds() -> None:
    filters = filtering(FilterSettings(burst=1000.0, slice=0.002))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await filters.select(view("data.n == 1"), [record(n, n=n) for n in range(1, 101)])
    task.cancel()

    # Each evaluation takes three looks at the clock: a millisecond each.
    assert turns >= 90


async def test_many_sessions_of_one_principal_wait_in_one_place_of_the_line() -> None:
    process = FilterProcess()
    payloads = [encode(Event.new("job.x.output", {"n": 1}))] * (2 * SLICE_EVENTS)
    order: list[str] = []

    async def ask(owner: str, text: str) -> None:
        assert await process.ask(owner, text, payloads) == [True] * len(payloads)
        order.append(owner)

    try:
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(ask("many", f"data.n == 1 && {n} == {n}"))
            group.create_task(ask("few", "data.n == 1"))
    finally:
        await process.close()

    # Its two slices wait for one of the other's each.
    assert order.index("few") <= 4


def test_a_slice_is_bounded_in_events_and_bytes() -> None:
    payloads = [b"x" * size for size in [10] * 200 + [SLICE_BYTES - 1, 2, SLICE_BYTES * 3, 1]]

    slices = _slices(payloads)

    assert [payload for some in slices for payload in some] == payloads
    assert all(len(some) <= SLICE_EVENTS for some in slices)
    assert all(len(some) == 1 or sum(map(len, some)) <= SLICE_BYTES for some in slices)


async def test_a_reader_that_leaves_while_it_waits_takes_no_other_s_answer() -> None:
    process = FilterProcess()
    one = [encode(Event.new("job.x.output", {"n": 1}))]
    try:
        await process.ask("one", "data.n == 1", one)
        leaving = asyncio.ensure_future(process.ask("one", "data.n == 1", one * 64))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving.cancel()

        assert await process.ask("two", "data.n == 2", one * 3) == [False] * 3
        assert await process.ask("two", "data.n == 1", one * 3) == [True] * 3
    finally:
        await process.close()


async def test_a_process_that_is_lost_is_started_again_and_costs_no_event() -> None:
    process = FilterProcess()
    payloads = [encode(Event.new("job.x.output", {"n": n})) for n in range(10)]
    try:
        await process.ask("one", "data.n == 1", payloads)
        assert process._pipes is not None and process._pipes.transport is not None
        process._pipes.transport.kill()

        assert await process.ask("one", "data.n == 1", payloads) == [n == 1 for n in range(10)]
    finally:
        await process.close()


async def test_an_event_over_which_the_process_ends_is_left_out_and_the_others_are_not() -> None:
    # A child that ends as soon as it sees the word.
    child = (
        "import sys\n"
        "while head := sys.stdin.buffer.read(4):\n"
        "    said = sys.stdin.buffer.read(int.from_bytes(head, 'big'))\n"
        "    if b'poison' in said: sys.exit(1)\n"
        "    count = said.count(b'healthy')\n"
        "    sys.stdout.buffer.write(count.to_bytes(4, 'big') + b'\\1' * count)\n"
        "    sys.stdout.buffer.flush()\n"
    )
    process = FilterProcess((sys.executable, "-c", child))
    try:
        assert await process.ask("one", "true", [b"healthy", b"poison", b"healthy"]) == [True, False, True]
    finally:
        await process.close()


async def test_where_no_process_can_be_started_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.filters.process.START_PAUSES", (0.01,))
    process = FilterProcess(("/nonexistent/python",))

    with pytest.raises(Timeout):
        await process.ask("one", "true", [b""])


@given(st.lists(st.dictionaries(st.sampled_from("nm"), st.integers(0, 2) | st.lists(st.integers(-9, 9), max_size=3))))
def test_the_child_answers_as_the_filter_does(datas: list[dict[str, Any]]) -> None:
    texts = ["data.n == 1", "data.m.exists(x, x > 0)", "size(data) == 2"]
    payloads = [encode(Event.new("job.x.output", data)) for data in datas]
    evaluator = Evaluator()

    for text in texts:
        wanted = view(text).filter
        assert wanted is not None
        expected = [wanted.matches(Activation(Event.new("job.x.output", data))) for data in datas]
        numbers = list(range(1, len(payloads) + 2))
        new = [*payloads, b"\xc1"] if text == texts[0] else []
        assert list(evaluator.answer(text, numbers, new, [])) == [*map(int, expected), 0]


async def test_a_slowed_session_is_told_so_and_gets_all_of_its_events_in_order_while_another_gets_its_own(
    edge_factory: EdgeFactory, entity: str
) -> None:
    subjects = [f"job.{entity}.>"]
    # Nothing is left of this budget after the first look, and it never comes back.
    async with edge_factory(filters=FilterSettings(burst=1e-9, share=0.0)) as edge:
        slowed = await edge.session(subjects=subjects, filter="data.n % 2 == 0 && data.m.all(k, size(k) > 0)")
        plain = await edge.session(subjects=subjects)
        async with edge.sse(slowed) as one, edge.socket(plain) as other:
            await one.next()
            await other.control("ready")
            for start in range(0, 100, 20):
                await edge.publish(
                    *(
                        {"subject": f"job.{entity}.output", "data": {"n": n, "m": {f"k{i}": i for i in range(100)}}}
                        for n in range(start, start + 20)
                    )
                )
            assert [event["data"]["n"] for event in await other.events(100)] == list(range(100))
            assert [event["data"]["n"] for event in await one.events(50)] == list(range(0, 100, 2))
            said = [data for name, _, data in one.controls if name == "slowed"]
            assert said and said[0]["reason"] == "filter_budget" and said[0]["cursor"]

        async def counted() -> bool:
            return (await edge.stats(slowed))["slowed"] > 0

        await eventually(counted)
        assert (await edge.stats(plain))["slowed"] == 0


async def test_a_slowed_webhook_gets_all_of_its_events_in_order_while_another_gets_its_own(
    edge_factory: EdgeFactory, entity: str
) -> None:
    receivers = Receiver(), Receiver()
    async with (
        edge_factory(filters=FilterSettings(burst=1e-9, share=0.0)) as edge,
        receivers[0].serving() as slow,
        receivers[1].serving() as plain,
    ):
        common = {"delivery_method": "webhook", "subjects": [f"job.{entity}.>"], "mode": "fifo"}
        slowed = await edge.session(
            **common, webhook_url=slow.url, filter="data.n % 2 == 0 && data.m.all(k, size(k) > 0)"
        )
        await edge.session(**common, webhook_url=plain.url)
        for start in range(0, 60, 20):
            await edge.publish(
                *(
                    {"subject": f"job.{entity}.output", "data": {"n": n, "m": {"key": n}}}
                    for n in range(start, start + 20)
                )
            )

        def numbers(receiver: Receiver) -> list[int]:
            return list(dict.fromkeys(json.loads(post.body)["data"]["n"] for post in receiver.posts))

        async def delivered() -> bool:
            return len(numbers(slow)) >= 30 and len(numbers(plain)) >= 60

        await eventually(delivered, within=60)
        assert numbers(slow) == list(range(0, 60, 2))
        assert numbers(plain) == list(range(60))
        assert (await edge.stats(slowed))["slowed"] > 0
