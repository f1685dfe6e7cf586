"""Defines what a check found: one line, a verdict, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.process.http import HttpAnswer
from router.codec import from_json
from router.errors import BadEvent

OK, WARN, FAIL, INFO = "ok", "warn", "fail", "info"
# Half a second off is normal; five spoil every `since` and every signature.
CLOCK_WARN, CLOCK_FAIL = 2.0, 5.0

_MENDS = {
    "storage_full": (
        "free some space where nats-server keeps its data; a nats-server that `callboard up` started is then restarted by it, "
        "another one must be, because a stream keeps its write error"
    ),
    "no_quorum": "two of three NATS servers must be up; see `nats server report jetstream`",
    "stream_missing": "`callboard streams apply`",
    "forbidden": "give the user these rights; k8s/base/nats/accounts.conf lists what each part needs",
    "unreachable": "look whether nats-server runs and JetStream is on",
    "write_failed": "see the log of nats-server; a stream keeps its write error until the server is restarted",
}


def store_mend(code: object) -> str:
    """Says what to do about a store that takes no writes, by its code; nothing for `ok`."""
    return _MENDS.get(str(code), "")


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    check: str
    verdict: str
    found: str
    mend: str = ""


def clock_finding(check: str, seconds: float, whose: str) -> CheckResult:
    """Judges how far two clocks are apart; `whose` is the other one, such as `the edge's`."""
    verdict = FAIL if seconds > CLOCK_FAIL else WARN if seconds > CLOCK_WARN else OK
    found = f"{seconds:.1f} s apart from {whose}" if seconds > 0.5 else f"agrees with {whose}"
    return CheckResult(check, verdict, found, "" if verdict == OK else "let both machines follow a time server (NTP)")


def body_of(answer: HttpAnswer) -> dict[str, Any]:
    """Reads a JSON object from an answer; an empty one where it holds none."""
    try:
        value = from_json(answer.body)
    except BadEvent:
        return {}
    return value if isinstance(value, dict) else {}
