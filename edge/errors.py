"""Defines the problems (RFC 9457) that refuse a request: stable codes with status and title, and how router errors map to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from router.codec import rfc3339
from router.errors import (
    BadData,
    BadInput,
    BrokerError,
    Forbidden,
    Refused,
    RunEnded,
    RunSuperseded,
    StoreFailed,
    TooLarge,
)
from router.store_trouble import FORBIDDEN, NO_QUORUM, STORAGE_FULL, STREAM_MISSING, UNREACHABLE, code_of

TITLES: Mapping[str, tuple[int, str]] = {
    "token_required": (401, "Token required"),
    "bad_token": (401, "Invalid token"),
    "token_expired": (401, "Token expired"),
    "token_in_query": (401, "Token in query string not allowed"),
    "bad_ticket": (401, "Invalid ticket"),
    "bad_signature": (401, "Invalid signature"),
    "not_granted": (403, "Not granted by the token"),
    "operator_only": (403, "Operators only"),
    "rate_limited": (429, "Rate limit exceeded"),
    "too_many": (429, "Too many at once"),
    "keys_unavailable": (503, "Signing keys unavailable"),
    "bad_header": (400, "Invalid header"),
    "bad_request": (400, "Malformed HTTP request"),
    "websocket_version": (426, "Unsupported WebSocket version"),
    "head_too_large": (431, "Request header fields too large"),
    "request_timeout": (408, "Request timeout"),
    "bad_json": (400, "Invalid JSON"),
    "bad_body": (422, "Invalid body"),
    "unknown_field": (422, "Unknown field"),
    "missing_field": (422, "Missing field"),
    "bad_parameter": (400, "Invalid query parameter"),
    "bad_subject": (422, "Invalid subject"),
    "bad_pattern": (422, "Invalid subject pattern"),
    "bad_event": (422, "Invalid event"),
    "malformed_event": (422, "Malformed data of a known event type"),
    "bad_cursor": (400, "Invalid cursor"),
    "bad_filter": (422, "Invalid filter"),
    "bad_webhook": (422, "Invalid webhook settings"),
    "bad_input": (422, "Invalid input"),
    "idempotency_key_reused": (422, "Idempotency key reused"),
    "forbidden_subject": (403, "Reserved subject"),
    "event_too_large": (413, "Event too large"),
    "body_too_large": (413, "Body too large"),
    "batch_too_large": (413, "Batch too large"),
    "not_found": (404, "Not found"),
    "no_grpc_gateway": (404, "No gRPC gateway"),
    "session_not_found": (404, "Session not found"),
    "session_changed": (409, "Session changed concurrently"),
    "camera_not_found": (404, "Camera not found"),
    "camera_gone": (503, "Camera gone"),
    "camera_failed": (503, "Camera source failed"),
    "no_capture": (504, "No picture captured in time"),
    "octane_not_found": (404, "Octane not found"),
    "run_not_found": (404, "Run not found"),
    "entity_not_found": (404, "Entity not found"),
    "run_over": (409, "Run already ended"),
    "run_superseded": (409, "Another incarnation of the run lives"),
    "thread_exists": (409, "Thread already exists"),
    "assistant_not_found": (404, "Assistant not found"),
    "alert_not_found": (404, "Alert not found"),
    "alert_resolved": (409, "Alert already resolved"),
    "alert_refused": (409, "Alert does not allow this in its state"),
    "bad_rule": (422, "Invalid rule"),
    "rule_not_found": (404, "Rule not found"),
    "rule_exists": (409, "Rule already exists"),
    "rule_in_file": (409, "Rule of the rules file"),
    "rule_changed": (412, "Rule changed concurrently"),
    "too_many_rules": (409, "Too many rules"),
    "rule_store_full": (507, "Rule store full"),
    "backtest_not_found": (404, "Back-test not found"),
    "backtest_gone": (410, "Back-test no longer kept"),
    "too_many_backtests": (409, "Too many back-tests in progress"),
    "alerts_unavailable": (503, "No alerts actor"),
    "type_not_found": (404, "Event type not registered"),
    "agent_unavailable": (503, "No agent of this name serves or has room"),
    "busy": (409, "A run of this thread goes on"),
    "command_not_found": (404, "Command not found"),
    "command_refused": (409, "Command refused"),
    "command_failed": (502, "Command failed"),
    "command_unanswered": (504, "Command timed out"),
    "deadletter_not_found": (404, "Dead letter not found"),
    "redrive_not_found": (404, "Redrive not found"),
    "redrive_ended": (409, "Redrive already ended"),
    "redrive_refused": (409, "Redrive needs force"),
    "too_many_redrives": (409, "Too many redrives in progress"),
    "portal_unavailable": (409, "No link can be made"),
    "not_a_webhook": (409, "Not a webhook session"),
    "attempt_not_found": (404, "Attempt not found"),
    "event_gone": (410, "Event no longer stored"),
    "offset_gone": (410, "Offset no longer retained"),
    "recovery_not_found": (404, "Recovery not found"),
    "recovery_ended": (409, "Recovery already ended"),
    "too_many_recoveries": (409, "Too many recoveries in progress"),
    "no_frame": (404, "No frame available"),
    "webrtc_unavailable": (501, "WebRTC not installed"),
    "bad_offer": (422, "Offer cannot be answered"),
    "peer_not_found": (404, "Peer not found"),
    "peer_changed": (412, "Not the ICE session of the peer"),
    "not_acceptable": (406, "Answer not acceptable"),
    "not_implemented": (501, "Not implemented"),
    "bad_picture_link": (403, "Link to a picture not valid"),
    "recording_not_found": (404, "Recording not found"),
    "recording_open": (409, "Recording in progress"),
    "no_video": (404, "No video recorded"),
    "range_not_satisfiable": (416, "Range not satisfiable"),
    "method_not_allowed": (405, "Method not allowed"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "forbidden_origin": (403, "Origin not allowed"),
    "forbidden_host": (421, "Host not allowed"),
    "draining": (503, "Replica is shutting down"),
    "broker_unavailable": (503, "Event store unavailable"),
    "storage_full": (503, "Event store full"),
    "no_quorum": (503, "Event store has no quorum"),
    "stream_missing": (503, "Stream missing in the event store"),
    "write_failed": (503, "Event store not writable"),
    "store_forbidden": (503, "Write not permitted by the event store"),
    "session_store_full": (507, "Session store full"),
    "storage_refused": (507, "Event refused by the event store"),
    "internal": (500, "Internal error"),
}

# Codes of the store's health that have another name towards clients.
_STORE_CODES = {FORBIDDEN: "store_forbidden", UNREACHABLE: "broker_unavailable"}


class Problem(Exception):
    """a request was refused"""

    def __init__(self, code: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail or code)
        self.code = code
        self.status, self.title = TITLES[code]
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def with_more(self, **more: Any) -> Problem:
        """Adds members to the body; returns itself."""
        self.more |= more
        return self

    def body(self) -> dict[str, Any]:
        """The members of the problem+json body."""
        body: dict[str, Any] = {
            "type": f"urn:callboard:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            body["detail"] = self.detail
        return body | self.more


def from_fault(fault: Exception) -> Problem:
    """Maps an error of the router to a problem; never reveals an exception's text that is not meant for clients."""
    if isinstance(fault, BadData):
        return Problem(fault.code, str(fault), field=fault.place)
    if isinstance(fault, BadInput):
        return Problem(fault.code, str(fault))
    if isinstance(fault, RunEnded):
        return Problem(
            "run_over",
            str(fault),
            ended_by=fault.event,
            ended_at=rfc3339(fault.at),
            run_status=fault.status,
            synthesized=fault.synthesized,
        )
    if isinstance(fault, RunSuperseded):
        return Problem("run_superseded", str(fault), incarnation=fault.incarnation)
    if isinstance(fault, StoreFailed):
        return store_problem(fault.code, f"{fault.stream} accepts no writes at the moment")
    if isinstance(fault, Forbidden):
        return store_problem(FORBIDDEN, "NATS does not permit this server to publish there")
    if isinstance(fault, TooLarge):
        return Problem("event_too_large", fault.description, size=fault.size, limit=fault.limit)
    if isinstance(fault, Refused):
        if (code := code_of(fault)) in (STORAGE_FULL, NO_QUORUM, STREAM_MISSING):
            return store_problem(code, fault.description)
        return Problem("storage_refused", fault.description)
    if isinstance(fault, BrokerError):
        return Problem("broker_unavailable", headers={"Retry-After": "1"})
    return Problem("internal")


