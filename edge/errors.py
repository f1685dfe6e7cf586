"""The problems that a request is refused with: stable codes, their statuses and titles, and the router's errors as such."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from router.errors import BadInput, BrokerError, Forbidden, Refused, StoreFailed, TooLarge
from router.store_health import FORBIDDEN, NO_QUORUM, STORAGE_FULL, STREAM_MISSING, UNREACHABLE, code_of

TITLES: Mapping[str, tuple[int, str]] = {
    "token_required": (401, "A token is needed"),
    "bad_token": (401, "The token is not valid"),
    "token_expired": (401, "The token has expired"),
    "token_in_query": (401, "A token has no place in an address"),
    "bad_ticket": (401, "The ticket is not good"),
    "not_granted": (403, "The token does not allow this"),
    "operator_only": (403, "This is for those who operate the system"),
    "rate_limited": (429, "Too much at once"),
    "too_many": (429, "There are too many already"),
    "keys_unavailable": (503, "The keys that tokens are checked with could not be fetched"),
    "bad_header": (400, "A header is not as it should be"),
    "bad_request": (400, "The request is not HTTP as it should be"),
    "websocket_version": (426, "Another version of the WebSocket protocol is needed"),
    "head_too_large": (431, "The head of the request is too large"),
    "request_timeout": (408, "The request took too long to arrive"),
    "bad_json": (400, "The body is not JSON"),
    "bad_body": (422, "The body is not as it should be"),
    "unknown_field": (422, "The body has a field that is not known"),
    "missing_field": (422, "The body lacks a field"),
    "bad_parameter": (400, "A query parameter is not as it should be"),
    "bad_subject": (422, "A subject is not valid"),
    "bad_pattern": (422, "A pattern is not valid"),
    "bad_event": (422, "The event is not valid"),
    "bad_cursor": (400, "The cursor is not valid"),
    "bad_filter": (422, "The filter is not valid"),
    "bad_webhook": (422, "The webhook is not configured as it should be"),
    "bad_input": (422, "The input is not valid"),
    "idempotency_key_reused": (422, "The key or id was used for another event"),
    "forbidden_subject": (403, "Nobody may publish to this subject from outside"),
    "event_too_large": (413, "The event is too large"),
    "body_too_large": (413, "The body is too large"),
    "batch_too_large": (413, "The batch has too many events"),
    "not_found": (404, "There is nothing at this address"),
    "session_not_found": (404, "There is no such session"),
    "session_changed": (409, "Somebody else changed the session first"),
    "camera_not_found": (404, "There is no such camera"),
    "octane_not_found": (404, "There is no such Octane"),
    "run_not_found": (404, "There is no such run"),
    "command_not_found": (404, "There is no such command, or nobody who takes it"),
    "command_refused": (409, "The actor refuses the command"),
    "command_failed": (502, "The actor failed at the command"),
    "command_unanswered": (504, "The actor did not answer in time"),
    "deadletter_not_found": (404, "There is no such dead letter"),
    "redrive_not_found": (404, "There is no such redrive"),
    "redrive_ended": (409, "The redrive is over"),
    "redrive_refused": (409, "This is not sent again without force"),
    "too_many_redrives": (409, "Too many redrives are not over yet"),
    "not_a_webhook": (409, "The session is no webhook session"),
    "attempt_not_found": (404, "There was no such attempt"),
    "event_gone": (410, "The event is no longer kept"),
    "recovery_not_found": (404, "There is no such recovery"),
    "recovery_ended": (409, "The recovery is over"),
    "too_many_recoveries": (409, "Too many recoveries are not over yet"),
    "no_frame": (404, "There is no picture yet"),
    "method_not_allowed": (405, "The method is not known here"),
    "unsupported_media_type": (415, "The body's type is not known here"),
    "forbidden_origin": (403, "Pages of this origin may not speak to this server"),
    "forbidden_host": (421, "This server does not answer to that name"),
    "draining": (503, "This replica is shutting down"),
    "broker_unavailable": (503, "The event store does not answer"),
    "storage_full": (503, "The event store has no room"),
    "no_quorum": (503, "The event store has no leader for this stream"),
    "stream_missing": (503, "A stream of the event store is missing"),
    "write_failed": (503, "The event store takes no writes"),
    "store_forbidden": (503, "The event store does not allow this server to write"),
    "session_store_full": (507, "There is no room for another session"),
    "storage_refused": (507, "The event store refused the event"),
    "internal": (500, "Something failed here"),
}

# Codes of the store's health that would say something else to a client.
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
        """The problem as JSON has it."""
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
    """Turns an error of the router into a problem; never gives away an exception's text that is not meant for clients."""
    if isinstance(fault, BadInput):
        return Problem(fault.code, str(fault))
    if isinstance(fault, StoreFailed):
        return store_problem(fault.code, f"{fault.stream} takes no writes now")
    if isinstance(fault, Forbidden):
        return store_problem(FORBIDDEN, "NATS does not allow this server to publish there")
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
    """The problem of a store that takes no writes; `code` is one of `router.store_health.CODES`."""
    return Problem(_STORE_CODES.get(code, code), detail, headers={"Retry-After": "1"}, **more)


