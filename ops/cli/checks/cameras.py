"""Checks the cameras: what each is now, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.cli.checks.findings import OK, WARN, CheckResult
from router.broker import Broker
from router.errors import RouterError
from router.states import GONE, StateStore

_FAILED = (
    "see the reason; switch the camera or its server on, or mend CALLBOARD_CAMERA_SOURCE (CALLBOARD_CAMERAS); "
    "it is tried about once a second while somebody watches"
)
_GONE = "start its actor again: `callboard up`, or `callboard actor camera --instance {name}`; it is not listed any more after a day"


async def examine_cameras(broker: Broker) -> list[CheckResult]:
    """One finding for each camera that is listed, or one that says why they could not be read."""
    store = StateStore(broker)
    found = []
    try:
        for name, state in await store.listing("camera"):
            lives = state.gone is None and await store.seems_to_live("camera", name)
            told: dict[str, Any] = {**state.data, "status": state.status, "reason": state.reason, "since": state.since}
            if not lives:
                mark = state.gone
                told |= {"status": GONE, "reason": mark.reason if mark else "no process holds its role"}
                told |= {"since": mark.since} if mark else {}
            found.append(camera_finding(name, told))
    except RouterError as fault:
        return [
            CheckResult("cameras", WARN, f"their states could not be read: {fault}"[:500], "see what is found of NATS")
        ]
    return found


def camera_finding(name: str, state: Mapping[str, Any]) -> CheckResult:
    """Judges the state of one camera."""
    status, reason = str(state.get("status")), state.get("reason")
    where = next((state[key] for key in ("host", "device", "file", "serial") if state.get(key)), None)
    source = f"{state.get('source')}{f' {where}' if where else ''}"
    size = f", {state['width']} x {state['height']}" if state.get("width") else ""
    mend = {"failed": _FAILED, GONE: _GONE.format(name=name)}.get(status, "")
    found = f"{status} since {state.get('since')}{f' ({reason})' if reason else ''}; its source is {source}{size}"
    return CheckResult(f"camera {name}", WARN if mend else OK, found[:500], mend)
