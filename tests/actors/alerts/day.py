"""A generated day: rules of every kind, events of 24 hours that come late and out of order, and what must fire.

What must fire is written down by hand beside the events that lead to it, not computed by the engine's own code.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from router.event import Event
from tests.actors.alerts.readings import START, S

H = 3600.0
LATENESS = 10.0

RULES = """
rules:
  - {name: plain, types: [plain], when: data.n > 80, resolve_when: data.n < 70, lateness: 10}
  - {name: quiet, types: [quiet], when: data.n > 80, resolve_after: 10m, lateness: 10}
  - {name: cool, types: [cool], when: data.n > 80, cooldown: 30m, lateness: 10}
  - {name: dedup, types: [dedup], when: data.n > 80, key: "{data.site}", resolve_when: data.n < 70, lateness: 10}
  - {name: count, types: [count], when: data.n > 80, threshold: {count: 3, within: 60s}, resolve_after: 5m, lateness: 10}
  - {name: held, types: [held], when: data.n > 80, for: 2m, lateness: 10}
  - {name: often, types: [often], rate: {over: 60s, above: 0.1}, lateness: 10}
  - {name: seldom, types: [seldom], rate: {over: 30m, below: 0.002}, lateness: 10}
  - {name: counter, types: [counter], rate: {of: data.n, over: 20m, above: 1}, lateness: 10}
  - {name: absent, types: [absent], absence: 10m, lateness: 10}
  - {name: changed, types: [flips], change: {of: data.s, from: up, to: down}, resolve_when: data.s == "up", lateness: 10}
  - {name: jumped, types: [jumped], change: {of: data.n, by: 30, within: 10m}, resolve_after: 1h, lateness: 10}
  - {name: band, types: [band], hysteresis: {of: data.n, fire_above: 80, resolve_below: 70}, lateness: 10}
  - {name: avg, types: [avg], window: {of: data.n, fn: avg, over: 15m, above: 60}, lateness: 10}
  - {name: lowest, types: [min], window: {of: data.n, fn: min, over: 15m, below: 20}, lateness: 10}
  - {name: highest, types: [max], window: {of: data.n, fn: max, over: 15m, above: 80}, for: 6m, lateness: 10}
  - {name: total, types: [sum], window: {of: data.n, fn: sum, over: 15m, above: 200}, lateness: 10}
  - {name: slow, types: [p95], window: {of: data.n, fn: p95, over: 30m, samples: 4}, hysteresis: {fire_above: 80, resolve_below: 60}, lateness: 10}
  - {name: noisy, types: [inner], when: data.n > 80, resolve_when: data.n < 70, inhibit: {by: outage}, lateness: 10}
  - {name: waits, types: [outer, inner], when: data.n > 80, for: 2m, inhibit: {by: outage}, lateness: 10}
  - {name: outage, types: [outage], severity: critical, when: data.n > 80, resolve_when: data.n < 70, lateness: 10}
  - {name: racks, types: [racks], when: data.n > 80, resolve_when: data.n < 70, group: {by: data.site, wait: 1m, interval: 10m}, lateness: 10}
