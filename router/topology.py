"""Declares every stream and bucket, as data; `router.provisioning` makes a server match.

Which streams hold the events says the layout (`router.layout`): EVENTS alone, or the shards of a later generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from router.layout import FIRST, ORIGINAL_STREAM, SHARDED_PREFIX, Layout, Shard
from router.subject import LIVE

SECOND = 1_000_000_000
MIB = 1024 * 1024

# All events, however many streams hold them; of generation 0 also the stream.
EVENTS = ORIGINAL_STREAM
FRAMES = "FRAMES"
HOOKS = "HOOKS"
RETRIES = "RETRIES"
DEADLETTERS = "DEADLETTERS"
ATTEMPTS = "ATTEMPTS"
PICTURES = "PICTURES"
RECORDINGS = "RECORDINGS"

SESSIONS = "SESSIONS"
RULES = "RULES"
ALERTS = "ALERTS"
LEASES = "LEASES"
JOBS = "JOBS"
ENDPOINTS = "ENDPOINTS"
RUNS = "RUNS"
STATES = "STATES"
LAYOUT = "LAYOUT"

# What is written to LAYOUT is republished under it.
LAYOUT_NOTICES = "live.layout."
# The entry of the layout has a few hundred bytes.
LAYOUT_MAX_BYTES = MIB

_STREAMS = {
    "ev": EVENTS,
    "frame": FRAMES,
    "hook": HOOKS,
    "retry": RETRIES,
    "dead": DEADLETTERS,
    "attempt": ATTEMPTS,
    "picture": PICTURES,
    "rec": RECORDINGS,
}

# Callboard starts without these where a server has no storage for them.
OPTIONAL: Final = frozenset({RECORDINGS})


def stream_of(subject: str) -> str:
    """Names the stream that takes a subject; "" where none does."""
    first, _, rest = subject.partition(".")
    if known := _STREAMS.get(first):
        return known
    if subject.startswith(SHARDED_PREFIX):
        generation, index, _ = (*rest.split(".", 2), "", "")[:3]
        return f"{EVENTS}_{generation}_{index}"
    return f"KV_{rest.partition('.')[0]}" if first == "$KV" else ""


def is_of_events(stream: str) -> bool:
    """Whether a stream is EVENTS, or a shard of it."""
    return stream == EVENTS or stream.startswith(f"{EVENTS}_")


@dataclass(frozen=True)
class TopologySettings:
    """Sizes and ages of what is kept. Ages in seconds, sizes in bytes; 0 means no limit."""

    replicas: int = 1
    events_max_age: float = 7 * 86400
    events_max_bytes: int = 1024 * MIB
    frames_max_age: float = 30
    frames_max_bytes: int = 256 * MIB
    hooks_max_bytes: int = 512 * MIB
    # What one webhook session may hold in HOOKS; what more there is for it waits in EVENTS. An eighth of what is free in
    # HOOKS is the most in any case.
    hooks_per_session: int = 50_000
    hooks_bytes_per_session: int = 32 * MIB
    deadletters_max_age: float = 30 * 86400
    deadletters_max_bytes: int = 256 * MIB
    attempts_max_age: float = 7 * 86400
    attempts_max_bytes: int = 256 * MIB
    # The last picture of each render pass and run; the oldest go first. 10,000 messages are as many pictures, or fewer where
    # they are larger than one message.
    pictures_max_age: float = 90 * 86400
    pictures_max_bytes: int = 256 * MIB
    pictures_max_messages: int = 10_000
    # What all recordings of cameras may hold; 2 GiB are about two hours of 1280×1024 at 30 pictures a second. A full one
    # refuses new pieces, and nothing that was recorded goes. An age of 0 keeps recordings until they are deleted.
    recordings_max_bytes: int = 2048 * MIB
    recordings_max_age: float = 0
    # Of each key-value bucket (sessions, rules, alerts, leases, jobs, endpoints, runs, states). A full one refuses new
    # keys; that of the runs forgets those that were written longest ago.
    buckets_max_bytes: int = 128 * MIB
    # Two minutes: a publisher that retries with the same id inside this window stores its event once.
    dedup_window: float = 120
    # Whether a process that starts makes the streams as they are declared here. Where a job of its own does (`callboard streams
    # apply`), the others need no right to change them, and only look that none is missing.
    apply_streams: bool = True


@dataclass(frozen=True)
class DeclaredStream:
    """One stream as it shall be: its name and its JetStream configuration."""

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def desired(self) -> dict[str, Any]:
        return {"name": self.name, **self.config}


def streams(settings: TopologySettings, layout: Layout = FIRST) -> list[DeclaredStream]:
    """All streams and buckets, in the order they are to be made; of the events those that take new ones.

    The streams of former generations are sealed: they can be read and deleted, and no more be changed.
    """
    return [
        *(event_stream(shard, settings) for shard in layout.current.shards),
        _frames(settings),
        _hooks(settings),
        _retries(settings),
        _deadletters(settings),
        _attempts(settings),
        _pictures(settings),
        _recordings(settings),
        *(_bucket(name, settings, markers=False) for name in (SESSIONS, RULES, ALERTS)),
        *(_bucket(name, settings, markers=True) for name in (LEASES, JOBS, ENDPOINTS, STATES)),
        _runs(settings),
        _layout(settings),
    ]


def _kept(settings: TopologySettings) -> dict[str, Any]:
    """What streams have in common that are kept on disk."""
    return {"storage": "file", "num_replicas": settings.replicas, "allow_direct": True}


def event_stream(shard: Shard, settings: TopologySettings) -> DeclaredStream:
    """The stream of one shard, which takes its part of the room for all events."""
    return DeclaredStream(
        shard.stream,
        {
            **_kept(settings),
            "subjects": [shard.stored(">")],
            "retention": "limits",
            "discard": "old",
            "max_age": int(settings.events_max_age * SECOND),
            "max_bytes": max(1, settings.events_max_bytes // shard.count) if settings.events_max_bytes else -1,
            "duplicate_window": int(settings.dedup_window * SECOND),
            # The live copies are under the same subjects, whichever stream they come from.
            "republish": {"src": shard.stored(">"), "dest": f"{LIVE}>"},
            # Figures of which only the latest counts (statistics of a render) expire by themselves.
            "allow_msg_ttl": True,
            "description": "every event, in the order it was said",
        },
    )


def _frames(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        FRAMES,
        {
            "storage": "memory",
            "num_replicas": 1,
            "allow_direct": True,
            "subjects": ["frame.>"],
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_age": int(settings.frames_max_age * SECOND),
            "max_bytes": settings.frames_max_bytes or -1,
            "no_ack": True,
            "description": "the latest picture of each track, for who joins late",
        },
    )


def _hooks(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        HOOKS,
        {
            **_kept(settings),
            "subjects": ["hook.q.*.*", "hook.park.*.*.*"],
            "retention": "workqueue",
            "discard": "new",
            "max_bytes": settings.hooks_max_bytes or -1,
            "max_msgs_per_subject": settings.hooks_per_session or -1,
            # Without a limit per subject the server accepts no policy for it.
            "discard_new_per_subject": settings.hooks_per_session > 0,
            "duplicate_window": 600 * SECOND,
            "description": "one job per event and webhook session",
        },
    )


def _retries(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        RETRIES,
        {
            **_kept(settings),
            # A schedule of an earlier version has no session in its subject.
            "subjects": ["retry.at.>", "retry.due.*.*"],
            "retention": "workqueue",
            "discard": "old",
            "allow_msg_schedules": True,
            "duplicate_window": 600 * SECOND,
            "description": "webhook retries, as scheduled messages",
        },
    )


def _deadletters(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        DEADLETTERS,
        {
            **_kept(settings),
            "subjects": ["dead.>"],
            "retention": "limits",
            "discard": "old",
            "max_age": int(settings.deadletters_max_age * SECOND),
            "max_bytes": settings.deadletters_max_bytes or -1,
            "duplicate_window": 600 * SECOND,
            "description": "what was given up, with the reason and the origin",
        },
    )


def _attempts(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        ATTEMPTS,
        {
            **_kept(settings),
            "subjects": ["attempt.*.*"],
            "retention": "limits",
            "discard": "old",
            "max_age": int(settings.attempts_max_age * SECOND),
            "max_bytes": settings.attempts_max_bytes or -1,
            "duplicate_window": int(settings.dedup_window * SECOND),
            "description": "every post of a webhook, and what it came to",
        },
    )


def _pictures(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        PICTURES,
        {
            **_kept(settings),
            "subjects": ["picture.>"],
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_msgs": settings.pictures_max_messages or -1,
            "max_age": int(settings.pictures_max_age * SECOND),
            "max_bytes": settings.pictures_max_bytes or -1,
            "description": "the last picture of each render pass and of each run",
        },
    )


def _recordings(settings: TopologySettings) -> DeclaredStream:
    return DeclaredStream(
        RECORDINGS,
        {
            **_kept(settings),
            "subjects": ["rec.>"],
            "retention": "limits",
            # What was recorded does not go for what is being recorded.
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_bytes": settings.recordings_max_bytes or -1,
            # Recorders delete whole recordings by their age; this is for those of cameras that are gone.
            "max_age": int((settings.recordings_max_age + 86400) * SECOND) if settings.recordings_max_age else 0,
            "description": "recordings of cameras: an entry each, and their pieces",
        },
    )


def _bucket(name: str, settings: TopologySettings, markers: bool) -> DeclaredStream:
    """A JetStream key-value bucket, as the NATS tools know it (`KV_<name>`, `$KV.<name>.>`).

    With `markers` the server also says by a marker that a value's TTL ran out.
    """
    config: dict[str, Any] = {
        "storage": "file",
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "subjects": [f"$KV.{name}.>"],
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "duplicate_window": 120 * SECOND,
        "max_bytes": settings.buckets_max_bytes or -1,
        # The marker that each delete leaves has a TTL; see `router.nats.bucket`.
        "allow_msg_ttl": True,
    }
    if markers:
        config |= {"subject_delete_marker_ttl": 60 * SECOND}
    return DeclaredStream(f"KV_{name}", config)


def _runs(settings: TopologySettings) -> DeclaredStream:
    """The bucket of the runs' lives. New runs must begin and end also where it is full of those that are long over."""
    bucket = _bucket(RUNS, settings, markers=False)
    return DeclaredStream(bucket.name, {**bucket.config, "discard": "old"})


def _layout(settings: TopologySettings) -> DeclaredStream:
    """The bucket of the entry that says which streams hold the events; each process is told of a change by core NATS."""
    bucket = _bucket(LAYOUT, settings, markers=False)
    republish = {"src": f"$KV.{LAYOUT}.>", "dest": f"{LAYOUT_NOTICES}>"}
    return DeclaredStream(bucket.name, {**bucket.config, "max_bytes": LAYOUT_MAX_BYTES, "republish": republish})


def is_expendable(stream: DeclaredStream, settings: TopologySettings) -> bool:
    """Whether a stream has fewer copies than the others: it is away with its only server, and nobody waits for it."""
    copies: int = stream.config["num_replicas"]
    return copies < settings.replicas
