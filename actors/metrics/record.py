"""Folds the metric events of one entity into its state, and says what of it is different from the last snapshot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from actors.system.actor import Reject
from router.ab_test import MAX_VARIANTS, significance_of, variants_of, why_not
from router.codec import rfc3339
from router.entity import Data, apply, names_of, version_of
from router.event import Event
from router.metrics_delta import changes, number
from router.subject import unescape

# 256 values and 16 tests of an entity: what somebody looks at. Beyond that those that changed longest ago go.
MAX_VALUES = 256
MAX_TESTS = 16
MAX_FIGURES = 32
MAX_NAME = 128

TYPES = frozenset({"campaign_metrics", "live_metric_update", "metric", "ab_test_result"})


@dataclass(slots=True)
class EntityRecord:
    """One entity. `updated` in ns since the epoch, `told` and `snapped` on the actor's clock."""

    token: str
    version: int = 0
    entity_type: str | None = None
    # In the order in which they changed.
    values: dict[str, float | int] = field(default_factory=dict)
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)
    updated: int = 0
    # The last snapshot: its version and values.
    base: int = 0
    base_values: dict[str, float | int] = field(default_factory=dict)
    # The names of those that were other at any time since.
    touched: dict[str, None] = field(default_factory=dict)
    touched_tests: dict[str, None] = field(default_factory=dict)
    # Whether something is different from what was published last, when that was, and when the last snapshot was.
    pending: bool = False
    told: float = -math.inf
    snapped: float = -math.inf
    # When each source said each value, so that what is delivered again does not undo what came since.
    _said: dict[str, tuple[str, int]] = field(default_factory=dict)

    def fold(self, event: Event) -> bool:
        """Takes an event; says whether it changed something. Raises Reject, and then nothing is changed."""
        found = _figures_of(event)
        entity_type = event.data.get("entityType", event.data.get("entity_type"))
        changed = False
        for name, value in found.items():
            if self._is_repeat(name, event):
                continue
            self._said[name] = event.source, event.time
            if name not in self.values or self.values[name] != value:
                self.values.pop(name, None)
                self.values[name] = value
                self.touched[name] = None
                changed = True
        if event.type == "ab_test_result":
            changed = self._take_test(event)
        if entity_type is None and self.entity_type is None and event.type == "campaign_metrics":
            entity_type = "campaign"
        if isinstance(entity_type, str) and entity_type != self.entity_type:
            self.entity_type, changed = entity_type[:MAX_NAME], True
        while len(self.values) > MAX_VALUES:
            gone = next(iter(self.values))
            del self.values[gone]
            self.touched[gone] = None
            self._said.pop(gone, None)
        if changed:
            self.pending = True
            self.updated = max(self.updated, event.time)
        return changed

    def _is_repeat(self, name: str, event: Event) -> bool:
        source, time = self._said.get(name, ("", 0))
        # The clocks of two sources do not say which of them was later.
        return source == event.source and event.time < time

    def _take_test(self, event: Event) -> bool:
        """Takes the figures of one variant, or of several, and works out the significance of the result."""
        data = event.data
        id = _text(data, "testId", "test_id") or unescape(self.token)
        known = self.tests.get(id, {})
        given = dict(variants_of(data))
        variants = dict(known.get("variants", {}))
        if len({*variants, *(name[:MAX_NAME] for name in given)}) > MAX_VARIANTS:
            raise Reject(f"the test {id[:40]!r} has more than {MAX_VARIANTS} variants")
        control = _text(data, "control") or known.get("control")
        for name, figures in given.items():
            if self._is_repeat(f"{id}\0{name}", event):
                continue
            self._said[f"{id}\0{name}"] = event.source, event.time
            variants[name[:MAX_NAME]] = {**variants.get(name[:MAX_NAME], {}), **_numbers(figures, MAX_FIGURES)}
            if figures.get("control") is True:
                control = name[:MAX_NAME]
        if len(given) == 1:
            # Which of those that come one by one was received first says nothing: the first by name is the control.
            variants = dict(sorted(variants.items()))
        test: dict[str, Any] = {"variants": variants, "significance": None}
        if control is not None:
            test["control"] = control
        test["significance"] = significance_of(test)
        if test["significance"] is None:
            test["significance_reason"] = why_not(test)
        if test == known:
            return False
        self.tests.pop(id, None)
        self.tests[id] = test
        self.touched_tests[id] = None
        while len(self.tests) > MAX_TESTS:
            gone = next(iter(self.tests))
            del self.tests[gone]
            self.touched_tests[gone] = None
            for name in [name for name in self._said if name.startswith(f"{gone}\0")]:
                del self._said[name]
        return True

    @property
    def behind(self) -> bool:
        """Whether the last snapshot is not what was published last."""
        return self.pending or self.base != self.version

    def snapshot(self, now: float) -> Data:
        """The whole state, to be published."""
        if self.pending:
            self.version += 1
        entity, part = names_of(self.token)
        data = {
            "entity": entity,
            "part": part,
            "entity_type": self.entity_type,
            "version": self.version,
            "values": dict(self.values),
            "change": changes(self.base_values, self.values),
            "previous_version": self.base or None,
            "tests": dict(self.tests),
            "updated": rfc3339(self.updated),
        }
        self.base, self.base_values = self.version, dict(self.values)
        self.touched.clear()
        self.touched_tests.clear()
        self.pending, self.told, self.snapped = False, now, now
        return data

    def changed(self, now: float) -> Data:
        """All that was other at any time since the last snapshot, as it is now, to be published."""
        self.version += 1
        self.pending, self.told = False, now
        values = {name: self.values.get(name) for name in self.touched}
        entity, part = names_of(self.token)
        return {
            "entity": entity,
            "part": part,
            "base": self.base,
            "version": self.version,
            "values": values,
            "change": changes(self.base_values, {name: value for name, value in values.items() if value is not None}),
            "tests": {id: self.tests.get(id) for id in self.touched_tests},
            "updated": rfc3339(self.updated),
        }

    @classmethod
    def recalled(cls, token: str, events: list[Event]) -> Self:
        """Rebuilds an entity from the newest event of each of its subjects, oldest first.

        What came behind its last state was received and not published, and is folded again. What is published first must be a
        snapshot: what was other since the last one is not known any more.
        """
        record = cls(token)
        whole: Data = {}
        later: list[Event] = []
        for event in events:
            if event.type == "state":
                whole = event.data
                record._restore(whole)
                later.clear()
            elif event.type == "changed":
                # One that cannot be applied belongs to a snapshot that is no more: the next one begins behind both.
                if (found := apply(whole, event.data)) is not None:
                    record._restore(found, snapshot=whole)
                record.version = max(record.version, version_of(event.data))
                later.clear()
            elif event.type in TYPES:
                later.append(event)
        for event in later:
            try:
                record.fold(event)
            except Reject:
                continue
        return record

    def _restore(self, data: Data, snapshot: Data | None = None) -> None:
        snapshot = data if snapshot is None else snapshot
        self.version, self.base = version_of(data), version_of(snapshot)
        self.values, self.base_values = _numbers(data.get("values")), _numbers(snapshot.get("values"))
        self.tests = _maps(data.get("tests"))
        entity_type = data.get("entity_type")
        self.entity_type = entity_type if isinstance(entity_type, str) else None
        self.updated = _ns(data.get("updated"))


