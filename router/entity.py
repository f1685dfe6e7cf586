"""Puts the state of an entity together: a whole snapshot of its metrics, and the changes since.

`metric.<entity>.state` is whole: `{entity, part, entity_type, version, values, change, previous_version, tests, updated}`.
`metric.<entity>.changed` has what is different from the snapshot of version `base`, all of it, as it is in `version`:
`{entity, part, base, version, values, change, tests, updated}`; null stands for a value or test that is no more. So of changes with the
same base only the newest is needed, and a client that has any version from `base` on may apply it. One that has an older version
has missed a snapshot: it takes the next one, or asks for the whole.

Where the data of an event name another campaign or entity (`campaignId`, `entityId`) than its subject, several share the subject,
and each is a `part` with a state of its own: `metric.<entity>.<part>.state` and `.changed`. Here a token is what stands between
domain and type: that of an entity, or of an entity and its part.

`values` are the last numbers by name and `change` what they differ by from version `previous_version`, or `base`; a value that
was not there then has none. `tests` are A/B tests by id: the figures of their variants and the significance of the result
(`router.ab_test`), or null and the `significance_reason` why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.event import Event
from router.subject import escape, unescape

Data = Mapping[str, Any]

STATE, CHANGED = "state", "changed"

# The fields that name what the figures of a type are of.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "campaign_metrics": ("campaignId", "campaign_id"),
    "live_metric_update": ("entityId", "entity_id"),
}


def token_of(event: Event) -> str:
    """The token of the entity, or of the part of one, that an event with figures is of."""
    entity = event.subject.entity
    for field in _NAMES.get(event.type, ()):
        if isinstance(part := event.data.get(field), str) and part:
            return entity if escape(part) == entity else f"{entity}.{escape(part)}"
    return entity


def token_of_state(subject: str) -> str:
    """The token of which a subject is the state or the changes."""
    return ".".join(subject.split(".")[1:-1])


def token(entity: str, part: str | None = None) -> str:
    """The token of an entity, or of a part of it."""
    return escape(entity) if part is None else f"{escape(entity)}.{escape(part)}"


def names_of(token: str) -> tuple[str, str | None]:
    """The names of an entity and of its part; None for the entity itself."""
    entity, _, part = token.partition(".")
    return unescape(entity), unescape(part) if part else None


def version_of(data: Data) -> int:
    """The version of a snapshot or of a change; 0 for data that are neither."""
    version = data.get("version")
    return version if isinstance(version, int) and not isinstance(version, bool) and version > 0 else 0


def apply(whole: Data, changed: Data) -> Data | None:
    """The state after a change; the same one where the change is older. None where a snapshot between them was missed."""
    version, base = version_of(whole), changed.get("base")
    if not isinstance(base, int) or version_of(changed) <= version:
        return whole
    if base > version:
        return None
    return {
        **whole,
        "version": version_of(changed),
        "values": _applied(whole.get("values"), changed.get("values")),
        "change": changed.get("change") or {},
        "previous_version": base,
        "tests": _applied(whole.get("tests"), changed.get("tests")),
        "updated": changed.get("updated"),
    }


def _applied(before: object, now: object) -> dict[str, Any]:
    found = dict(before) if isinstance(before, Mapping) else {}
    for name, value in now.items() if isinstance(now, Mapping) else ():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found