"""  # noqa: E501

# What each type says all day long, every five minutes; `seldom` is what a rate below waits for.
CALM = {
    **dict.fromkeys(["plain", "quiet", "cool", "count", "held", "band", "avg", "min", "max", "p95"], 50),
    **dict.fromkeys(["jumped", "inner", "outer", "outage"], 50),
    "absent": 1,
    "seldom": 1,
    "sum": 50,
}


class Must(NamedTuple):
    """One signal that must be said: seconds since the day began."""

    at: float
    kind: str
    rule: str
    key: str


def day() -> tuple[list[Event], list[Must]]:
    """The events in the order of their times, and what must be said, by time."""
    events: list[Event] = []
    must: list[Must] = []

    def said(type: str, at: float, n: object = 50, host: str = "h", **more: object) -> None:
        data = {"n": n, **more}
        events.append(
            Event.new(f"metric.{host}.{type}", data, time_ns=START + round(at * S), id=f"{type}-{len(events)}")
        )

    def fires(rule: str, at: float, ended: float | None = None, key: str = "metric.h") -> None:
        must.append(Must(at, "firing", rule, key))
        if ended is not None:
            must.append(Must(ended, "resolved", rule, key))

    for type, calm in CALM.items():
        for minute in range(0, 24 * 60, 5):
            # Each has a hole of half an hour or an hour, where what it must do is told.
            if not (type == "absent" and 600 <= minute < 625) and not (type == "seldom" and 600 <= minute < 640):
                said(type, minute * 60.0, calm)
    _matches(said, fires)
    _times(said, fires)
    _windows(said, fires)
    _together(said, fires)
    return sorted(events, key=lambda event: event.time), sorted(must)


def _matches(said, fires) -> None:  # type: ignore[no-untyped-def]
    said("plain", 1 * H + 7, 90)
    said("plain", 1 * H + 9, 91)
    fires("plain", 1 * H + 7, 1 * H + 300)
    # Two alerts within one cooldown.
    for at, n in ((400, 91), (405, 60), (410, 95)):
        said("plain", 1 * H + at, n, "flaps")
    fires("plain", 1 * H + 400, 1 * H + 405, "metric.flaps")
    fires("plain", 1 * H + 410, None, "metric.flaps")
    said("quiet", 2 * H + 1, 90)
    said("quiet", 2 * H + 200, 90)
    fires("quiet", 2 * H + 1, 2 * H + 800)
    # A cooldown of half an hour: again at the third, and never resolved.
    for at in (0, 600, 1900):
        said("cool", 3 * H + 1 + at, 90)
    fires("cool", 3 * H + 1)
    # Two hosts of one site are one alert.
    said("dedup", 4 * H, 90, "a", site="x")
    said("dedup", 4 * H + 5, 90, "b", site="x")
    said("dedup", 4 * H + 6, 90, "c", site="y")
    said("dedup", 4 * H + 20, 10, "b", site="x")
    fires("dedup", 4 * H, 4 * H + 20, "x")
    fires("dedup", 4 * H + 6, None, "y")
    # Not within a minute; then three within one.
    for at in (0, 20, 61, 70, 75):
        said("count", 5 * H + at + 1, 90)
    fires("count", 5 * H + 71, 5 * H + 376)


def _times(said, fires) -> None:  # type: ignore[no-untyped-def]
    # Ended by the calm event before its time; then held.
    said("held", 6 * H + 250, 90)
    said("held", 6 * H + 301, 90)
    said("held", 6 * H + 400, 90)
    fires("held", 6 * H + 421, 6 * H + 600)
    # More than 0.1 a second over a minute: the seventh, until there are six.
    for at in range(8):
        said("often", 7 * H + at * 5)
    fires("often", 7 * H + 30, 7 * H + 65)
    # Every five minutes is 0.0033 a second; of half an hour with less than 4 it is below 0.002. Last before the hole: 9:55.
    fires("seldom", 600 * 60 - 300 + 5 * 60 + 600, 640 * 60 + 900)
    # From 100 to 900 in twenty minutes is not 1 a second; with a restart of the counter it is.
    for at, n in ((0, 100), (300, 900), (600, 500)):
        said("counter", 8 * H + at, n)
    fires("counter", 8 * H + 600, 8 * H + 1200)
    fires("absent", 595 * 60 + 600, 625 * 60)
    for at, s in ((0, "up"), (10, "odd"), (20, "down"), (30, "up"), (40, "down"), (200, "up")):
        said("flips", 9 * H + at, s=s)
    fires("changed", 9 * H + 40, 9 * H + 200)
    said("jumped", 11 * H + 60, 65)
    said("jumped", 11 * H + 120, 85)
    # The calm value after it is a jump back, and the one after that is compared with it too.
    fires("jumped", 11 * H + 120, 11 * H + 600 + 3600)
    for at, n in ((1, 81), (60, 75), (120, 70)):
        said("band", 12 * H + at, n)
    said("band", 12 * H + 130, 69)
    fires("band", 12 * H + 1, 12 * H + 130)


def _windows(said, fires) -> None:  # type: ignore[no-untyped-def]
    # Three calm ones (50) and 120: 67.5. It leaves after 15 minutes.
    said("avg", 13 * H + 60, 120)
    fires("avg", 13 * H + 60, 13 * H + 960)
    said("min", 14 * H + 60, 10)
    fires("lowest", 14 * H + 60, 14 * H + 960)
    said("max", 15 * H + 60, 90)
    fires("highest", 15 * H + 420, 15 * H + 960)
    # Calm is 3 * 50 in 15 minutes; with 60 more it is 210 until the first of the calm ones... which is replaced at once.
    said("sum", 16 * H + 60, 60)
    fires("total", 16 * H + 60, 16 * H + 960)
    said("p95", 17 * H + 60, 90)
    fires("slow", 17 * H + 60, 17 * H + 1860)


def _together(said, fires) -> None:  # type: ignore[no-untyped-def]
    said("outage", 18 * H + 1, 90)
    said("inner", 18 * H + 2, 90)
    said("outer", 18 * H + 2, 90)
    said("inner", 18 * H + 2, 90, "free")
    fires("outage", 18 * H + 1, 18 * H + 300)
    fires("noisy", 18 * H + 2, 18 * H + 50, "metric.free")
    said("inner", 18 * H + 50, 10, "free")
    # After the outage it is raised; by its next match, for a match by itself does not last.
    said("inner", 18 * H + 400, 90)
    fires("noisy", 18 * H + 400, 18 * H + 600)
    # That one was held for two minutes; and another one still holds when the outage ends.
    fires("waits", 18 * H + 520, 18 * H + 600)
    for type, at, n in (("outage", 1, 90), ("outer", 2, 90), ("outage", 200, 10), ("outer", 250, 10)):
        said(type, 19 * H + at, n, "k")
    fires("outage", 19 * H + 1, 19 * H + 200, "metric.k")
    fires("waits", 19 * H + 200, 19 * H + 250, "metric.k")
    for at, host, n in ((0, "a", 90), (30, "b", 90), (200, "c", 90), (900, "a", 10), (901, "b", 10), (902, "c", 10)):
        said("racks", 20 * H + at, n, host, site="r1")
    fires("racks", 20 * H + 60, 20 * H + 902, "r1")


def delivered(events: list[Event], seed: int) -> list[tuple[int, Event]]:
    """The same events as they come: each up to the lateness later, so in another order; when (ns), and what."""
    chance = random.Random(seed)
    late = [(event.time + chance.randrange(round(LATENESS * S * 0.95)), event) for event in events]
    return sorted(late, key=lambda each: each[0])
