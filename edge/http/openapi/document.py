"""Generates the OpenAPI 3.1 document from the route table, the handlers' operations and the Structs of their bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
from starlette.routing import BaseRoute, Route, WebSocketRoute

from edge.auth.authenticator import Access
from edge.errors import TITLES
from edge.http.bodies.events import EventAnswer, ProblemAnswer
from edge.http.bodies.webhooks import WebhookNews
from edge.http.openapi.examples import problem_examples, with_examples
from edge.http.openapi.names import described, in_path, operation_id, summary_and_description
from edge.http.openapi.operation import BODY, STORE, Answer, Media, Operation, header, operation_of
from edge.http.openapi.schemas import components, parameters, requested, without_defaults
from edge.http.openapi.tags import tag_of, tags
from edge.webhooks.endpoint.state_changes import DELIVERY_KINDS, ENDPOINT_KINDS
from router.version import VERSION

# Any route may answer these; those for which a token is needed also the next.
_ALWAYS = ("bad_header", "forbidden_origin", "forbidden_host", "internal")
_TOKEN = ("token_required", "bad_token", "token_expired", "token_in_query", "rate_limited", "keys_unavailable")
_BY_ACCESS: Mapping[Access, tuple[str, ...]] = {
    Access.OPEN: (),
    Access.TOKEN: _TOKEN,
    Access.SESSION: _TOKEN,
    Access.STREAM: (*_TOKEN, "bad_ticket"),
    Access.OPERATOR: (*_TOKEN, "operator_only"),
}
_SUBPROTOCOL = "Sec-WebSocket-Protocol"
_WEBSOCKET = Answer(
    101,
    "A WebSocket. Refusals are sent as a message, then the socket is closed with a code from 4000.",
    headers={_SUBPROTOCOL: {"schema": {"type": "string"}, "description": "The one that was selected."}},
)
_SUBPROTOCOLS = header(
    _SUBPROTOCOL,
    "`callboard.v1`, and where no Authorization can be sent `callboard.v1, bearer.<token>`. A session's socket also knows "
    "`cloudevents.json`: then each message, in both directions, is one CloudEvent in structured JSON, notices too. The answer "
    "names the first known one that was offered, and never the token; other names are ignored.",
)


def document(routes: Iterable[BaseRoute], access: Mapping[str, Access]) -> dict[str, Any]:
    """Describes the routes; one that `access` does not name is for operators. Raises KeyError for an undeclared handler."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for route in routes:
        if isinstance(route, (Route, WebSocketRoute)):
            declared = operation_of(route.endpoint)
            (method,) = (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
            name = operation_id(route.name, route.path)
            summary, description = summary_and_description(declared, name)
            used.add(tag := tag_of(method, route.path))
            about = {"operationId": name, "tags": [tag], "summary": summary, "description": description}
            required = access.get(route.path, Access.OPERATOR)
            paths.setdefault(route.path, {})[method.lower()] = about | _operation(
                name, route.path, declared, required, schemas
            )
    webhooks = {"system.webhook": {"post": _news(schemas)}}
    schemas.of(EventAnswer)
    made = schemas.components()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callboard",
            "version": VERSION,
            "description": _ABOUT,
        },
        "servers": [
            {"url": "/", "description": "The edge that answered this document."},
            {"url": "http://127.0.0.1:8000", "description": "What `make up` starts."},
        ],
        **tags(used),
        "security": [{"bearer": []}],
        "paths": with_examples(paths, made),
        "webhooks": with_examples(webhooks, made),
        "components": {
            "schemas": made,
            "examples": problem_examples(paths),
            "securitySchemes": {"bearer": _BEARER, "ticket": _TICKET},
        },
    }


_ABOUT = """\
Realtime events from JetStream to sessions, over WebSocket, SSE, webhook and polling, by one cursor. The events themselves:
`/asyncapi.json` and `/schemas`.

**Access.** Where no keys are configured everything is allowed. Else each request carries a token as `Authorization: Bearer`;
what cannot set headers asks for a ticket by `POST /tickets`.

**Errors.** Each answer from 400 on is an `application/problem+json` with a stable `code`; the codes of each operation stand in
the descriptions of its answers.

**Lists.** A list that goes on has `next`: send it back as `cursor`.
"""


_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "Needed where keys are configured. The claim `callboard` lists the patterns that may be read, published and "
    "commanded: `{read, publish, command, operate}`.",
}

_TICKET = {
    "type": "apiKey",
    "in": "query",
    "name": "ticket",
    "description": "From `POST /tickets`, valid once and for one stream, where no Authorization can be sent.",
}


