"""This file is where people ask about one session's webhook, and give it orders: what the routes answer, in terms of JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from edge.errors import Problem, json_object, read_as, unknown_fields
from edge.sessions.answer import CreatedSession
from edge.sessions.answer import describe as describe_session
from edge.sessions.endpoint.body import Rotation
from edge.sessions.endpoint.secret import signing_of
from edge.sessions.endpoint.settings import EndpointSettings, parse_secret
from edge.sessions.endpoint.signature_format import parse_signature
from edge.sessions.registry import Registry, Session
from edge.webhooks.endpoint.verification import Consent, Verification
from edge.webhooks.history.attempts import DEFAULT_LIMIT, MAX_LIMIT, Place
from edge.webhooks.history.recovery import Recoveries
from edge.webhooks.history.recovery_job import parse_moment, parse_rate
from edge.webhooks.service import Webhooks
from router.cursor import Start, parse_start
from router.errors import BrokerError, Conflict

RESULTS = ("ok", "fail")
PAGE = ("event", "delivery", "result", "limit", "cursor")
RESEND = ("event", "delivery", "idempotency_key")
RECOVER = ("since", "until", "rate")
REPLAY = ("cursor", "since", "last", "until", "until_cursor", "rate")
MAX_REASON = 200
MAX_ID = 200

_DELIVERY = re.compile(r"(msg_)?([0-9a-f]{32})\Z")
_UNIQUE = re.compile(r"[!-~]{1,200}\Z")


class WebhookDesk:
    """Answers what is asked about the webhooks of sessions."""

    def __init__(
        self, registry: Registry, webhooks: Webhooks, recoveries: Recoveries, verification: Verification
    ) -> None:
        self._registry = registry
        self._webhooks = webhooks
        self._recoveries = recoveries
        self._verification = verification

    # Attempts

    async def attempts(self, session: Session, query: Mapping[str, str]) -> dict[str, Any]:
        """One page of attempts, newest first; it may be empty and still have a `next`. Raises Problem."""
        _webhook(session)
        if fault := unknown_fields(query, PAGE):
            raise Problem("bad_parameter", fault)
        result = query.get("result") or "*"
        if result not in (*RESULTS, "*"):
            raise Problem("bad_parameter", f"result must be {' or '.join(RESULTS)}")
        text = query.get("limit") or str(DEFAULT_LIMIT)
        limit = int(text) if text.isdecimal() and len(text) < 9 else 0
        if not 1 <= limit <= MAX_LIMIT:
            raise Problem("bad_parameter", f"limit must be a number from 1 to {MAX_LIMIT}")
        event = query.get("event") or None
        if event is not None and len(event) > MAX_ID:
            raise Problem("bad_parameter", f"event must be an id of at most {MAX_ID} characters")
        delivery = _delivery(query["delivery"], "bad_parameter") if query.get("delivery") else None
        before = Place.parse(query["cursor"]) if query.get("cursor") else None
        found = await self._recoveries.attempts.page(session.id, result, event, delivery, before, limit)
        return {
            "attempts": [attempt.describe() for attempt in found.attempts],
            "next": str(found.next) if found.next else None,
        }

    async def resend(self, session: Session, body: Any) -> dict[str, Any]:
        """Sends one delivery again, by its id or that of its event. Raises Problem."""
        _webhook(session)
        said = json_object(body, RESEND)
        if ("event" in said) == ("delivery" in said):
            raise Problem("missing_field", "give either event or delivery: an attempt has both")
        unique = said.get("idempotency_key")
        if unique is not None and (not isinstance(unique, str) or not _UNIQUE.match(unique)):
            raise Problem("bad_body", "idempotency_key must be printable ASCII, at most 200 characters")
        if "event" in said:
            if not isinstance(said["event"], str) or not 0 < len(said["event"]) <= MAX_ID:
                raise Problem("bad_body", f"event must be an id of at most {MAX_ID} characters")
            known = await self._recoveries.attempts.delivery_of(session.id, said["event"])
            if known is None:
                raise Problem("attempt_not_found", f"nothing is known of a delivery of {said['event'][:60]!r}")
            delivery = known
        else:
            delivery = _delivery(said["delivery"], "bad_body")
        events = await self._recoveries.resend(session, delivery, unique)
        return {"session_id": session.id, "delivery": delivery, "webhook_id": f"msg_{delivery}", "events": events}

    # Recoveries

    async def recover(self, session: Session, body: Any) -> dict[str, Any]:
        """Sends again all that failed for good since a time. Raises Problem."""
        _webhook(session)
        said = json_object(body, RECOVER)
        if said.get("since") is None:
            raise Problem("missing_field", "since when? all that failed for good from then on is sent again")
        since = parse_moment(said["since"], "since")
        until = parse_moment(said["until"], "until") if said.get("until") is not None else None
        if until is not None and until <= since:
            raise Problem("bad_body", "until must be later than since")
        return (await self._recoveries.recover(session, since, until, parse_rate(said.get("rate")))).describe()

    async def replay(self, session: Session, body: Any) -> dict[str, Any]:
        """Sends a stretch of the past, whether it was sent before or not. Raises Problem."""
        _webhook(session)
        said = json_object(body, REPLAY)
        start = _start(said, "cursor", "since", said.get("last"))
        if start is None:
            raise Problem("missing_field", "from where? give one of cursor, since and last")
        end = _start(said, "until_cursor", "until")
        return (await self._recoveries.replay(session, start, end, parse_rate(said.get("rate")))).describe()

    async def recoveries(self, session: Session) -> dict[str, Any]:
        """The recoveries and replays of the last week, newest first. Raises BrokerError."""
        _webhook(session)
        found = await self._recoveries.of(session.id)
        return {"recoveries": [recovery.describe() for recovery in found[:MAX_LIMIT]]}

    async def recovery(self, session: Session, id: str) -> dict[str, Any]:
        """How far one has come. Raises Problem."""
        return (await self._recoveries.find(session.id, id)).describe()

    async def cancel(self, session: Session, id: str) -> dict[str, Any]:
        """Calls one off; what was asked for stays asked for. Raises Problem."""
        return (await self._recoveries.cancel(session.id, id)).describe()

    # Health

    async def health(self, session: Session) -> dict[str, Any]:
        """How the endpoint is, as its owner last said, and what waits for it."""
        endpoint = _webhook(session)
        return {
            "session_id": session.id,
            "active": endpoint.active,
            **self._webhooks.health(session.id),
            "waiting_events": await self._webhooks.waiting_events(session),
        }

    async def enable(self, session: Session, body: Any) -> dict[str, Any]:
        """Lets a disabled or halted endpoint have its jobs again. Raises Problem."""
        _webhook(session)
        json_object(body, ())
        await self._webhooks.enable(session.id)
        return await self.health(session)

    async def disable(self, session: Session, body: Any) -> dict[str, Any]:
        """Lets an endpoint have nothing until it is enabled. Raises Problem."""
        _webhook(session)
        reason = json_object(body, ("reason",)).get("reason", "operator")
        if not isinstance(reason, str) or not 0 < len(reason) <= MAX_REASON or not reason.isprintable():
            raise Problem("bad_body", f"reason must be a printable text of at most {MAX_REASON} characters")
        await self._webhooks.disable(session.id, reason)
        return await self.health(session)

    # Secrets

    async def rotate(self, session: Session, body: Any) -> CreatedSession:
        """Gives a session a new secret, which is shown this once; the old one signs beside it for a while. Raises Problem."""
        endpoint = _webhook(session)
        if isinstance(body, dict):
            body = {name: value for name, value in body.items() if value is not None}
        said = read_as(body, Rotation, "bad_webhook")
        secret = parse_secret(said.secret, said.signing, signing_of(endpoint.secret))
        rotated = endpoint.rotated(secret, said.overlap)
        if (signature := rotated.signature) is not None:
            is_hmac = (signature.hash, signature.key) != ("sha256", "bytes")
            parse_signature(signature, secret, rotated.headers, is_hmac=is_hmac)
        changed = replace(session.spec, webhook=rotated)
        try:
            session = await self._registry.update(session, changed)
        except Conflict:
            raise Problem("session_changed", "read it again and repeat the change") from None
        return describe_session(session.spec, webhook_secret=secret)

    # Consent

    async def verify(self, session: Session) -> tuple[Session, Consent]:
        """Asks the receiver whether it wants to be sent anything; it begins once it does. Raises Problem."""
        _webhook(session)
        return await self._verification.verify(session)

    async def settled(self, session: Session, before: Session | None = None) -> tuple[Session, dict[str, Any]]:
        """A session that was just stored, its receiver asked where that is wanted; and what to show of that.

        It is stored whatever comes of this, so that nothing that goes wrong here is an error of the request.
        """
        endpoint = session.spec.webhook
        known = before.spec.webhook if before is not None else None
        if endpoint is None or endpoint.active:
            return session, {}
        if known is not None and (known.url, known.verify) == (endpoint.url, endpoint.verify):
            return session, {}
        try:
            session, consent = await self._verification.verify(session)
        except Problem as problem:
            consent = Consent(False, problem.code, problem.detail)
        except BrokerError:
            consent = Consent(False, "broker_unavailable", "what the receiver said could not be stored")
        return session, {"verification": consent.describe()}


def _webhook(session: Session) -> EndpointSettings:
    if session.spec.webhook is None:
        raise Problem("not_a_webhook", f"its delivery_method is {session.spec.delivery_method}")
    return session.spec.webhook


def _delivery(value: Any, code: str) -> str:
    if isinstance(value, str) and (found := _DELIVERY.match(value)):
        return found[2]
    raise Problem(code, "delivery must be the `delivery` of an attempt, or a `webhook-id`")


def _start(said: Mapping[str, Any], cursor: str, since: str, last: Any = None) -> Start | None:
    """Reads a place in the stream: a cursor, a time, or so many events from the end. Raises Problem or BadCursor."""
    place = said.get(cursor)
    if place is not None and not isinstance(place, str):
        raise Problem("bad_body", f"{cursor} must be a text")
    if last is not None and (isinstance(last, bool) or not isinstance(last, int)):
        raise Problem("bad_body", "last must be a whole number")
    moment = None if said.get(since) is None else parse_moment(said[since], since).isoformat()
    return parse_start(place, moment, last)
