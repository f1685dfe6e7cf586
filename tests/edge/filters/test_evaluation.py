"""The filters of one principal cost it its own time, and nobody else's; whatever they cost, no event is lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edge.filters.evaluation import Allowance, Converted, Filtering, Wanted
from edge.settings import FilterSettings
from edge.view import View
from router.codec import encode
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
