"""A gap is published as one event, however often it is reported."""

from __future__ import annotations

from prometheus_client import REGISTRY

from edge.webhooks.fanout.gaps import publish_gap
from router.layout import ORIGINAL, generation
from tests.edge.webhooks.fanout.fanning import NOWHERE
from tests.edge.webhooks.stage import Stage


async def test_a_gap_is_stored_once_and_names_its_session_its_stream_and_its_range(stage: Stage):
    session = await stage.session(NOWHERE)
    before = REGISTRY.get_sample_value("edge_webhook_gap_events_total") or 0.0

    for shard in (ORIGINAL, ORIGINAL, *generation(1, 2).shards):
        await publish_gap(stage.broker, session, shard, 4, 9)

    page = await stage.broker.read(">", 0)
    events = [record.event for record in page.records if record.event is not None]
    assert [event.data["stream"] for event in events] == ["EVENTS", "EVENTS_1_0", "EVENTS_1_1"]
    assert events[0].id == f"{session.id}.gap.4.9"
    for event in events:
        wanted = {"session_id": session.id, "reason": "retention", "first": 4, "last": 9, "events": 6}
        assert wanted.items() <= event.data.items()
    assert REGISTRY.get_sample_value("edge_webhook_gap_events_total") == before + 24
