"""The messages of the real-time guide's WebSocket: what each channel shows, and in which words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.channel import CHANNELS, Channel, ChannelState, newest_of
from edge.dialects.folding import Folding
from edge.transports.folding_encoders import FoldingFrameEncoder, FoldingTextEncoder
from edge.transports.frames import TEXT, frame
from edge.types import Batch, Notice
from router.codec import encode
from router.event import Event
from router.layout import Shard, generation
from router.position import placed
from router.record import Record
from tests.edge.dialects.folds import EPOCH, records_of

PROGRESS, RENDER = Channel("job_progress", "j"), Channel("video_render", "j")


def shown(channels: Sequence[Channel], records: list[Record]) -> list[dict[str, Any]]:
    folding = Folding(CHANNELS, {})
    for channel in channels:
        folding.tell(lambda state, channel=channel: state.subscribe(channel))  # type: ignore[misc]
    return [json.loads(text) for text in FoldingTextEncoder(folding).encode(Batch(records, EPOCH))]


def test_a_message_has_the_guide_s_bytes_and_the_cursor_behind_it() -> None:
    folding = Folding(CHANNELS, {})
    folding.tell(lambda state: state.subscribe(PROGRESS))
    records = records_of(("job_progress", {"status": "processing", "progress": 0.5}), subject="job.j")
    text = (
        b'{"jobId":"j","timestamp":"2023-11-14T22:13:21.123456Z","id":"e1","status":"processing","progress":0.5,'
        b'"type":"job_progress","cursor":"1-5f3a9c1e-000000000001-00000001"}'
    )

    assert FoldingFrameEncoder(folding).encode(Batch(records, EPOCH)) == frame(TEXT, text)


def test_a_job_is_shown_by_its_state_until_it_says_its_progress_itself() -> None:
    state = ("state", {"status": "running", "progress": 0.25, "message": "m"})
    records = records_of(state, ("video_render_progress", {"progress": 0.5}), state, subject="job.j")

    said = shown([PROGRESS, RENDER], records)

    assert [(each["type"], each["progress"]) for each in said] == [
        ("job_progress", 0.25), ("video_render_progress", 0.25), ("video_render_progress", 0.5), ("job_progress", 0.25),
    ]  # fmt: skip
    assert (said[0]["jobId"], said[0]["status"], said[0]["message"]) == ("j", "processing", "m")


@pytest.mark.parametrize(
    ("channel", "subject", "event", "said"),
    [
        (
            Channel("live_metrics", "c"), "metric.c", ("metric", {"name": "roas", "value": 3, "delta": 1}),
            {"type": "live_metric_update", "entityId": "c", "metric": "roas", "value": 3, "delta": 1},
        ),
        (
            Channel("campaign_metrics", "c"), "metric.c", ("campaign_metrics", {"metrics": {"clicks": 5}}),
            {"type": "campaign_metrics", "metrics": {"clicks": 5}},
        ),
        (
            Channel("ai_stream", "r"), "agent.r", ("ai_stream_chunk", {"chunk": "a", "model": "m"}),
            {"type": "ai_stream_chunk", "chunk": "a", "model": "m"},
        ),
        (
            Channel("alerts"), "alert.cpc", ("firing", {"alert": "a1", "severity": "warning", "title": "High CPC", "entity": "c"}),
            {"type": "alert", "alertId": "a1", "severity": "warning", "title": "High CPC", "entityId": "c", "actionRequired": False},
        ),
    ],
)  # fmt: skip
def test_a_channel_shows_its_own_events_and_no_others(
    channel: Channel, subject: str, event: tuple[str, dict[str, Any]], said: dict[str, Any]
) -> None:
    records = records_of(event, ("resolved", {}), ("output", {}), subject=subject)

    (only,) = shown([channel], records)

    assert said.items() <= only.items()
    assert shown([channel._replace(type="job_progress", id="other")], records) == []


def test_what_happens_to_the_connection_is_said_in_the_guide_s_words() -> None:
    encoder = FoldingTextEncoder(Folding(CHANNELS, {}))

    def of(control: str, **body: Any) -> dict[str, Any]:
        (text,) = encoder.notice(Notice(control, body))
        return json.loads(text)

    assert of("ready")["message"] == "Connected to real-time service"
    assert of("heartbeat", server_time="now") == of("position", server_time="now") == {
        "type": "heartbeat", "serverTime": "now"
    }  # fmt: skip
    assert of("bye", reason="shutdown", reconnect=True)["message"] == "Server shutting down"
    assert of("gap", reason="beyond_retention")["type"] == "gap"


CHANNEL = st.builds(
    Channel, st.sampled_from(["job_progress", "alerts"]), st.sampled_from(["a", "b"]), st.sampled_from(["", "u"])
)


@given(st.lists(CHANNEL), CHANNEL)
def test_what_was_unsubscribed_is_gone_and_nothing_else(channels: list[Channel], gone: Channel) -> None:
    state = ChannelState()
    for channel in channels:
        state = state.subscribe(channel).subscribe(channel)

    left = state.unsubscribe(gone).channels

    assert len(set(state.channels)) == len(state.channels)
    assert set(state.channels) - set(left) == {
        each for each in channels if (each.type, each.id) == (gone.type, gone.id) and gone.user in ("", each.user)
    }


def test_what_was_found_for_who_subscribed_late_is_shown_once_and_never_behind_newer() -> None:
    records = records_of(*(("job_progress", {"progress": share / 10}) for share in range(1, 5)), subject="job.j")
    messages, upto, native = newest_of(PROGRESS, records[:3], EPOCH)
    folding = Folding(CHANNELS, {})
    folding.tell(lambda state: state.subscribe(PROGRESS))

    assert ([json.loads(text)["progress"] for text in messages], native) == ([0.3], True)
    assert folding.state.awaited == {PROGRESS}
    folding.tell(lambda state: state.catch_up(PROGRESS, upto, native))
    encoder = FoldingTextEncoder(folding)
    # The third one comes live as well.
    assert [json.loads(text)["progress"] for text in encoder.encode(Batch(records[2:], EPOCH))] == [0.4]

    late = Folding(CHANNELS, {})
    late.tell(lambda state: state.subscribe(PROGRESS))
    FoldingTextEncoder(late).encode(Batch(records[3:], EPOCH))
    assert late.state.awaited == frozenset()
    assert newest_of(PROGRESS, [], EPOCH) == ([], None, False)


def test_what_was_found_in_several_shards_is_shown_once_whatever_their_sequences() -> None:
    one, other = generation(2, 2).shards
    # A job's and an agent's events of one name, each in a shard of its own; that of the agent is the newest.
    job, newer = (_placed(one, number, "job", 0.1 * number) for number in (7, 8))
    agent, last = (_placed(other, number, "agent", 0.1 * number) for number in (2, 3))
    old = _placed(generation(1, 1).shards[0], 90, "job", 0.9)
    messages, upto, native = newest_of(PROGRESS, [job, agent], EPOCH)
    folding = Folding(CHANNELS, {})
    folding.tell(lambda state: state.subscribe(PROGRESS).catch_up(PROGRESS, upto, native))

    assert [json.loads(text)["progress"] for text in messages] == [0.2]
    batch = Batch([old, job, agent, last, newer], EPOCH)
    said = [json.loads(text)["progress"] for text in FoldingTextEncoder(folding).encode(batch)]
    assert said == pytest.approx([0.3, 0.8])


def _placed(shard: Shard, sequence: int, domain: str, progress: float) -> Record:
    event = Event.new(f"{domain}.j.job_progress", {"progress": progress}, id=f"{domain}{sequence}")
    record = Record(sequence, str(event.subject), encode(event), check=sequence, shard=shard)
    record.place(placed(shard, sequence), f"2-{sequence}")
    return record
