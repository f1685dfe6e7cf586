"""Puts the state of an entity together: a whole snapshot of its metrics, and the changes since.

`metric.<entity>.state` is whole: `{entity, entity_type, version, values, change, previous_version, tests, updated}`.
`metric.<entity>.changed` has what is different from the snapshot of version `base`, all of it, as it is in `version`:
`{entity, base, version, values, change, tests, updated}`; null stands for a value or test that is no more. So of changes with the
same base only the newest is needed, and a client that has any version from `base` on may apply it. One that has an older version
has missed a snapshot: it takes the next one, or asks for the whole.

`values` are the last numbers by name and `change` what they differ by from version `previous_version`, or `base`. `tests` are A/B
tests by id: the figures of their variants and the significance of the result (`router.ab_test`), or null and the
`significance_reason` why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]

STATE, CHANGED = "state", "changed"


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
