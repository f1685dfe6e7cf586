"""The dialect of the geminivideo guide's WebSocket: channels that a client subscribes to, and events as objects with a `type`.

A channel is a type and an id, or for alerts a user. What a client has subscribed to is the state of its fold, beside which jobs
publish in the guide's own shapes: the others are shown by the state that the agent actor keeps of them. Who subscribes late is
shown the newest event of the channel first, unless a newer one came meanwhile.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from edge.dialects.dialect import Body, DialectPart, FoldedDialect
from edge.dialects.geminivideo import event_shape, progress_of_state, render_of_state
from router.alerts import channel_of, subjects
from router.codec import rfc3339, to_json
from router.event import Event
from router.position import Position, placed
from router.record import Record
from router.subject import Subject, escape, unescape

JOB_PROGRESS, VIDEO_RENDER, AI_STREAM, ALERTS = "job_progress", "video_render", "ai_stream", "alerts"
_AI_TYPES = frozenset({"ai_stream_chunk", "council_score_stream", "ai_evaluation_stream"})
# The types of events under `metric.<id>` that a channel shows.
_METRICS: Mapping[str, frozenset[str]] = {
    "campaign_metrics": frozenset({"campaign_metrics"}),
    "ab_test_results": frozenset({"ab_test_result"}),
    "live_metrics": frozenset({"live_metric_update", "metric"}),
}
# The type of an event that a producer publishes to a channel without saying it.
EVENT_TYPES: Mapping[str, str] = {
    JOB_PROGRESS: "job_progress",
    VIDEO_RENDER: "video_render_progress",
    AI_STREAM: "ai_stream_chunk",
    ALERTS: "alert",
    "campaign_metrics": "campaign_metrics",
    "ab_test_results": "ab_test_result",
    "live_metrics": "live_metric_update",
}
# The name of the alerts that applications raise themselves, where others have that of their rule.
APPLICATION = "app"
CHANNEL_TYPES = (JOB_PROGRESS, VIDEO_RENDER, AI_STREAM, ALERTS, *_METRICS)
_RUNS = ("job", "agent")


class Channel(NamedTuple):
    """One channel of the guide. `id` names a job or an entity, `user` whose alerts; each may be empty."""

    type: str
    id: str = ""
    user: str = ""

    @property
    def is_named(self) -> bool:
        """Whether it says of what it is; alerts without a user are for everybody."""
        return bool(self.id) or self.type == ALERTS

    def subject(self, kind: str) -> Subject:
        """Where an event of this type is published to it. Raises BadSubject."""
        if self.type == ALERTS:
            return subjects(APPLICATION, [self.user] if self.user else [], kind)[0]
        domain = "metric" if self.type in _METRICS else "agent" if self.type == AI_STREAM else "job"
        return Subject.of(domain, self.id, kind)

    def patterns(self) -> tuple[str, ...]:
        """The subjects that it shows events of."""
        token = escape(self.id)
        if self.type == ALERTS:
            return ("alert.*.*", *((channel_of(self.user),) if self.user else ()))
        if self.type in _METRICS:
            return tuple(f"metric.{token}.{kind}" for kind in sorted(_METRICS[self.type]))
        domains = (*_RUNS, "thread") if self.type == AI_STREAM else _RUNS
        return tuple(f"{domain}.{token}.>" for domain in domains)


class ChannelState(NamedTuple):
    """What a client has subscribed to, and which jobs' channels have events of their own.

    `awaited` are channels whose newest event is being looked for, `caught_up` up to where in EVENTS those were shown that it was found of.
    """

    channels: tuple[Channel, ...] = ()
    native: frozenset[Channel] = frozenset()
    awaited: frozenset[Channel] = frozenset()
    caught_up: tuple[tuple[Channel, Position], ...] = ()

    def subscribe(self, channel: Channel) -> ChannelState:
        """The state with this channel."""
        if channel in self.channels:
            return self
        awaited = self.awaited if channel.type == AI_STREAM else self.awaited | {channel}
        return self._replace(channels=(*self.channels, channel), awaited=awaited)

    def shown(self, channel: Channel, record: Record) -> ChannelState | None:
        """The state behind an event that a channel is shown; None where it was shown already."""
        if self.caught_up and (upto := dict(self.caught_up).get(channel)) is not None and upto.covers(record):
            return None
        return self._replace(awaited=self.awaited - {channel}) if channel in self.awaited else self

    def catch_up(self, channel: Channel, upto: Position | None, native: bool = False) -> ChannelState:
        """The state behind the newest event of a channel, which was looked for."""
        others = tuple(each for each in self.caught_up if each[0] != channel)
        return self._replace(
            awaited=self.awaited - {channel},
            caught_up=(*others, (channel, upto)) if upto is not None else others,
            native=self.native | {channel} if native else self.native,
        )

    def unsubscribe(self, channel: Channel) -> ChannelState:
        """The state without the channels of this type; of this id and user, where they are named."""
        gone = {
            each
            for each in self.channels
            if each.type == channel.type and channel.id in ("", each.id) and channel.user in ("", each.user)
        }
        return ChannelState(
            tuple(each for each in self.channels if each not in gone),
            self.native - gone,
            self.awaited - gone,
            tuple(each for each in self.caught_up if each[0] not in gone),
        )


def _begin(_parameters: Mapping[str, str]) -> ChannelState:
    return ChannelState()


def _step(state: ChannelState, record: Record, epoch: str) -> tuple[ChannelState, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    entity = unescape(event.subject.entity)
    if event.subject.domain == "alert":
        state, shapes = _alert(state, event)
    elif event.subject.domain == "metric":
        state, shapes = _metric(state, entity, event, record)
    else:
        state, shapes = _run(state, entity, event, record)
    cursor = record.cursor(epoch)
    return state, [DialectPart(to_json({**shape, "cursor": cursor})) for shape in shapes]


def _run(state: ChannelState, name: str, event: Event, record: Record) -> tuple[ChannelState, list[dict[str, Any]]]:
    shapes: list[dict[str, Any]] = []
    if event.type in _AI_TYPES and Channel(AI_STREAM, name) in state.channels:
        shapes.append(event_shape(event))
    for kind, own, of_state in (
        (JOB_PROGRESS, "job_progress", progress_of_state),
        (VIDEO_RENDER, "video_render_progress", render_of_state),
    ):
        channel = Channel(kind, name)
        if channel not in state.channels:
            continue
        native = event.type == own
        if not native and (event.type != "state" or channel in state.native):
            continue
        if (after := state.shown(channel, record)) is None:
            continue
        state = after
        if native:
            state = state._replace(native=state.native | {channel})
            shapes.append({"jobId": name, **event_shape(event)})
        else:
            shapes.append(of_state(name, event))
    return state, shapes


def _metric(
    state: ChannelState, entity: str, event: Event, record: Record
) -> tuple[ChannelState, list[dict[str, Any]]]:
    wanted = [
        each
        for each in state.channels
        if each.id == entity and each.type in _METRICS and event.type in _METRICS[each.type]
    ]
    if not wanted or (after := state.shown(wanted[0], record)) is None:
        return state, []
    return after, [_metric_shape(entity, event)]


def _metric_shape(entity: str, event: Event) -> dict[str, Any]:
    if event.type != "metric":
        return event_shape(event)
    data = event.data
    name = data.get("metric") or data.get("name")
    return {
        "type": "live_metric_update",
        "entityId": entity,
        "metric": name,
        "value": data.get("value"),
        "delta": data.get("delta"),
        "deltaPercent": data.get("deltaPercent"),
        "timestamp": rfc3339(event.time),
        "id": event.id,
    }


def _alert(state: ChannelState, event: Event) -> tuple[ChannelState, list[dict[str, Any]]]:
    """An alert that fires, of a rule or of an application; the guide knows no other."""
    if event.type not in ("firing", "alert") or not any(each.type == ALERTS for each in state.channels):
        return state, []
    return state, [alert_shape(event.data, rfc3339(event.time), event.id)]


def alert_shape(data: Mapping[str, Any], timestamp: str, id: str) -> dict[str, Any]:
    """An alert as the guide has it, of the data of its event."""
    entity = data.get("entity")
    return {
        "type": "alert",
        "alertId": data.get("alertId") or data.get("alert") or id,
        "severity": data.get("severity"),
        "category": data.get("category"),
        "title": data.get("title"),
        "message": data.get("message"),
        "entityId": data.get("entityId") or (entity if isinstance(entity, str) else None),
        "entityType": data.get("entityType"),
        "actionRequired": bool(data.get("actionRequired") or data.get("actions")),
        "actions": list(data.get("actions") or ()),
        "timestamp": timestamp,
        "id": id,
    }


def newest_of(channel: Channel, records: Iterable[Record], epoch: str) -> tuple[list[bytes], Position | None, bool]:
    """The messages that show the newest event of a channel, of the newest of each subject: oldest first.

    Also up to where they reach, None where there are none, and whether the channel has events of its own. The subjects of a
    channel may be in several shards.
    """
    state = ChannelState((channel,))
    shown: list[bytes] = []
    upto: Position | None = None
    looked: Position | None = None
    for record in records:
        if record.event is None:
            continue
        looked = placed(record.shard, record.sequence) if looked is None else looked.after(record)
        state, parts = _step(state, record, epoch)
        if not parts:
            continue
        upto = looked
        if channel.type in _METRICS:
            shown += (part.data for part in parts)
        else:
            shown = [part.data for part in parts]
    return shown, upto, channel in state.native


def say(**said: Any) -> bytes:
    """A message to the client, with the time."""
    return to_json({**said, "timestamp": rfc3339(time.time_ns())})


# The control of what is found for who subscribed late; its body has the messages as they are.
NEWEST = "newest"


def _messages(_state: ChannelState, control: str, body: Body) -> Sequence[bytes]:
    if control == NEWEST:
        return tuple(body["messages"])
    if control == "ready":
        return (say(type="connected", message="Connected to real-time service", clientId=f"ws_{secrets.token_hex(6)}"),)
    if control in ("heartbeat", "position"):
        return (to_json({"type": "heartbeat", "serverTime": body["server_time"]}),)
    if control == "bye":
        message = "Server shutting down" if body["reason"] == "shutdown" else body["reason"]
        return (say(type="disconnected", message=message, reconnect=body["reconnect"]),)
    return (to_json({**body, "type": control}),)


CHANNELS = FoldedDialect(name="geminivideo-channels", messages=_messages, begin=_begin, step=_step)
