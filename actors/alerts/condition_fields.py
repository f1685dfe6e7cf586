"""Makes the condition of a rule from its fields: threshold, for, rate, absence, change, window or hysteresis."""

from __future__ import annotations

import math
from typing import Any

from actors.alerts.conditions import Condition
from actors.alerts.conditions.absence import Absence
from actors.alerts.conditions.change import ChangeTo, ValueChange
from actors.alerts.conditions.hold import Hold
from actors.alerts.conditions.hysteresis import Hysteresis
from actors.alerts.conditions.limit import Limit
from actors.alerts.conditions.rate import MAX_EVENTS, MatchRate
from actors.alerts.conditions.threshold import Threshold
from actors.alerts.conditions.window import FUNCTIONS, MAX_SAMPLES, Window
from actors.alerts.fields import DAY, Fields
from actors.alerts.rules import ONCE
from router.filter import Expression

# Each key under watch remembers so many matches: 100 of them for 10,000 keys is what memory bears.
MAX_COUNT = 100
# A tenth of a second: below it deadlines come more often than the clock is looked at.
SHORTEST = 0.1

KINDS = ("threshold", "rate", "absence", "change", "window")
_HYSTERESIS = ("fire_above", "resolve_below", "fire_below", "resolve_above")
_HUGE = 1e300


def condition(rule: Fields) -> Condition:
    """The condition of a rule; mistakes are noted, and what is returned then is of no use."""
    named = [kind for kind in KINDS if kind in rule]
    for other in named[1:]:
        rule.note(
            other, f"cannot stand beside {named[0]}: a rule has one of {', '.join(KINDS)}", rule.place(other).name
        )
    kind = named[0] if named else None
    if "for" in rule and kind in ("threshold", "absence", "change"):
        rule.note("for", f"cannot stand beside {kind}; it goes with when, hysteresis, rate and window")
    if "hysteresis" in rule and kind in ("threshold", "absence", "change"):
        rule.note("hysteresis", f"cannot stand beside {kind}; it goes with value, rate and window")
    match kind:
        case "threshold":
            return _threshold(rule)
        case "rate":
            return _rate(rule)
        case "absence":
            return _absence(rule)
        case "change":
            return _change(rule)
        case "window":
            return _window(rule)
    if "hysteresis" in rule:
        return _hysteresis(rule)
    return Hold() if "for" in rule else ONCE


def _threshold(rule: Fields) -> Condition:
    fields = rule.inner("threshold", ("count", "within"))
    if fields is None:
        return ONCE
    if not {"count", "within"} <= fields.entry.keys():
        rule.note("threshold", "needs count and within")
    count = fields.whole("count", 1, 1, MAX_COUNT)
    within = fields.seconds("within", 60.0, 0.001, DAY)
    return Threshold(count, within or 60.0)


def _rate(rule: Fields) -> Condition:
    fields = rule.inner("rate", ("over", "above", "below", "of"))
    if fields is None:
        return ONCE
    over = _needed(fields, "over")
    limit = _limit(rule, "rate", fields, 0.0)
    of = fields.maybe("of", Expression.compile)
    if of is None and limit.highest * over > MAX_EVENTS:
        fields.note("over", f"more than {MAX_EVENTS} events would have to be counted; make over shorter")
    return MatchRate(over, limit, of)


def _absence(rule: Fields) -> Condition:
    value = rule.entry.get("absence")
    if isinstance(value, dict):
        fields = rule.inner("absence", ("after",))
        return Absence(_needed(fields, "after") if fields else 1.0)
    return Absence(rule.seconds("absence", None, SHORTEST, 30 * DAY) or 1.0)


def _change(rule: Fields) -> Condition:
    fields = rule.inner("change", ("of", "from", "to", "by", "by_percent", "within"))
    if fields is None:
        return ONCE
    of = fields.made("of", Expression.compile)
    ends: dict[str, Any] = {}
    for field, name in (("from", "start"), ("to", "end")):
        value = fields.entry.get(field)
        if value is not None and not isinstance(value, (str, int, float, bool)):
            fields.note(field, "must be a text, a number, true or false")
        elif field in fields and value is None:
            fields.note(field, "is empty")
        else:
            ends[name] = value
    by = fields.number("by", None, 1e-12, _HUGE)
    percent = fields.number("by_percent", None, 1e-9, 1e9)
    within = fields.seconds("within", None, SHORTEST, 30 * DAY)
    if within is not None and by is None and percent is None:
        fields.note("within", "needs by or by_percent")
    return ValueChange(of, ChangeTo(**ends, by=by, by_percent=percent), within) if of else ONCE


def _window(rule: Fields) -> Condition:
    fields = rule.inner("window", ("of", "fn", "over", "above", "below", "samples"))
    if fields is None:
        return ONCE
    of = fields.made("of", Expression.compile)
    fn = fields.choice("fn", FUNCTIONS)
    over = _needed(fields, "over")
    limit = _limit(rule, "window", fields, -_HUGE)
    samples = fields.whole("samples", 1, 1, MAX_SAMPLES)
    return Window(of, fn, over, limit, samples) if of and fn else ONCE


def _hysteresis(rule: Fields) -> Condition:
    fields = rule.inner("hysteresis", ("of", *_HYSTERESIS))
    if fields is None:
        return ONCE
    if "of" in fields:
        of = fields.made("of", Expression.compile)
    else:
        of = rule.maybe("value", Expression.compile)
        if "value" not in rule:
            rule.note("hysteresis", "needs of, or a value beside it: the number that is compared")
    limit = _both(fields)
    return Hysteresis(of, limit) if of and limit.resolve is not None else ONCE


def _needed(fields: Fields, field: str) -> float:
    if field not in fields:
        fields.note(field, "is missing")
        return 1.0
    return fields.seconds(field, None, SHORTEST, 30 * DAY) or 1.0


def _limit(rule: Fields, kind: str, fields: Fields, low: float) -> Limit:
    """The limit of a rate or window: above, below, or a hysteresis beside it."""
    sides = [side for side in ("above", "below") if side in fields]
    if "hysteresis" in rule:
        for side in sides:
            fields.note(side, "cannot stand beside hysteresis, which says the same and more")
        both = rule.inner("hysteresis", _HYSTERESIS)
        return _both(both) if both else Limit(True, 0.0)
    if len(sides) != 1:
        rule.note(kind, "needs either above or below (or hysteresis beside it)")
        return Limit(True, 0.0)
    return Limit(sides[0] == "above", fields.number(sides[0], None, low, _HUGE) or 0.0)


def _both(fields: Fields) -> Limit:
    for fire, resolve in (("fire_above", "resolve_below"), ("fire_below", "resolve_above")):
        if fire in fields or resolve in fields:
            above = fire == "fire_above"
            for other in (each for each in _HYSTERESIS if each in fields and each not in (fire, resolve)):
                fields.note(other, f"cannot stand beside {fire}")
            first, last = (_number(fields, each) for each in (fire, resolve))
            if not math.isnan(first + last) and (last > first if above else last < first):
                order = "at most" if above else "at least"
                fields.note(resolve, f"must be {order} {fire}, else the alert would end before it begins")
            return Limit(above, first, last)
    fields.note("fire_above", "is missing: write fire_above and resolve_below, or fire_below and resolve_above")
    return Limit(True, 0.0)


def _number(fields: Fields, field: str) -> float:
    if field not in fields:
        fields.note(field, "is missing")
        return math.nan
    found = fields.number(field, None, -_HUGE, _HUGE)
    return math.nan if found is None else found