class _Schemas:
    """The types that a document refers to."""

    def __init__(self) -> None:
        self._types: list[Any] = []
        self._known: dict[Any, dict[str, Any]] = {}
        # The schemas of what clients send.
        self._bodies: list[dict[str, Any]] = []

    def of_body(self, kind: Any) -> dict[str, Any]:
        """The schema of a request's body."""
        self._bodies.append(made := self.of(kind))
        return made

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type, a reference for a Struct; of a tuple of types, one of them."""
        if isinstance(kind, tuple):
            return {"oneOf": [self.of(each) for each in kind]}
        if kind not in self._known:
            self._types.append(kind)
            ((self._known[kind],), _) = components([kind])
        return dict(self._known[kind])

    def components(self) -> dict[str, Any]:
        """All components, by name."""
        made = components(self._types)[1]
        made["Problem"]["properties"]["code"] = {"type": "string", "enum": sorted(TITLES)}
        for name in requested(self._bodies, made):
            made[name] = without_defaults(made[name])
        return dict(sorted(made.items()))


def _operation(name: str, path: str, declared: Operation, access: Access, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {}
    given: list[Any] = [in_path(each, path) for each in re.findall(r"\{(\w+)\}", path)]
    if declared.query:
        given += map(described, parameters(declared.query))
    given += [*declared.headers, *([_SUBPROTOCOLS] if declared.websocket else ())]
    if given:
        made["parameters"] = given
    if declared.body is not None:
        content = {"application/json": {"schema": schemas.of_body(declared.body)}}
        content |= {kind: {"schema": {}} for kind in declared.other_bodies}
        made["requestBody"] = {"content": content} | ({"required": True} if declared.body_required else {})
    elif declared.text_body is not None:
        made["requestBody"] = {"content": {declared.text_body: {"schema": {"type": "string"}}}, "required": True}
    if access is Access.OPEN:
        made["security"] = []
    elif access is Access.STREAM:
        made["security"] = [{"bearer": []}, {"ticket": []}]
    answers = (_WEBSOCKET,) if declared.websocket else declared.answers
    made["responses"] = {str(answer.status): _answer(answer, schemas) for answer in answers}
    made["responses"] |= _problems(_codes(path, declared, access), schemas)
    return made


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.description}
    if isinstance(answer.body, Media):
        made["content"] = {kind: {"schema": {}} for kind in (answer.body.type, *answer.body.others)}
    elif answer.body is not None:
        made["content"] = {"application/json": {"schema": schemas.of(answer.body)}}
    if answer.headers:
        made["headers"] = dict(answer.headers)
    return made


def _codes(path: str, declared: Operation, access: Access) -> list[str]:
    """The codes of the problems that an operation may answer."""
    codes = [*declared.problems]
    if "{session_id}" in path:
        codes.append("session_not_found")
    if declared.query is not None:
        codes.append("bad_parameter")
    if declared.body is not None:
        codes += BODY
        if _has_required(declared.body):
            codes.append("missing_field")
    if declared.store and access is not Access.OPEN:
        codes += STORE
    if declared.websocket:
        codes.append("websocket_version")
    return list(dict.fromkeys((*codes, *_BY_ACCESS[access], *_ALWAYS)))


def _has_required(body: Any) -> bool:
    """Whether a body is an object, or one of several, of which a field may be missing."""
    if isinstance(body, type) and issubclass(body, msgspec.Struct):
        return any(field.required or _has_required(field.type) for field in msgspec.structs.fields(body))
    return any(_has_required(each) for each in get_args(body))


def _problems(codes: Iterable[str], schemas: _Schemas) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(TITLES[code][0]), []).append(code)
    schema = schemas.of(ProblemAnswer)

    def content(code: str) -> dict[str, Any]:
        example = {code: {"$ref": f"#/components/examples/{code}"}}
        return {"application/problem+json": {"schema": schema, "examples": example}}

    return {
        status: {"description": ", ".join(found), "content": content(found[0])} for status, found in by_status.items()
    }


def _news(schemas: _Schemas) -> dict[str, Any]:
    """The events of webhook endpoints, as a webhook is posted them; a stream shows the same."""
    event = {
        "type": "object",
        "properties": {
            "event_type": {"type": "string", "enum": [*DELIVERY_KINDS, *ENDPOINT_KINDS]},
            "subject": {"type": "string", "description": "`system.webhook.` and the type."},
            "data": schemas.of(WebhookNews),
        },
        "required": ["event_type", "subject", "data"],
    }
    return {
        "operationId": "receiveWebhookNews",
        "tags": ["Webhooks"],
        "summary": "A change of a webhook's endpoint or delivery",
        "description": "Posted to sessions that subscribe to `system.webhook.>`.",
        "requestBody": {"content": {"application/json": {"schema": event}}},
        "responses": {"2XX": {"description": "Accepted"}},
    }
