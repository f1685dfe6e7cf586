"""The alerts actor as a process, killed with -9 in the middle of 200 alerts: none is lost, none is told twice, all resolve."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.alert_store import AlertStore
from router.alerts import AlertRecord
from router.broker import Broker
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from tests.ops.command import Running, running
from tests.waiting import eventually, unhurried

pytestmark = pytest.mark.slow

ALERTS = 200
KILLS = 3
RULES = """
rules:
  - name: hot
    subjects: [metric.*.temperature]
    when: data.celsius > 80
    resolve_when: data.celsius < 70
    cooldown: 0
"""


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def alerting(url: str, rules: Path) -> AsyncIterator[Running]:
    async with running("actor", "alerts", NATS_URL=url, ALERTS_RULES_FILE=str(rules)) as actor:
        yield actor


async def told(broker: Broker) -> list[Event]:
    """Every event of the rule, in stream order."""
    found: list[Event] = []
    after, more = 0, True
    while more:
        page = await broker.read("alert.hot.*", after)
        found += [record.event for record in page.records if record.event]
        after, more = (page.records[-1].sequence if page.records else after), page.more
    return found


async def states(broker: Broker) -> list[AlertRecord]:
    store = AlertStore(broker)
    following = asyncio.ensure_future(store.run())
    try:
        return await store.all()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def said_of(broker: Broker, kind: str, count: int) -> bool:
    return sum(event.type == kind for event in await told(broker)) >= count


async def killed_on_the_way(broker: Broker, url: str, rules: Path, kind: str, celsius: int) -> None:
    """Publishes a reading of every host, and kills the actor each time that it has told a third of what follows."""
    for host in range(ALERTS):
        await broker.publish(Event.new(f"metric.host-{host}.temperature", {"celsius": celsius}))
    for kill in range(1, KILLS + 1):
        async with alerting(url, rules) as actor:
            await eventually(lambda: said_of(broker, kind, kill * ALERTS // (KILLS + 1)))
            actor.signal(signal.SIGKILL)
            await actor.ends()


async def test_alerts_outlive_kills_in_the_middle_of_200_that_fire_and_of_200_that_end(
    nats_url: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    async with Broker(unhurried(nats_url), "test") as broker:
        async with alerting(nats_url, rules):
            # Its consumer begins with what is new.
            await eventually(lambda: _serves(broker))
        await killed_on_the_way(broker, nats_url, rules, "firing", 90)
        async with alerting(nats_url, rules):
            await eventually(lambda: said_of(broker, "firing", ALERTS))
        await killed_on_the_way(broker, nats_url, rules, "resolved", 60)
        async with alerting(nats_url, rules):
            await eventually(lambda: said_of(broker, "resolved", ALERTS))
            await eventually(lambda: _settled(broker))

        events = await told(broker)
        by_alert = Counter((str(event.key), event.type) for event in events)
        records = await states(broker)
    assert len(records) == ALERTS
    assert {record.state for record in records} == {"resolved"}
    assert by_alert == Counter({(record.id, kind): 1 for record in records for kind in ("firing", "resolved")})
    assert len({event.id for event in events}) == len(events) == 2 * ALERTS


async def _serves(broker: Broker) -> bool:
    with contextlib.suppress(Exception):
        return bool(await broker.connection.ask("cmd.alerts.main.firing", b"{}"))
    return False


async def _settled(broker: Broker) -> bool:
    """Whether everything was acknowledged, and nothing waits to be published."""
    info = await broker.connection.api("CONSUMER.INFO.EVENTS.actor-alerts")
    waiting = [record for record in await states(broker) if record.outbox]
    return info["num_ack_pending"] == info["num_pending"] == 0 and not waiting
