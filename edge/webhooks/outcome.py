"""This file is where it is decided what an attempt came to: delivered, worth another try, or over."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

import aiohttp

from edge.webhooks.guard import Blocked

# One hour: a receiver may ask for patience, but not for ever.
MAX_RETRY_AFTER = 3600.0


class Verdict(Enum):
    """What becomes of the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. `status` is 0 where no answer came; `fault` is one of a closed set, "" for success."""

    verdict: Verdict
    status: int = 0
    fault: str = ""
    retry_after: float = 0.0
    seconds: float = 0.0
    head: bytes = b""

    @property
    def detail(self) -> str:
        """The outcome in a few words, for people."""
        return f"{self.fault} (HTTP {self.status})" if self.status else self.fault


# Statuses after which another try cannot help.
_FINAL = {410: "gone", 413: "payload_too_large", 415: "unsupported_type"}


def of_status(status: int, retry_after: str | None, seconds: float, head: bytes = b"") -> Outcome:
    """Judges an answer."""
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED, status, seconds=seconds, head=head)
    if (fault := _FINAL.get(status)) is not None:
        return Outcome(Verdict.FINAL, status, fault, seconds=seconds, head=head)
    match status:
        case 429:
            fault = "throttled"
        case _ if status >= 500:
            fault = "server_error"
        case _ if status < 400:
            fault = "redirect"
        case _:
            fault = "rejected"
    return Outcome(Verdict.RETRY, status, fault, wait_of(retry_after), seconds, head)


def of_fault(fault: Exception, seconds: float) -> Outcome:
    """Judges an attempt that got no answer."""
    if isinstance(fault, aiohttp.ClientConnectorError) and isinstance(fault.os_error, Blocked):
        return Outcome(Verdict.FINAL, fault="ssrf_blocked", seconds=seconds)
    if isinstance(fault, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
        return Outcome(Verdict.FINAL, fault="bad_url", seconds=seconds)
    return Outcome(Verdict.RETRY, fault=_name(fault), seconds=seconds)


def _name(fault: Exception) -> str:
    match fault:
        case TimeoutError() | asyncio.CancelledError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls"
        case aiohttp.ClientConnectorError():
            return "refused"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "reset"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "bad_answer"
    return "network"


def wait_of(retry_after: str | None, now: float | None = None) -> float:
    """Reads Retry-After, in seconds or as a date, as seconds from now; 0 for none or nonsense, never above an hour."""
    if not retry_after:
        return 0.0
    text = retry_after.strip()
    try:
        if text.isdecimal():
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def pause(attempt: int, schedule: Sequence[float], retry_after: float = 0.0) -> float:
    """Picks the seconds before the try after `attempt`: full jitter over the schedule, and never before Retry-After."""
    ceiling = schedule[min(attempt, len(schedule)) - 1]
    # A second of spread behind Retry-After, which many may have been told at once.
    return max(random.uniform(0.0, ceiling), retry_after + random.uniform(0.0, 1.0) if retry_after else 0.0)
