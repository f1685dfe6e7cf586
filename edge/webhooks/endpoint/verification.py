"""Verifies an endpoint before its first event: the receiver must consent (`verify`).

By `post` it must answer a signed test event with 2xx; by `options` it must consent as CloudEvents' abuse protection has it
(OPTIONS with `WebHook-Request-Origin`, answered with `WebHook-Allowed-Origin`, and with a rate where it wants one). Until
then its session is pending: its jobs are kept and none is posted.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from edge.errors import Problem
from edge.sessions.endpoint.body import MAX_RATE
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry, Session
from edge.webhooks.client.outcome import Outcome
from edge.webhooks.client.payload import build_payload
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.ssrf import GuardSettings
from edge.webhooks.history.attempt import Attempt
from edge.webhooks.history.attempt_log import AttemptLog
from edge.webhooks.queue.job import delivery_id
from router.clock import wall
from router.codec import encode
from router.errors import Conflict
from router.event import Event
from router.record import Record
from router.subject import Subject

log = logging.getLogger(__name__)

# A client waits for the answer of `POST /callbacks/sessions`: a receiver that takes longer does not consent.
MAX_SECONDS = 10.0
# Verifications under way in a process; more are refused, because each makes a request to somebody else's server.
MAX_AT_ONCE = 16
# A receiver allows so many posts a minute; a number with more digits is not meant.
_RATE = re.compile(r"[0-9]{1,9}\Z")


class Consent(NamedTuple):
    """What came of asking a receiver. `error` is one of the attempts' closed set, or `no_consent`; "" where it agreed.

    `rate` is how many posts a second it allows, None for any.
    """

    agreed: bool
    error: str = ""
    detail: str = ""
    status: int = 0
    rate: float | None = None

    def describe(self) -> dict[str, Any]:
        """The consent as the API shows it."""
        return {
            "ok": self.agreed,
            "error": self.error or None,
            "detail": self.detail or None,
            "status": self.status or None,
        }


class Verification:
    """Verifies endpoints. One per process, with a few connections of its own."""

    def __init__(self, registry: Registry, guard: GuardSettings, attempts: AttemptLog) -> None:
        self.origin = guard.origin
        self._registry = registry
        self._sender = Sender(guard)
        self._attempts = attempts
        self._open = asyncio.Event()
        self._under_way = 0

    async def run(self) -> None:
        """Keeps the connections until cancelled."""
        async with self._sender:
            self._open.set()
            try:
                await asyncio.Event().wait()
            finally:
                self._open.clear()

    async def verify(self, session: Session) -> tuple[Session, Consent]:
        """Asks a session's receiver, and lets the session begin where it agrees. Raises Problem or BrokerError."""
        if self._under_way >= MAX_AT_ONCE:
            raise Problem("too_many", "other receivers are being asked; try again", headers={"Retry-After": "2"})
        self._under_way += 1
        try:
            await self._open.wait()
            endpoint = session.spec.webhook
            assert endpoint is not None
            consent = await self.ask(session, endpoint)
        finally:
            self._under_way -= 1
        if not consent.agreed:
            log.info(
                "webhook receiver did not consent; session stays pending",
                extra={"session": session.id, "error": consent.error},
            )
            return session, consent
        return await self._activate(session, endpoint, consent), consent

    async def ask(self, session: Session, endpoint: EndpointSettings) -> Consent:
        """Asks a receiver in the way that its session wants it to be asked; one that wants nothing is posted to."""
        hasty = replace(endpoint, timeout=min(endpoint.timeout, MAX_SECONDS), gzip_above=None)
        return await (self._options(hasty) if endpoint.verify == "options" else self._post(session, hasty))

    async def _post(self, session: Session, endpoint: EndpointSettings) -> Consent:
        event = Event.new(
            Subject.of("session", session.id, "verification"),
            {"session_id": session.id, "message": "answer with 2xx to be sent this session's events"},
            source="callboard",
            test=True,
        )
        start = session.start.parts[0]
        record = Record(start.sequence, event.subject, encode(event), check=start.check)
        # Of several shards the place is all of them.
        record.place(record.position, session.spec.start)
        posted = build_payload([record], start.epoch, session.id, session.spec.dialect, endpoint.batch is not None)
        delivery = delivery_id(event.id, 0, session.id)
        begun = wall.now_ns()
        outcome = await self._sender.post(
            endpoint, delivery, session.id, posted.body, content_type=posted.content_type, more=posted.headers
        )
        self._sender.forget(session.id)
        self._attempts.note(
            Attempt.of(
                outcome,
                session=session.id,
                delivery=delivery,
                event=event.id,
                sequence=0,
                begun=begun,
                subject=event.subject,
                trigger="verification",
                destination=endpoint.destination,
            )
        )
        if 200 <= outcome.status < 300 and not outcome.fault and not outcome.disable:
            return Consent(True, status=outcome.status)
        return _refused(outcome)

    async def _options(self, endpoint: EndpointSettings) -> Consent:
        outcome, headers = await self._sender.options(endpoint)
        if outcome.fault or not 200 <= outcome.status < 300:
            return _refused(outcome)
        return consent_of(outcome.status, headers, self.origin)

    async def _activate(self, session: Session, endpoint: EndpointSettings, consent: Consent) -> Session:
        """Writes the consent down; where the session was changed meanwhile, only if it is still about this receiver."""
        for _ in range(5):
            now = session.spec.webhook
            if now is None or (now.url, now.verify) != (endpoint.url, endpoint.verify):
                break
            agreed = replace(now.allowed(consent.rate), active=True)
            if agreed == now:
                return session
            try:
                return await self._registry.update(session, replace(session.spec, webhook=agreed))
            except Conflict:
                session = await self._registry.latest(session.id)
        raise Problem("session_changed", "it was changed while its receiver was asked; verify it again")


def consent_of(status: int, headers: Mapping[str, str], origin: str) -> Consent:
    """Reads the answer to an OPTIONS request, as CloudEvents' "HTTP 1.1 Web Hooks" has it (section 4.2)."""
    allowed = headers.get("WebHook-Allowed-Origin", "").strip()
    if allowed != "*" and allowed.lower() != origin.lower():
        said = f"it allows {allowed[:100]!r}" if allowed else "the answer has no WebHook-Allowed-Origin"
        return Consent(False, "no_consent", f"{said}; it must be {origin} or *", status)
    rate = headers.get("WebHook-Allowed-Rate", "").strip()
    if rate in ("", "*"):
        return Consent(True, status=status)
    if not _RATE.match(rate) or int(rate) == 0:
        return Consent(
            False, "no_consent", f"WebHook-Allowed-Rate is {rate[:40]!r}: no number from 1 on, nor *", status
        )
    # Posts a minute.
    return Consent(True, status=status, rate=min(int(rate) / 60, MAX_RATE))


def _refused(outcome: Outcome) -> Consent:
    return Consent(False, outcome.fault or "disabled", outcome.detail, outcome.status)
