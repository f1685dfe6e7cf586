"""What reads along everything that an edge hears: by the subscription of the edge's readers, and not by its own."""

from __future__ import annotations

from edge.hub.followers import Followers
from edge.runtime import Edge
from router.broker import Broker
from router.cursor import Cursor
from router.event import Event
from router.live import Live
from router.record import Record
from router.subject import LIVE
from tests.edge.transports.test_refusal import running
from tests.waiting import eventually


def subscribed(edge: Edge) -> list[str]:
    """The subjects of events that an edge's connection has subscribed."""
    known = edge.broker.connection._wire._subs.values()
    return sorted(each.subject for each in known if each.subject.startswith(LIVE))


async def test_an_edge_that_fans_out_to_webhooks_hears_each_event_by_one_subscription(
    nats_server: str, entity: str
) -> None:
    async with running(nats_server) as (edge, parts, _):
        everything = await edge.session(subjects=None)
        async with edge.socket(everything) as socket:
            await socket.control("ready")
            webhook = await edge.session(delivery_method="webhook", webhook_url="http://127.0.0.1:9/")
            (cursor,) = await edge.numbers(entity, 1)
            await eventually(lambda: parts.webhooks.fanout.position >= Cursor.parse(cursor).sequence)

            assert subscribed(parts) == [f"{LIVE}>"]
            found: list[str] = []
            while f"job.{entity}.output" not in found:
                found += [event["subject"] for event in await socket.events(1)]
        assert (await edge.http.delete(f"/callbacks/sessions/{webhook}")).status_code == 204


async def test_who_follows_hears_every_event_until_it_stops(broker: Broker) -> None:
    heard: list[str] = []
    later: list[str] = []

    def pass_on(record: Record) -> None:
        followers.receive(record)

    live = Live(broker, pass_on, lambda _reason, _loss: None)
    followers = Followers(live)
    first = await followers.follow(lambda record: heard.append(record.subject), lambda: None)
    second = await followers.follow(lambda record: later.append(record.subject), lambda: None)
    await broker.publish(Event.new("job.one.done", {}))
    await eventually(lambda: "job.one.done" in heard and "job.one.done" in later)

    await first.stop()
    await broker.publish(Event.new("job.two.done", {}))
    await eventually(lambda: "job.two.done" in later)
    await second.stop()

    assert "job.two.done" not in heard
    assert live.patterns == []