def _figures_of(event: Event) -> dict[str, float | int]:
    """The values that an event has, by name. Raises Reject."""
    data = event.data
    match event.type:
        case "campaign_metrics":
            metrics = data.get("metrics")
            if not isinstance(metrics, Mapping):
                raise Reject("campaign_metrics needs metrics, a map of numbers")
            found = _numbers(metrics)
        case "live_metric_update" | "metric":
            value = number(data.get("value"))
            name = _text(data, "metric", "name") or (event.key if event.type == "metric" else None)
            if event.type == "metric" and value is None:
                return {}
            if value is None or (name is None and event.type == "live_metric_update"):
                raise Reject(f"{event.type} needs a metric and a value, a number")
            found = {name or "value": value}
        case _:
            return {}
    if any(len(name) > MAX_NAME for name in found):
        raise Reject(f"the name of a metric has at most {MAX_NAME} characters")
    return found


def _numbers(given: object, most: int = MAX_VALUES) -> dict[str, float | int]:
    found: dict[str, float | int] = {}
    if isinstance(given, Mapping):
        for name, value in _of_text(given):
            if (figure := number(value)) is not None and len(found) < most:
                found[name] = figure
    return found


def _of_text(given: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in given.items() if isinstance(name, str))


def _maps(given: object) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping):
        return {}
    return {name: dict(value) for name, value in _of_text(given) if isinstance(value, Mapping)}


def _text(data: Data, *names: str) -> str | None:
    found = next((data[name] for name in names if isinstance(data.get(name), str) and data[name]), None)
    return None if found is None else found[:MAX_NAME]


def _ns(text: object) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
        return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
    except (ValueError, OverflowError):
        return 0
