"""The console's events where these lie in several streams: order, going back, links, the rail, and a reshard while the page is open."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from router.broker import Broker
from tests.browser.conftest import Tab
from tests.browser.test_console_page import DRAWN, open_console
from tests.edge.conftest import EdgeFactory, RunningEdge, edge_factory
from tests.router.resharding import SHORT, broker_of, reshard
from tests.waiting import PATIENCE, eventually

__all__ = ["edge_factory"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ENTITIES = [f"run{number}" for number in range(6)]
# Entity and `n` of all that the list holds, in its order.
LISTED = """() => callboard.events.log.entries.filter(({ event }) => event)
  .map(({ event }) => [event.subject.split(".")[1], event.data.n])"""
BACK = """() => {
  document.querySelector('#stream .scroll').scrollTop = 0;
  return callboard.events.log.atStart;
}"""


class Said:
    """What was published of each entity."""

    def __init__(self, edge: RunningEdge) -> None:
        self.edge = edge
        self.count = 0

    async def say(self, rounds: int) -> None:
        for first in range(0, rounds, 80):
            numbers = range(self.count + first, self.count + min(first + 80, rounds))
            await self.edge.publish(
                *(
                    {"subject": f"job.{entity}.output", "type": "output", "data": {"n": number}}
                    for number in numbers
                    for entity in ENTITIES
                )
            )
        self.count += rounds


def by_entity(listed: list[list[Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for entity, number in listed:
        found[entity].append(number)
    return found


async def all_back(tab: Tab) -> dict[str, list[int]]:
    """What the list holds once it has been scrolled back to its beginning."""
    await tab.until("() => callboard.events?.log.live && !callboard.events.log.busy.back")
    await tab.page.wait_for_function(BACK, polling=100, timeout=PATIENCE * 1000)
    await tab.until("() => !callboard.events.log.busy.back")
    return by_entity(await tab.page.evaluate(LISTED))


async def next_layout(broker: Broker, said: Said, shards: int) -> None:
    """Puts the events into so many streams; the next reshard may begin at once."""
    await said.say(3)
    await reshard(broker, shards)


async def test_the_list_holds_each_event_once_in_its_entity_s_order_across_streams_and_reshards(
    tab: Tab, edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        said = Said(edge)
        await said.say(40)
        await reshard(broker, 3)
        await said.say(400)
        await open_console(tab, edge.url, "events")
        assert await all_back(tab) == {entity: list(range(said.count)) for entity in ENTITIES}
        # The rail shows times, since sequences of several streams say nothing.
        assert await tab.page.evaluate("callboard.events.log.numbered") is False
        times = await tab.page.evaluate("callboard.events.log.entries.map(({ at }) => at)")
        assert times == sorted(times)

        await tab.page.evaluate("callboard.events.follow()")
        await reshard(broker, 2)
        await said.say(30)
        newest = f"() => callboard.events.log.entries.at(-1).event?.data.n === {said.count - 1}"
        await tab.until(newest)
        await tab.until(f"() => callboard.events.log.entries.length >= {len(ENTITIES) * said.count}")

        assert by_entity(await tab.page.evaluate(LISTED)) == {entity: list(range(said.count)) for entity in ENTITIES}
        assert await tab.page.evaluate("callboard.events.log.entries.every(({ note }) => note === null)")
        await tab.page.reload()
        assert await all_back(tab) == {entity: list(range(said.count)) for entity in ENTITIES}
    assert not [complaint for complaint in tab.complaints if "uncaught" in complaint]


async def test_links_and_the_rail_lead_to_events_in_several_streams(
    tab: Tab, edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        said = Said(edge)
        await said.say(20)
        await reshard(broker, 3)
        await said.say(300)
        answer = await edge.http.get("/events", params={"cursor": "earliest", "limit": 1000})
        chosen = next(
            event
            for event in answer.json()["events"]
            if event["subject"] == "job.run4.output" and event["data"]["n"] == 150
        )
        assert chosen["cursor"].startswith("2-")

        shown = "() => { const { chosen } = callboard.events.rows; return chosen && [chosen.event.subject, chosen.event.data.n]; }"
        for link in (chosen["cursor"], chosen["id"]):
            await open_console(tab, edge.url, f"events/{link}")
            assert await tab.until(shown) == ["job.run4.output", 150]
            assert 150 in await tab.page.evaluate(DRAWN)

        await open_console(tab, edge.url, f"events?from={chosen['cursor']}")
        await tab.until("() => callboard.events?.log.entries.length > 0")
        first = await tab.page.evaluate("callboard.events.log.entries[0].event.id")
        assert first == chosen["id"]

        await open_console(tab, edge.url, "events")
        await tab.until("() => callboard.events?.log.live && !callboard.events.log.busy.back")
        time = await tab.page.evaluate("(text) => Date.parse(text)", chosen["timestamp"])
        near = """(time) => {
          const { log, rows } = callboard.events;
          return !log.opening && Math.abs(log.entries[rows.top]?.at - time) < 50;
        }"""

        async def led_there() -> bool:
            # Again where chromium ended the request because a network interface had changed.
            await tab.page.evaluate(
                """(time) => {
                  const rail = document.querySelector("#stream .rail");
                  rail.value = time;
                  rail.dispatchEvent(new Event("change"));
                }""",
                time,
            )
            await tab.until("() => !callboard.events.log.opening")
            return bool(await tab.page.evaluate(near, time))

        await eventually(led_there)
        assert "at=20" in tab.page.url
    assert not [complaint for complaint in tab.complaints if "uncaught" in complaint]
