"""Merges the data of two events of one type into those of one that stands for both, by the reducers that the type declares.

- `sum`, `max`: of numbers; of maps, key by key. What is missing in one is that of the other.
- `last`: the later value, or the earlier one where the later has none; of maps, key by key.
- `concat`: of texts; the last 64 Ki characters are kept.

A field may be inside another (`stats.count`). Fields without a reducer are those of the later event. Where a field has values
of one kind, merging is associative but for the rounding of floats: however a window is cut into parts, the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router.metrics_delta import difference, number, percent

MAX_TEXT = 64 * 1024

Data = Mapping[str, Any]


def merge(reducers: Mapping[str, str], earlier: Data, later: Data) -> dict[str, Any]:
    """The data of one event that stands for both. Neither is changed."""
    merged = dict(later)
    for path, reducer in reducers.items():
        _merge_field(merged, path.split("."), _REDUCERS[reducer], earlier)
    if reducers.get("delta") == "sum" and ("deltaPercent" in earlier or "deltaPercent" in later):
        # Percentages do not add up: this one is of the summed delta.
        value, delta = number(merged.get("value")), number(merged.get("delta"))
        if value is not None and delta is not None:
            merged["deltaPercent"] = percent(difference(delta, value), value)
    return merged


def _merge_field(merged: dict[str, Any], path: list[str], reduce: Callable[[Any, Any], Any], earlier: Data) -> None:
    name, *rest = path
    if name not in earlier:
        return
    if not rest:
        merged[name] = _merged(reduce, earlier[name], merged.get(name))
        return
    inner, before = merged.get(name), earlier[name]
    if isinstance(before, Mapping) and (inner is None or isinstance(inner, Mapping)):
        inner = dict(inner or {})
        _merge_field(inner, rest, reduce, before)
        merged[name] = inner


def _merged(reduce: Callable[[Any, Any], Any], before: Any, now: Any) -> Any:
    if now is None:
        return before
    if before is None:
        return now
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return {**before, **{name: _merged(reduce, before.get(name), value) for name, value in now.items()}}
    return reduce(before, now)


def _sum(before: Any, now: Any) -> Any:
    one, other = number(before), number(now)
    # Adding is taking away the opposite; `difference` keeps the result within what msgpack holds.
    return now if one is None or other is None else difference(-one, other)


def _max(before: Any, now: Any) -> Any:
    one, other = number(before), number(now)
    return now if one is None or other is None else max(one, other)


def _last(_before: Any, now: Any) -> Any:
    return now


def _concat(before: Any, now: Any) -> Any:
    return (before + now)[-MAX_TEXT:] if isinstance(before, str) and isinstance(now, str) else now


_REDUCERS: Mapping[str, Callable[[Any, Any], Any]] = {"sum": _sum, "max": _max, "last": _last, "concat": _concat}
