"""Declares what a handler takes and answers, beside the handler; the OpenAPI document is generated from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

STORE = ("broker_unavailable", "storage_full", "no_quorum", "stream_missing", "write_failed", "store_forbidden")
BODY = ("bad_json", "bad_body", "unknown_field", "body_too_large", "request_timeout")

Json = Mapping[str, Any]
Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class Media:
    """A body that is no JSON: its content type, and others that it may have."""

    type: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A response: its status, its description, and the type of its body; None without a body."""

    status: int
    description: str
    body: Any = None
    headers: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """What one handler takes and answers."""

    summary: str
    answers: tuple[Answer, ...]
    problems: tuple[str, ...] = ()
    query: type[msgspec.Struct] | None = None
    body: Any = None
    body_required: bool = False
    other_bodies: tuple[str, ...] = ()
    # The content type of a required body that is no JSON at all.
    text_body: str | None = None
    headers: tuple[Json, ...] = ()
    # Whether it asks the event store, which may not answer.
    store: bool = True
    websocket: bool = False
    # What it does beyond its summary; descriptions.yaml has those of most.
    description: str = ""


_OPERATIONS: dict[Callable[..., Any], Operation] = {}


def operation(summary: str, *answers: Answer, **more: Any) -> Callable[[Handler], Handler]:
    """Declares the operation of a handler; `more` are the other fields of Operation."""

    def declare(handler: Handler) -> Handler:
        _OPERATIONS[handler] = Operation(summary, answers, **more)
        return handler

    return declare


def operation_of(handler: Callable[..., Any]) -> Operation:
    """The operation of a handler. Raises KeyError where it declares none."""
    return _OPERATIONS[handler]


def header(name: str, description: str, **schema: Any) -> Json:
    """Describes a header that a request may have."""
    return {"name": name, "in": "header", "schema": {"type": "string", **schema}, "description": description}