def problem_of(fault: Exception) -> Problem:
    """The problem that a request is refused with."""
    return fault if isinstance(fault, Problem) else from_fault(fault)


# Characters of unknown field names that an answer repeats.
_SHOWN = 200

# How an answer says which fields it refuses, and which there are.
NOT_KNOWN = ("not known", "known are")

UNCHANGEABLE = ("cannot be changed", "can be:")

# The words of JSON for msgspec's.
_JSON_WORDS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "dict": "object"}
_AT = re.compile(r"(.*?)(?: - at (?:`key` in )?`\$(.*)`)?\Z", re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


def read_as(
    given: Any,
    shape: type[T],
    code: str = "bad_body",
    *,
    unknown: str = "unknown_field",
    say: tuple[str, str] = NOT_KNOWN,
    strict: bool = True,
) -> T:
    """Reads a JSON object as a Struct, whose constraints validate it; without `strict` texts may stand for numbers.

    Raises Problem with the `field`: `unknown` and `missing_field` for fields of the object itself, else `code`.
    """
    if not isinstance(given, dict):
        raise Problem(code, "the body must be a JSON object")
    try:
        return msgspec.convert(given, shape, strict=strict)
    except msgspec.ValidationError as fault:
        raise _invalid(str(fault), given, shape, code, unknown, say) from None
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
    text: str, given: dict[str, Any], shape: type[msgspec.Struct], code: str, unknown: str, say: tuple[str, str]
) -> Problem:
    """Turns the text and the path of a ValidationError into a problem."""
    found = _AT.match(text)
    assert found is not None
    message, path = found[1], (found[2] or "").removeprefix(".")
    if not path and (fault := unknown_fields(given, shape.__struct_fields__, say)):
        return Problem(
            unknown, fault, field=next(str(name)[:_SHOWN] for name in given if name not in shape.__struct_fields__)
        )
    if not path and message.startswith("Object missing"):
        field = message.split("`")[1]
        return Problem("missing_field", f"{field} is required", field=field)
    if message.startswith("Invalid enum value"):
        detail = f"{path} must be one of {', '.join(map(str, _choices(shape, path)))}"
    else:
        words = re.sub(r"\b(int|float|str|bool|dict)\b", lambda word: _JSON_WORDS[word[0]], message.replace("`", ""))
        detail = f"{path}: {words[:1].lower()}{words[1:]}"
    field = re.split(r"[.\[]", path)[0]
    problem = Problem(code, detail)
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
    """Says which names are not known, and which are; "" where all of them are."""
    unknown = sorted(str(name) for name in given if name not in known)
    return f"{say[0]}: {', '.join(unknown)[:_SHOWN]}; {say[1]} {', '.join(known) or 'none'}" if unknown else ""


def json_object(body: Any, known: Collection[str], say: tuple[str, str] = NOT_KNOWN) -> dict[str, Any]:
    """Reads a body that is a JSON object of known fields. Raises Problem `bad_body` or `unknown_field`."""
    if not isinstance(body, dict):
        raise Problem("bad_body", "the body must be a JSON object")
    if fault := unknown_fields(body, sorted(known), say):
        raise Problem("unknown_field", fault)
    return body