def store_problem(code: str, detail: str, **more: Any) -> Problem:
    """The problem of a store that accepts no writes; `code` is one of `router.store_trouble.CODES`."""
    return Problem(_STORE_CODES.get(code, code), detail, headers={"Retry-After": "1"}, **more)


def problem_of(fault: Exception) -> Problem:
    """The problem that stands for an exception."""
    return fault if isinstance(fault, Problem) else from_fault(fault)


# Characters of unknown names that are repeated to the client.
_SHOWN = 200

# How a refusal introduces the names that are not accepted, and those that are.
NOT_KNOWN = ("unknown", "known:")
UNCHANGEABLE = ("cannot be changed", "can be:")

# The words of JSON for msgspec's.
_JSON_WORDS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "dict": "object"}
_AT = re.compile(r"(.*?)(?: - at (?:`key` in )?`\$(.*)`)?\Z", re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)

NO_CODES: Mapping[str, str] = {}


def read_as(
    given: Any,
    shape: type[T],
    code: str = "bad_body",
    *,
    unknown: str = "unknown_field",
    say: tuple[str, str] = NOT_KNOWN,
    codes: Mapping[str, str] = NO_CODES,
    strict: bool = True,
) -> T:
    """Reads a JSON object as a Struct, whose constraints validate it; without `strict` texts may stand for numbers.

    Raises Problem with the `field`: `unknown` and `missing_field` for fields of the object itself, else the code that
    `codes` has for the field, or `code`.
    """
    if not isinstance(given, dict):
        raise Problem(code, "the body must be a JSON object")
    try:
        return msgspec.convert(given, shape, strict=strict)
    except msgspec.ValidationError as fault:
        raise _invalid(str(fault), given, shape, lambda field: codes.get(field, code), unknown, say) from None
    except UnicodeEncodeError:
        field = next((str(name) for name, value in given.items() if not _is_unicode(value)), "")
        raise Problem(code, "a text has a lone surrogate, which is no character", field=field) from None


