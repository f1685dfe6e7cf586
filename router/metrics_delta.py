"""Completes the data of a metric event: change, delta and percentage against the last one, significance from the counts.

What the producer has given stays as it is. Only events of one key are compared (`key_of`). A change is that to the last value known
of the same name, so changes add up to the newest value less the first. Of a value that is seen for the first time it is not known,
and left out. A percentage of a value that was 0 is not defined: it is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from router import catalogue
from router.ab_test import significance_of

Data = Mapping[str, Any]

# The integers that msgpack holds with either sign.
MAX_NUMBER = 2**63 - 1


def complete(type: str, previous: Data | None, data: Data) -> Data:
    """The data with what the producer left out; the same object where nothing is added. Never raises.

    `previous` are the last values of the same type, subject and key (see `remember`), None where there are none.
    """
    completer = _COMPLETERS.get(type)
    return data if completer is None else completer(previous or {}, data)


def key_of(type: str, data: Data, domain: str = "") -> tuple[str, ...]:
    """What tells the metrics of one subject apart: the type, and what the catalogue declares as its key."""
    return type, *(repr(value) for value in catalogue.find(type, domain).key_of(data))


def is_incomplete(type: str, data: Data) -> bool:
    """Says whether the data lack something that is worked out from the last values."""
    if type == "campaign_metrics":
        return bool(_unsaid(data))
    if type not in ("live_metric_update", "metric") or number(data.get("value")) is None:
        return False
    return data.get("delta") is None or data.get("deltaPercent") is None


def remember(type: str, previous: Data | None, data: Data) -> Data:
    """The last value of every name after an event: its own, and those of before that it does not have."""
    if type != "campaign_metrics":
        return data if previous is None or number(data.get("value")) is not None else previous
    return {"metrics": {**_figures((previous or {}).get("metrics")), **_figures(data.get("metrics"))}}


def is_unknown(type: str, previous: Data | None, data: Data) -> bool:
    """Says whether the data have a value that is to be compared and has no last one in `previous`."""
    if type == "campaign_metrics":
        return not _unsaid(data) <= _figures((previous or {}).get("metrics")).keys()
    return number((previous or {}).get("value")) is None


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
    """The change of each number in a map that the map before had, too."""
    found: dict[str, float | int] = {}
    for name, value in now.items():
        new, old = number(value), number(before.get(name))
        if new is not None and old is not None:
            found[name] = difference(old, new)
    return found


def _figures(metrics: object) -> dict[str, float | int]:
    """The numbers of a map."""
    given = metrics.items() if isinstance(metrics, Mapping) else ()
    return {name: figure for name, value in given if (figure := number(value)) is not None}


def _unsaid(data: Data) -> set[str]:
    """The names of a campaign's figures whose change the producer has not given."""
    given = data.get("change")
    if not (given is None or isinstance(given, Mapping)):
        return set()
    return {name for name in _figures(data.get("metrics")) if given is None or name not in given}


def _campaign(previous: Data, data: Data) -> Data:
    unsaid = _unsaid(data)
    before = _figures(previous.get("metrics"))
    found = {
        name: difference(before[name], value)
        for name, value in _figures(data.get("metrics")).items()
        if name in unsaid and name in before
    }
    return {**data, "change": {**found, **(data.get("change") or {})}} if found else data


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
    if before is None:
        return data
    found: dict[str, Any] = {}
    if data.get("delta") is None:
        found["delta"] = difference(before, value)
    if data.get("deltaPercent") is None:
        found["deltaPercent"] = percent(before, value)
    if all(name in data and data[name] == added for name, added in found.items()):
        return data
    return {**data, **found}


def _ab_test(_previous: Data, data: Data) -> Data:
    if data.get("significance") is not None:
        return data
    found = significance_of(data)
    if found is None:
        return data
    completed = {**data, "significance": found}
    if data.get("statisticalSignificance") is None:
        # The confidence that the clearest difference is no chance.
        completed["statisticalSignificance"] = 1 - min(each["p_adjusted"] for each in found["comparisons"])
    return completed


_COMPLETERS: Mapping[str, Callable[[Data, Data], Data]] = {
    "campaign_metrics": _campaign,
    "live_metric_update": _single,
    "metric": _single,
    "ab_test_result": _ab_test,
}
