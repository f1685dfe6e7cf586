"""Checks the Octanes that are watched: what each is now, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.cli.checks.findings import OK, WARN, CheckResult
from router.broker import Broker
from router.errors import RouterError
from router.subject import unescape

_STATES = {
    "absent": "start Octane; switch on File > Preferences > GRPC API > Enable GRPC Server; set CALLBOARD_OCTANE_ADDRESS to its address",
    "refused": "see the reason: Callboard needs Octane 2026.1 Alpha 5 or newer at that address, and no other program",
    "gone": "start its actor again: `callboard up`, or `callboard actor octane`; it is not listed any more after a day",
    "busy": "wait while Octane compiles or loads; close a dialog that it shows on its own screen",
}
_PICTURES = {
    "stale": "see the reason; a restart of the render brings a new picture",
    "unreadable": "let Octane make pictures of 8 bits, of at most 64 MiB, and without a shared surface",
}
_CONTESTED = (
    "stop the other client of this Octane's callbacks (octaneWebR's server is one: its browser client can read /api/callbacks of the "
    "edge instead), or live with pictures at the beat of the statistics"
)


async def examine_octanes(broker: Broker) -> list[CheckResult]:
    """One finding for each Octane that has ever been watched, or one that says why they could not be read."""
    try:
        records = await broker.latest(["octane.*.state"])
    except RouterError as fault:
        return [
            CheckResult("octanes", WARN, f"their states could not be read: {fault}"[:500], "see what is found of NATS")
        ]
    events = sorted((record.event for record in records if record.event is not None), key=lambda event: event.subject)
    return [octane_finding(unescape(event.subject.entity), event.data) for event in events]


def octane_finding(name: str, state: Mapping[str, Any]) -> CheckResult:
    """Judges the data of an event `octane.<name>.state`."""
    status, picture = str(state.get("status")), str(state.get("picture", "none"))
    parts = [f"{status} at {state.get('address')} since {state.get('since')}{_why(state.get('reason'))}"]
    if status == "connected":
        parts[0] = f"{status} to {state.get('name')} {state.get('version')} at {state.get('address')}"
    if picture != "none":
        parts.append(f"its picture is {picture}{_why(state.get('picture_reason'))}")
    if state.get("callback_slot") == "contested":
        parts.append("another client takes its callbacks again and again")
    mends = [_STATES.get(status), _PICTURES.get(picture) if status == "connected" else None]
    mends.append(_CONTESTED if state.get("callback_slot") == "contested" else None)
    mend = "; ".join(mend for mend in mends if mend)
    return CheckResult(f"octane {name}", WARN if mend else OK, "; ".join(parts)[:500], mend)


def _why(reason: object) -> str:
    return f" ({reason})" if reason else ""
