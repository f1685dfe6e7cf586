"""Looks at how much room the recordings of cameras have left."""

from __future__ import annotations

from ops.cli.checks.findings import OK, WARN, CheckResult
from router.broker import Broker
from router.errors import BrokerError
from router.recordings import MISSING, Recordings, Usage

# Of the limit; a camera at 4 Mbit/s fills the last fifth of 2 GiB within a quarter of an hour.
NEARLY_FULL = 0.8


async def examine_recordings(broker: Broker) -> list[CheckResult]:
    """One finding: what recordings hold, and of how much; or that the server keeps none, without which all else works."""
    try:
        if await Recordings(broker).is_missing():
            return [CheckResult("recordings", WARN, "the stream RECORDINGS is missing: cameras cannot record", MISSING)]
        usage = await Recordings(broker).usage()
    except BrokerError:
        return []
    return [recordings_finding(usage)]


def recordings_finding(usage: Usage) -> CheckResult:
    """What is said of a stream that is so full."""
    if usage.limit is None:
        return CheckResult("recordings", OK, f"{_mib(usage.used)}, without a limit")
    said = f"{_mib(usage.used)} of {_mib(usage.limit)}"
    if usage.used < NEARLY_FULL * usage.limit:
        return CheckResult("recordings", OK, said)
    mend = "delete some (DELETE /recordings/{id}), set CALLBOARD_RECORDINGS_MAX_AGE, or raise CALLBOARD_RECORDINGS_MAX_BYTES"
    return CheckResult("recordings", WARN, f"{said}: cameras soon record no more", mend)


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
