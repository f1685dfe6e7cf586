"""What `callboard doctor` says of each Octane."""

from __future__ import annotations

import pytest

from ops.cli.checks.findings import OK, WARN
from ops.cli.checks.octanes import examine_octanes, octane_finding
from router.event import Event

STATE = {
    "status": "connected",
    "since": "2026-11-27T03:00:00.000000Z",
    "address": "127.0.0.1:51022",
    "name": "Octane",
    "version": "15.0.0.8",
    "picture": "live",
}


def test_an_octane_that_works_needs_nothing():
    found = octane_finding("main", STATE)

    assert (found.check, found.verdict, found.mend) == ("octane main", OK, "")
    assert found.found == "connected to Octane 15.0.0.8 at 127.0.0.1:51022; its picture is live"


@pytest.mark.parametrize(
    ("change", "told", "mend"),
    [
        ({"status": "absent", "reason": "Connection refused"}, "absent at 127.0.0.1:51022 since 2026", "start Octane"),
        ({"status": "refused", "reason": "this is Octane 2026.1 Alpha 3"}, "Alpha 3", "Alpha 5 or newer"),
        ({"status": "busy", "reason": "not answered"}, "(not answered)", "dialog"),
        ({"picture": "stale", "picture_reason": "the samples grow"}, "stale (the samples grow)", "restart"),
        ({"picture": "unreadable", "picture_reason": "of type BC1"}, "unreadable (of type BC1)", "8 bits"),
        ({"callback_slot": "contested"}, "another client", "other client"),
    ],
)
def test_one_that_does_not_is_told_with_its_reason_and_what_to_do(change, told, mend):
    found = octane_finding("main", STATE | change)

    assert found.verdict == WARN and told in found.found and mend in found.mend


async def test_each_octane_is_judged_by_its_newest_state(broker):
    for name, status in (("b", "connected"), ("a", "absent"), ("b", "busy")):
        await broker.publish(Event.new(f"octane.{name}.state", STATE | {"status": status}, type="state"))

    found = {each.check: each.found.partition(" ")[0] for each in await examine_octanes(broker)}
    assert found.items() >= {"octane a": "absent", "octane b": "busy"}.items()
