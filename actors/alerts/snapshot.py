"""Writes what the alert engine knows as JSON, and reads it again: one part that cannot be read costs only itself."""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Any

from actors.alerts.episodes import Episode
from actors.alerts.lanes import Lane
from actors.alerts.watch import Watch
from router.codec import decode, encode
from router.errors import BadInput
from router.event import Event

log = logging.getLogger(__name__)

VERSION = 1
DIGEST = 8
# Events that are known again after a restart: what an actor may have in hand, many times over. 8 bytes each.
MAX_MARKS = 1024

_FAULTS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


def digest(mark: str) -> bytes:
    """Eight bytes that stand for an event."""
    return blake2b(mark.encode(), digest_size=DIGEST).digest()


def dump_marks(recent: Collection[str], before: Iterable[bytes]) -> str:
    """The digests of the newest events."""
    found = [digest(mark) for mark in list(recent)[-MAX_MARKS:]]
    older = sorted(set(before) - set(found))[: MAX_MARKS - len(found)]
    return b64encode(b"".join(older + found)).decode()


def load_marks(raw: object) -> frozenset[bytes]:
    """The digests that `dump_marks` wrote; none, if it is something else."""
    try:
        whole = b64decode(str(raw or ""), validate=True)
    except ValueError:
        return frozenset()
    return frozenset(whole[at : at + DIGEST] for at in range(0, len(whole), DIGEST))


def dump_lane(lane: Lane[Watch]) -> dict[str, Any]:
    """The events that wait, and the horizon."""
    events = []
    for event in lane.waiting:
        try:
            events.append(b64encode(encode(event)).decode())
        except BadInput as fault:
            log.warning(
                "event that waits for its turn cannot be stored; a restart loses it",
                extra={"event": event.id, "fault": str(fault)},
            )
    return {"horizon": lane.horizon, "events": events}


def load_lane(lane: Lane[Watch], raw: Any) -> list[Event]:
    """Takes the horizon and returns the events that waited."""
    events: list[Event] = []
    try:
        lane.horizon = int(raw["horizon"])
        events.extend(decode(b64decode(each, validate=True)) for each in raw["events"])
    except (*_FAULTS, BadInput) as fault:
        log.warning(
            "stored events of the alert engine cannot be read; they are passed over", extra={"fault": str(fault)}
        )
    return events


def dump_watch(watch: Watch) -> dict[str, Any]:
    """What a rule knows of its keys; empty where it knows nothing."""
    condition = watch.rule.condition
    keys = {key: each.dump(condition.dump(each.memory)) for key, each in watch.episodes.items()}
    found: dict[str, Any] = {"keys": keys} if keys else {}
    if watch.groups is not None and (groups := watch.groups.dump()):
        found["groups"] = groups
    return found


def load_watch(watch: Watch, raw: Any) -> int:
    """Takes what `dump_watch` wrote; returns how many parts could not be read."""
    bad = 0
    condition = watch.rule.condition
    keys = raw.get("keys", {}) if isinstance(raw, dict) else {}
    for key, each in keys.items() if isinstance(keys, dict) else ():
        try:
            memory = condition.load(each["memory"]) if each.get("memory") is not None else condition.begin()
            watch.restore(Episode.load(str(key), memory, each))
        except _FAULTS as fault:
            bad += 1
            log.warning(
                "stored state of an alert rule cannot be read; its key begins anew",
                extra={"rule": watch.rule.name, "fault": str(fault)},
            )
    try:
        if watch.groups is not None and isinstance(raw, dict):
            watch.groups.load(raw.get("groups", {}))
    except _FAULTS as fault:
        bad += 1
        log.warning(
            "stored groups of an alert rule cannot be read; they begin anew",
            extra={"rule": watch.rule.name, "fault": str(fault)},
        )
    return bad
