"""Events published to a channel, as the real-time guide does, reach who reads the channel."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from edge.dialects.channel import CHANNEL_TYPES, EVENT_TYPES
from edge.http.channel_events import from_channel
from router.broker import Broker
from router.codec import rfc3339
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.test_channels import ask, channels
from tests.router.firings import raised


@pytest.mark.parametrize(
    ("channel", "event", "subject"),
    [
        ({"type": "job_progress", "id": "j"}, {"type": "job_progress", "progress": 0.5}, "job.j.job_progress"),
        ({"type": "video_render", "id": "j"}, {"type": "video_render_progress"}, "job.j.video_render_progress"),
        ({"type": "ai_stream", "id": "r"}, {"type": "council_score_stream"}, "agent.r.council_score_stream"),
        ({"type": "campaign_metrics", "id": "c.1"}, {}, "metric.c=2E1.campaign_metrics"),
        ({"type": "live_metrics", "id": "c"}, {}, "metric.c.live_metric_update"),
        ({"type": "alerts", "userId": "u"}, {"type": "alert"}, "alert._u.app.alert"),
        ({"type": "alerts"}, {"type": "alert"}, "alert.app.alert"),
    ],
)
def test_a_channel_is_a_subject(channel: dict[str, Any], event: dict[str, Any], subject: str) -> None:
    assert from_channel({"channel": channel, "event": event})["subject"] == subject


def test_every_channel_has_a_type_of_events() -> None:
    assert set(CHANNEL_TYPES) == set(EVENT_TYPES)


def test_id_and_time_are_said_beside_the_data() -> None:
    event = {"type": "job_progress", "id": "e1", "timestamp": "2026-11-26T20:00:00Z", "jobId": "j", "progress": 1}

    made = from_channel({"channel": {"type": "job_progress", "id": "j"}, "event": event})

    assert (made["id"], made["time"], made["data"]) == ("e1", "2026-11-26T20:00:00Z", {"jobId": "j", "progress": 1})


async def test_what_is_published_to_a_channel_reaches_its_readers(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    # As those of other tests, which may be stored here: it comes between.
    await raised(store, f"rule-{entity}", "all", title="all")
    now, mine, theirs = rfc3339(time.time_ns()), f"mine of {entity}", f"theirs of {entity}"
    alert = {"type": "alert", "severity": "warning", "category": "performance", "title": mine, "timestamp": now}
    progress = {"type": "job_progress", "jobId": entity, "status": "processing", "progress": 0.5, "timestamp": now}

    async with channels(edge, f"?userId={entity}") as socket:
        for kind, id in (("job_progress", entity), ("alerts", "")):
            assert (await ask(socket, type="subscribe", channel={"type": kind, "id": id}))["success"]
        await edge.publish({"channel": {"type": "job_progress", "id": entity}, "event": progress})
        await edge.publish({"channel": {"type": "alerts", "userId": "other"}, "event": {**alert, "title": theirs}})
        await edge.publish({"channel": {"type": "alerts", "userId": entity}, "event": alert})
        told = [await socket.next()]
        while told[-1].get("title") != mine:
            told.append(await socket.next())

    first = next(each for each in told if each["type"] == "job_progress")
    assert {name: first[name] for name in progress} == progress
    assert (told[-1]["type"], told[-1]["severity"]) == ("alert", "warning")
    assert theirs not in [each.get("title") for each in told]


@pytest.mark.parametrize(
    ("item", "code", "field"),
    [
        ({"channel": {"type": "weather"}, "event": {}}, "bad_event", "channel.type"),
        ({"channel": "job_progress", "event": {}}, "bad_event", "channel.type"),
        ({"channel": {"type": "job_progress"}, "event": {}}, "missing_field", "channel.id"),
        ({"channel": {"type": "job_progress", "id": 7}, "event": {}}, "bad_event", "channel.id"),
        ({"channel": {"type": "job_progress", "id": "j"}}, "missing_field", "event"),
        ({"channel": {"type": "job_progress", "id": "j"}, "event": {"type": 7}}, "bad_event", "event.type"),
        ({"channel": {"type": "job_progress", "id": "j"}, "event": {}, "subject": "a.b.c"}, "unknown_field", None),
        ({"channel": {"type": "job_progress", "id": "j" * 300}, "event": {}}, "bad_subject", None),
    ],
)
async def test_a_channel_that_is_none_is_refused_by_field(
    edge: RunningEdge, item: dict[str, Any], code: str, field: str | None
) -> None:
    answer = await edge.http.post("/events", content=json.dumps([item, item]))

    assert (answer.json()["code"], answer.json().get("field"), answer.json()["index"]) == (code, field, 0)
