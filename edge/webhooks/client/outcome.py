"""Classifies an attempt by its answer or error: delivered, to be retried with backoff, or failed for good."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

import aiohttp
import msgspec
from msgspec.structs import replace

from edge.webhooks.client.answer import BadAnswer
from edge.webhooks.client.ssrf import Blocked
from edge.webhooks.shortage import ProxyFailed, Shortage, shortage_of
from router.clock import wall

# One hour: a receiver may ask for a longer pause, but not for ever.
MAX_RETRY_AFTER = 3600.0
# By this header of its answer a receiver asks for more: `disable`, or `abort-message`.
CONTROL = "webhook-delivery"


class Verdict(Enum):
    """What becomes of the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FINAL = "final"
    # The receiver was not asked, for a reason of ours: no attempt was made, and the delivery is tried later.
    POSTPONED = "postponed"


class Timing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where the time of an attempt went, in milliseconds; 0 for what it did not need, such as a connection that was kept."""

    dns: float = 0.0
    connect: float = 0.0
    tls: float = 0.0
    # From the moment there was a connection until the head of the answer was read.
    first_byte: float = 0.0
    total: float = 0.0


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result of one attempt. `status` is 0 where no answer came; `fault` is one of a closed set, "" for success.

    `disable` says that the endpoint wants no more events, `slow_down` that it is overloaded; `note` is for people.
    """

    verdict: Verdict
    status: int = 0
    fault: str = ""
    retry_after: float = 0.0
    seconds: float = 0.0
    head: bytes = b""
    disable: bool = False
    slow_down: bool = False
    timing: Timing | None = None
    address: str = ""
    note: str = ""

    @property
    def postponed_for(self) -> str:
        """Why no attempt was made, one of shortage.REASONS; "" where one was."""
        if self.verdict is not Verdict.POSTPONED:
            return ""
        return "address" if self.fault == "ssrf_blocked" else self.note.partition(":")[0]

    @property
    def detail(self) -> str:
        """The outcome in a few words, for people."""
        text = f"{self.fault} (HTTP {self.status})" if self.status else self.fault
        return f"{text}: {self.note}" if self.note else text


# Statuses after which a retry cannot help.
_FINAL = {410: "gone", 413: "payload_too_large", 415: "unsupported_type"}
# Statuses of an overloaded receiver, or of a proxy before it.
_SLOW = frozenset({429, 502, 503, 504})
# Faults of attempts that took too long.
_TIMEOUTS = frozenset({"timeout", "connect_timeout"})
# How much of an error's own text is kept.
MAX_NOTE = 300


def of_status(
    status: int,
    retry_after: str | None,
    seconds: float,
    head: bytes = b"",
    control: str | None = None,
    *,
    timing: Timing | None = None,
    address: str = "",
) -> Outcome:
    """Classifies an answer; `control` is the value of its header CONTROL."""
    wish = control.strip().lower() if control else ""
    disable = status == 410 or wish == "disable"
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED, status, "", 0.0, seconds, head, disable, False, timing, address)
    fault, verdict = _FINAL.get(status, ""), Verdict.FINAL
    if wish == "abort-message":
        fault = "aborted"
    elif not fault:
        verdict = Verdict.RETRY
        match status:
            # The delivery is not over: it is retried once the endpoint is enabled again.
            case _ if disable:
                fault = "disabled"
            case 429:
                fault = "throttled"
            case _ if status >= 500:
                fault = "server_error"
            case _ if status < 400:
                fault = "redirect"
            case _:
                fault = "rejected"
    wait = wait_of(retry_after) if verdict is Verdict.RETRY else 0.0
    return Outcome(verdict, status, fault, wait, seconds, head, disable, status in _SLOW, timing, address)


def of_fault(fault: Exception, seconds: float) -> Outcome:
    """Classifies an attempt that got no answer."""
    if isinstance(fault, aiohttp.ClientConnectorError) and isinstance(fault.os_error, Blocked):
        # What a name leads to may change, and so may what is allowed.
        return Outcome(Verdict.POSTPONED, fault="ssrf_blocked", seconds=seconds, note=fault.os_error.kind)
    if reason := shortage_of(fault):
        text = str(fault if isinstance(fault, Shortage) else Shortage(reason))[:MAX_NOTE]
        return Outcome(Verdict.POSTPONED, fault="shortage", seconds=seconds, note=f"{reason}: {text}")
    if isinstance(fault, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
        return Outcome(Verdict.FINAL, fault="bad_url", seconds=seconds)
    name = _name(fault)
    return Outcome(Verdict.RETRY, fault=name, seconds=seconds, slow_down=name in _TIMEOUTS, note=_note(fault, name))


def late(outcome: Outcome, connected: bool) -> Outcome:
    """Tells a timeout of the connection from one of the answer."""
    if outcome.fault != "timeout" or connected:
        return outcome
    return replace(outcome, fault="connect_timeout")


def _name(fault: Exception) -> str:
    match fault:
        case TimeoutError() | asyncio.CancelledError():
            return "timeout"
        case ProxyFailed():
            return "proxy"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls"
        case aiohttp.ClientConnectorError():
            return "refused"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "reset"
        case BadAnswer():
            return "bad_answer"
    return "network"


def _note(fault: Exception, name: str) -> str:
    """The text of an error, where it helps to find the cause."""
    if name in ("bad_answer", "proxy"):
        return str(fault)[:MAX_NOTE]
    if name != "tls":
        return ""
    cause: object = fault
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        cause = fault.certificate_error
    elif isinstance(fault, aiohttp.ClientConnectorError):
        cause = fault.os_error
    if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_message:
        text = f"certificate verify failed: {cause.verify_message}"
    elif isinstance(cause, ssl.SSLError) and cause.reason:
        text = cause.reason.replace("_", " ").lower()
    else:
        text = str(cause)
    return " ".join(text.split())[:MAX_NOTE]


def wait_of(retry_after: str | None, now: float | None = None) -> float:
    """Reads Retry-After, in seconds or as a date, as seconds from now; 0 where it is missing or invalid, never above an hour."""
    if not retry_after:
        return 0.0
    text = retry_after.strip()
    try:
        if text.isdecimal():
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - (wall.now() if now is None else now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def postponement(outcome: Outcome) -> float:
    """Picks the seconds until a postponed delivery is tried again."""
    match outcome.postponed_for:
        case "address":
            return random.uniform(30.0, 60.0)
        case "resolver" | "proxy":
            return random.uniform(2.0, 4.0)
    return random.uniform(0.25, 0.5)


def pause(attempt: int, schedule: Sequence[float], retry_after: float = 0.0) -> float:
    """Picks the backoff after `attempt`, in seconds: full jitter over the schedule, and never before Retry-After."""
    ceiling = schedule[min(attempt, len(schedule)) - 1]
    # A second of spread behind Retry-After, which many may have been told at once.
    return max(random.uniform(0.0, ceiling), retry_after + random.uniform(0.0, 1.0) if retry_after else 0.0)