def _is_unicode(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False
    return True


def _invalid(
    text: str,
    given: dict[str, Any],
    shape: type[msgspec.Struct],
    code_of_field: Callable[[str], str],
    unknown: str,
    say: tuple[str, str],
) -> Problem:
    """Turns the text and the path of a ValidationError into a problem."""
    found = _AT.match(text)
    assert found is not None
    message, path = found[1], (found[2] or "").removeprefix(".")
    known = shape.__struct_encode_fields__
    if not path and (fault := unknown_fields(given, known, say)):
        return Problem(unknown, fault, field=next(str(name)[:_SHOWN] for name in given if name not in known))
    if not path and message.startswith("Object missing"):
        field = message.split("`")[1]
        return Problem("missing_field", f"{field} is required", field=field)
    if message.startswith("Invalid enum value"):
        detail = f"{path} must be one of {', '.join(map(str, _choices(shape, path)))}"
    else:
        words = re.sub(r"\b(int|float|str|bool|dict)\b", lambda word: _JSON_WORDS[word[0]], message.replace("`", ""))
        detail = f"{path}: {words[:1].lower()}{words[1:]}"
    field = re.split(r"[.\[]", path)[0]
    problem = Problem(code_of_field(field), detail)
    return problem.with_more(field=field) if field else problem


def _choices(shape: type[msgspec.Struct], path: str) -> list[Any]:
    """The values of the Literal at a path such as `oauth2.auth` or `retry_statuses[...]`."""
    at = [msgspec.inspect.type_info(shape)]
    for step in [*re.findall(r"\w+|\[", re.sub(r"\[[^]]*\]", "[", path)), ""]:
        # A field of a union may lie in any of its members.
        open_, at = at, []
        while open_:
            kind = open_.pop()
            if isinstance(kind, msgspec.inspect.Metadata):
                open_.append(kind.type)
            elif isinstance(kind, msgspec.inspect.UnionType):
                open_.extend(kind.types)
            elif isinstance(kind, msgspec.inspect.StructType) and step not in ("", "["):
                at.extend(field.type for field in kind.fields if field.encode_name == step)
            elif isinstance(kind, msgspec.inspect.CollectionType) and step == "[":
                at.append(kind.item_type)
            elif isinstance(kind, msgspec.inspect.DictType) and step == "[":
                at.append(kind.value_type)
            elif isinstance(kind, msgspec.inspect.LiteralType) and step == "":
                at.append(kind)
    return [value for kind in at if isinstance(kind, msgspec.inspect.LiteralType) for value in kind.values]


def unknown_fields(given: Iterable[Any], known: Collection[str], say: tuple[str, str] = NOT_KNOWN) -> str:
    """Lists the unknown names and the known ones; "" where all are known."""
    unknown = sorted(str(name) for name in given if name not in known)
    return f"{say[0]}: {', '.join(unknown)[:_SHOWN]}; {say[1]} {', '.join(known) or 'none'}" if unknown else ""


def json_object(body: Any, known: Collection[str], say: tuple[str, str] = NOT_KNOWN) -> dict[str, Any]:
    """Reads a body that is a JSON object of known fields. Raises Problem `bad_body` or `unknown_field`."""
    if not isinstance(body, dict):
        raise Problem("bad_body", "the body must be a JSON object")
    if fault := unknown_fields(body, sorted(known), say):
        raise Problem("unknown_field", fault)
    return body
