"""Completes the data of a metric event: change, delta and percentage against the last one, significance from the counts.

What the producer has given stays as it is. A change is that to the last value known, so changes add up to the newest value less
the first; of a value that is seen for the first time it is 0. A percentage of a value that was 0 is not defined: it is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from router.ab_test import significance_of

Data = Mapping[str, Any]

# The integers that msgpack holds with either sign.
MAX_NUMBER = 2**63 - 1


def complete(type: str, previous: Data | None, data: Data) -> Data:
    """The data with what the producer left out; the same object where nothing is added. Never raises.

    `previous` is the data of the last stored event of the same type, subject and metric (see `same_metric`), None where there
    is none.
    """
    completer = _COMPLETERS.get(type)
    return data if completer is None else completer(previous or {}, data)


def same_metric(type: str, previous: Data, data: Data) -> bool:
    """Says whether two events of one type and subject are of the same metric, so that the one can be compared with the other."""
    return type not in NAMES or all(previous.get(name) == data.get(name) for name in NAMES[type])


# The fields that tell the metrics of one subject apart, by event type.
NAMES: Mapping[str, tuple[str, ...]] = {"live_metric_update": ("metric",), "metric": ("metric", "name")}


def is_completed(type: str) -> bool:
    """Says whether events of a type may lack something that is worked out from the last one."""
    return type in ("campaign_metrics", "live_metric_update", "metric")


def percent(before: float, now: float) -> float | None:
    """The change in percent of the value before; None where that was 0 and is not any more."""
    if before == 0:
        return 0.0 if now == 0 else None
    share = (now - before) / abs(before) * 100
    return share if math.isfinite(share) else None


def number(value: object) -> float | int | None:
    """The value where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # An integer that is larger than msgpack's could not be stored, nor its change.
    return value if -MAX_NUMBER <= value <= MAX_NUMBER or (isinstance(value, float) and math.isfinite(value)) else None


def difference(before: float | int, now: float | int) -> float | int:
    """The change of a number: whole where both are and msgpack can hold it; 0 where it is larger than any float."""
    found = now - before
    if isinstance(found, int) and not -MAX_NUMBER <= found <= MAX_NUMBER:
        return float(found)
    return found if math.isfinite(found) else 0


def changes(before: Data, now: Data) -> dict[str, float | int]:
    """The change of each number in a map; 0 for one that the map before did not have."""
    found: dict[str, float | int] = {}
    for name, value in now.items():
        if (new := number(value)) is not None:
            old = number(before.get(name))
            found[name] = 0 if old is None else difference(old, new)
    return found


def _campaign(previous: Data, data: Data) -> Data:
    metrics, given = data.get("metrics"), data.get("change")
    if not isinstance(metrics, Mapping) or not (given is None or isinstance(given, Mapping)):
        return data
    before = previous.get("metrics")
    found = changes(before if isinstance(before, Mapping) else {}, metrics)
    given = given or {}
    missing = {name: value for name, value in found.items() if name not in given}
    if "change" in data and data["change"] is not None and not missing:
        return data
    return {**data, "change": {**missing, **given}}


def _single(previous: Data, data: Data) -> Data:
    value = number(data.get("value"))
    if value is None:
        return data
    before = number(data.get("previousValue"))
    if before is None:
        before = number(previous.get("value"))
    given = number(data.get("delta"))
    if before is None and given is not None:
        before = difference(given, value)  # the producer knows what came before
    known = value if before is None else before
    found: dict[str, Any] = {}
    if data.get("delta") is None:
        found["delta"] = difference(known, value)
    if data.get("deltaPercent") is None:
        found["deltaPercent"] = percent(known, value)
    if all(name in data and data[name] == added for name, added in found.items()):
        return data
    return {**data, **found}


def _ab_test(_previous: Data, data: Data) -> Data:
    if data.get("significance") is not None:
        return data
    found = significance_of(data)
    return data if found is None else {**data, "significance": found}


_COMPLETERS: Mapping[str, Callable[[Data, Data], Data]] = {
    "campaign_metrics": _campaign,
    "live_metric_update": _single,
    "metric": _single,
    "ab_test_result": _ab_test,
}
