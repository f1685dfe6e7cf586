"""The specification of a session as the bucket SESSIONS stores it, and how request bodies become one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

import msgspec

from edge.errors import UNCHANGEABLE, Problem, read_as, unknown_fields
from edge.sessions.body import DeliveryMethod, NewSession, SessionChange
from edge.sessions.endpoint import parse as endpoints
from edge.sessions.endpoint.body import FIELDS as ENDPOINT_FIELDS
from edge.sessions.endpoint.settings import EndpointSettings
from edge.settings import DEFAULT_RETRY_ATTEMPTS
from edge.view import Pace, View
from router.clock import wall
from router.cursor import Start, parse_start

# Begins the ids of sessions without an entry, of which there is one for each address that is a session (`edge/surfaces`).
UNSTORED = "surface_"


class SessionSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a session is, as it lies in the bucket. `start` is the cursor at which its first reader begins."""

    id: str
    delivery_method: DeliveryMethod
    created: int
    start: str
    # Whether its readers begin with a snapshot instead.
    snapshot: bool = False
    events: list[str] | None = None
    subjects: list[str] | None = None
    filter: str | None = None
    include_intermediate_results: bool = True
    dialect: str = "callback"
    name: str | None = None
    conflate: bool = False
    max_rate: float | None = None
    # Of a session that is read; webhooks of earlier versions may have one, which means nothing.
    ttl: float | None = None
    # The ttl of a webhook.
    webhook_ttl: float | None = None
    # Whether the webhook's receiver may act on alerts that concern others than the owner.
    alert_actions: bool = False
    webhook: EndpointSettings | None = None
    # The principal that owns it, and what that might read when it was created or last changed; None for everything.
    owner: str | None = None
    granted: list[str] | None = None

    @property
    def expires_after(self) -> float | None:
        """The ttl in seconds, 0 for never; None where it has none of its own."""
        return self.ttl if self.delivery_method != "webhook" else self.webhook_ttl

    @property
    def pace(self) -> Pace:
        return Pace(self.conflate, self.max_rate)


def view_of(spec: SessionSpec) -> View:
    """The view of a session; raises BadPattern or BadFilter where its subjects or its filter are not valid."""
    granted = tuple(spec.granted) if spec.granted is not None else None
    return View.of(
        spec.id, spec.subjects, spec.events, spec.filter, spec.include_intermediate_results, granted, spec.owner
    )


# The fields that a change takes over as they are.
_CHANGED = tuple(name for name in SessionChange.__struct_fields__ if name not in ENDPOINT_FIELDS)


def parse_session(body: Any, retries: int = DEFAULT_RETRY_ATTEMPTS) -> tuple[SessionSpec, Start | None]:
    """Reads the body that creates a session: the specification, its `start` still empty, and where it is to begin.

    `retries` counts the retries of a webhook that does not say. `view_of` checks subjects and filter.

    Raises Problem that names the field, or a BadInput of the router.
    """
    given = read_as(_own_fields(body), NewSession)
    if given.dialect == "cloudevents-binary" and given.delivery_method != "webhook":
        raise Problem(
            "bad_body", "the dialect cloudevents-binary is for webhooks; a stream has cloudevents", field="dialect"
        )
    _check(given)
    is_webhook = given.delivery_method == "webhook"
    if is_webhook:
        endpoints.refuse_reader_fields(given.conflate, given.max_rate)
    start = parse_start(given.cursor, given.since, given.last)
    if is_webhook and start is not None and start.snapshot:
        raise Problem(
            "bad_body", "a webhook begins at a place in the stream: a snapshot is for readers", field="cursor"
        )
    spec = SessionSpec(
        id=f"sess_{secrets.token_hex(12)}",
        delivery_method=given.delivery_method,
        created=wall.now_ns(),
        start="",
        snapshot=start is not None and start.snapshot,
        dialect=given.dialect,
        # Webhook settings may stand in any session's body, as in the guide; they are checked only where they are used.
        webhook=endpoints.parse_endpoint(body, given.dialect, retries) if is_webhook else None,
        **{**_values(given, _CHANGED), **(_of_webhook(given.ttl) if is_webhook else {})},
    )
    return spec, start


def parse_change(body: Any, spec: SessionSpec, retries: int = DEFAULT_RETRY_ATTEMPTS) -> SessionSpec:
    """Reads the body of a change; a field that is null goes back to its default. Raises Problem or BadInput.

    `view_of` checks subjects and filter.
    """
    own = _own_fields(body)
    if isinstance(own, dict):
        if fault := unknown_fields(own, sorted(SessionChange.__struct_fields__), UNCHANGEABLE):
            raise Problem("unknown_field", fault)
        own = {name: value for name, value in own.items() if value is not None}
    given = read_as(own, SessionChange)
    _check(given)
    changed = _values(given, [name for name in _CHANGED if name in body])
    webhook = spec.webhook
    if webhook is not None:
        # It is changed by itself: what is known of it beyond its settings must stay.
        webhook = endpoints.parse_change(webhook, body, spec.dialect, retries)
        endpoints.refuse_reader_fields(given.conflate, given.max_rate)
        # Earlier versions took these and did nothing with them.
        changed |= {"conflate": False, "max_rate": None} | _of_webhook(given.ttl if "ttl" in body else spec.webhook_ttl)
    elif field := next((name for name in ENDPOINT_FIELDS if name in body), ""):
        raise Problem("bad_body", "only a webhook session has webhook settings", field=field)
    return msgspec.structs.replace(spec, webhook=webhook, **changed)


def _of_webhook(ttl: float | None) -> dict[str, float | None]:
    return {"ttl": None, "webhook_ttl": ttl}


def _own_fields(body: Any) -> Any:
    """The fields of a body that are not its webhook's."""
    if not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if name not in ENDPOINT_FIELDS}


def _check(given: SessionChange) -> None:
    """Refuses what no type says. Raises Problem."""
    if given.ttl is not None and 0 < given.ttl < 1:
        raise Problem("bad_body", "ttl must be at least 1 second, or 0 for a session that never expires", field="ttl")
    # `$` of a pattern matches before a final line break, too.
    if any(kind.endswith("\n") for kind in given.events or ()):
        raise Problem("bad_body", "events: an event type has lower-case letters, digits and _", field="events")


def _values(given: SessionChange, names: Iterable[str]) -> dict[str, Any]:
    """Some fields of a body as they are stored: an empty list or filter is none."""
    values = {name: getattr(given, name) for name in names}
    return values | {name: values[name] or None for name in ("events", "subjects", "filter") if name in values}
