"""Handlers of alert rules: create, read, change, enable, delete, their versions, and trying them.

What a rule means is known to the alerts actor alone: it is asked whether a rule is valid before it is stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.rules import RuleAnswer, RulesAnswer, RulesQuery, RuleVersionsAnswer, ValidationAnswer
from edge.http.body import edge_of, json_answer, read_body, read_query
from edge.http.commands import give_any
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, header, operation
from router.clock import wall
from router.codec import rfc3339
from router.errors import BadInput, Conflict, Refused
from router.nats.error_codes import ErrorCode
from router.rule_store import MAX_RULE_TEXT, MAX_STORED_RULES, RuleVersion, StoredRule

# So long the alerts actor has to answer, in seconds: it may have some events in hand.
ANSWER_SECONDS = 10.0
YAML = ("application/yaml", "application/x-yaml", "text/yaml")

_CHANGES = ("bad_rule", "rule_in_file", "alerts_unavailable", "rule_store_full")
_IF_MATCH = header(
    "If-Match", 'The version that is to be changed, such as `"3"`; without, whichever it is.', maxLength=40
)


@operation(
    "List the rules, of the API and of the file",
    Answer(200, "A page, by name", RulesAnswer),
    query=RulesQuery,
    problems=("bad_cursor",),
)
async def list_rules(request: Request) -> Response:
    query = read_query(request, RulesQuery)
    after = _place(query.cursor) if query.cursor else ("", "")
    stored = {rule.name: rule for rule in await edge_of(request).rules.all()}
    origins = await _origins(request)
    of_file = [name for name, origin in (origins or {}).items() if origin == "file"]
    # A rule of the API that has the name of one of the file is listed beside it.
    places = sorted({*((name, "api") for name in stored), *((name, "file") for name in of_file)})
    left = [place for place in places if place > after]
    page = left[: query.limit]
    rules = await ask(request, "described", names=[name for name, _ in page]) if origins is not None else {}
    shown = [
        _shown(stored[name], origins, rules) if source == "api" else _of_file(name, rules.get(name))
        for name, source in page
    ]
    following = "/".join(page[-1]) if len(left) > len(page) else None
    file = await _file(request) if origins is not None else None
    return json_answer({"rules": shown, "next": following, "total": len(places), "file": file})


@operation(
    "Create a rule, in JSON or YAML; it is in force within a second",
    Answer(201, "The rule", RuleAnswer, {"ETag": {"schema": {"type": "string"}}}),
    body=dict[str, Any],
    body_required=True,
    other_bodies=YAML[:1],
    problems=(*_CHANGES, "rule_exists", "too_many_rules"),
)
async def create_rule(request: Request) -> Response:
    edge = edge_of(request)
    text = await _text(request)
    rule = await _validated(request, text)
    if len(edge.rules.known) >= MAX_STORED_RULES:
        raise Problem("too_many_rules", f"at most {MAX_STORED_RULES} rules are kept")
    now = wall.now_ns()
    made = StoredRule(
        name=str(rule["name"]), text=text, version=1, created=now, updated=now, by=principal_of(request.scope).user
    )
    with _room():
        await edge.rules.create(made)
    return _answer(made, rule, 201)


@operation(
    "Read a rule",
    Answer(200, "The rule", RuleAnswer, {"ETag": {"schema": {"type": "string"}}}),
    problems=("rule_not_found", "alerts_unavailable"),
)
async def read_rule(request: Request) -> Response:
    name = request.path_params["name"]
    stored = await edge_of(request).rules.find(name)
    origins = await _origins(request)
    if stored is None:
        _require_of_file(name, origins)
    rules = await ask(request, "described", names=[name]) if origins is not None else {}
    if stored is None:
        return json_answer(_of_file(name, rules.get(name)))
    return json_answer(_shown(stored, origins, rules), headers=_etag(stored))


@operation(
    "List the versions of a rule, the newest first",
    Answer(200, "The last eleven", RuleVersionsAnswer),
    problems=("rule_not_found", "alerts_unavailable"),
)
async def list_versions(request: Request) -> Response:
    return json_answer({"versions": [_version(each) for each in (await _find(request)).versions]})


@operation(
    "Change a rule, in JSON or YAML",
    Answer(200, "The rule", RuleAnswer, {"ETag": {"schema": {"type": "string"}}}),
    body=dict[str, Any],
    body_required=True,
    other_bodies=YAML[:1],
    headers=(_IF_MATCH,),
    problems=(*_CHANGES, "rule_not_found", "rule_changed"),
)
async def change_rule(request: Request) -> Response:
    stored = await _find(request)
    _require_version(request, stored)
    text = await _text(request)
    rule = await _validated(request, text)
    if rule["name"] != stored.name:
        raise Problem("bad_rule", f"name: a rule keeps its name, which is {stored.name}", mistakes=[])
    return _answer(await _stored(request, stored, text=text), rule)


@operation(
    "Delete a rule; its alerts are resolved",
    Answer(204, "Deleted"),
    headers=(_IF_MATCH,),
    problems=("rule_not_found", "rule_changed", "rule_in_file", "alerts_unavailable"),
)
async def delete_rule(request: Request) -> Response:
    stored = await _find(request)
    _require_version(request, stored)
    await edge_of(request).rules.delete(stored.name)
    return Response(status_code=204)


@operation(
    "Enable a rule",
    Answer(200, "The rule", RuleAnswer),
    headers=(_IF_MATCH,),
    problems=("rule_not_found", "rule_changed", "rule_in_file", "alerts_unavailable"),
)
async def enable_rule(request: Request) -> Response:
    return await _switch(request, True)


@operation(
    "Disable a rule; its alerts are resolved",
    Answer(200, "The rule", RuleAnswer),
    headers=(_IF_MATCH,),
    problems=("rule_not_found", "rule_changed", "rule_in_file", "alerts_unavailable"),
)
async def disable_rule(request: Request) -> Response:
    return await _switch(request, False)


@operation(
    "Check a rule without storing it",
    Answer(200, "What it would be, or its mistakes with line and column", ValidationAnswer),
    body=dict[str, Any],
    body_required=True,
    other_bodies=YAML[:1],
    problems=("alerts_unavailable",),
)
async def validate_rule(request: Request) -> Response:
    found = await ask(request, "validate", text=await _text(request))
    return json_answer({"valid": found["rule"] is not None, "rule": found["rule"], "mistakes": found["mistakes"]})


async def ask(request: Request, command: str, **arguments: Any) -> Any:
    """Asks the alerts actor. Raises Problem `alerts_unavailable` where none answers."""
    connection = edge_of(request).broker.connection
    try:
        return await give_any(connection, "alerts", command, arguments, ANSWER_SECONDS)
    except Problem as problem:
        if problem.code in ("command_not_found", "command_unanswered"):
            raise _unavailable() from None
        raise


def _place(cursor: str) -> tuple[str, str]:
    """The place behind which a page begins: name and source. Raises BadRulesCursor."""
    name, _, source = cursor.partition("/")
    if not name or source not in ("api", "file"):
        raise BadRulesCursor
    return name, source


class BadRulesCursor(BadInput):
    """a cursor must be the `next` of a page of rules"""

    code = "bad_cursor"


async def _switch(request: Request, enabled: bool) -> Response:
    stored = await _find(request)
    _require_version(request, stored)
    stored = await _stored(request, stored, enabled=enabled)
    return json_answer(_shown(stored, None, {}), headers=_etag(stored))


async def _stored(
    request: Request, stored: StoredRule, *, text: str | None = None, enabled: bool | None = None
) -> StoredRule:
    """Stores the next version of a rule. Raises Problem where another was first."""
    changed = stored.changed(wall.now_ns(), principal_of(request.scope).user, text=text, enabled=enabled)
    if changed is not stored:
        try:
            with _room():
                await edge_of(request).rules.update(changed)
        except Conflict:
            raise Problem("rule_changed", "somebody else has changed the rule meanwhile; read it again") from None
    return changed


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        if refusal.err_code == ErrorCode.STREAM_STORE_FAILED:
            raise Problem("rule_store_full", "the bucket RULES is full; delete some rules") from None
        raise


async def _find(request: Request) -> StoredRule:
    name = request.path_params["name"]
    stored = await edge_of(request).rules.find(name)
    if stored is None:
        _require_of_file(name, await _origins(request))
        raise _in_file(name)
    return stored


def _require_version(request: Request, stored: StoredRule) -> None:
    """Raises Problem where the request is for another version than the one that is stored."""
    wanted = request.headers.get("if-match", "*").strip()
    if wanted != "*" and wanted.removeprefix("W/").strip('"') != str(stored.version):
        raise Problem("rule_changed", f"the rule is at version {stored.version}; read it again", version=stored.version)


async def _text(request: Request) -> str:
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    # A form is what `curl -d` says it sends, and text what a page's no-preflight fetch does, when nobody says otherwise.
    if kind not in ("", "application/json", *YAML, "text/plain", "application/x-www-form-urlencoded"):
        raise Problem("unsupported_media_type", f"{kind[:80]} is not known; send application/json or application/yaml")
    body = await read_body(request)
    if len(body) > MAX_RULE_TEXT:
        raise Problem("body_too_large", f"a rule has at most {MAX_RULE_TEXT} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Problem("bad_json", "the body is not UTF-8") from None


async def _validated(request: Request, text: str) -> dict[str, Any]:
    """The rule that a text is. Raises Problem that lists its mistakes."""
    found = await ask(request, "validate", text=text)
    if found["rule"] is None:
        first = found["mistakes"][0]["reason"] if found["mistakes"] else "it is no rule"
        raise Problem("bad_rule", first, mistakes=found["mistakes"])
    if found["in_file"]:
        raise _in_file(found["rule"]["name"])
    rule: dict[str, Any] = found["rule"]
    return rule


async def _file(request: Request) -> dict[str, Any] | None:
    """How the rules file of the alerts actor stands; None where no actor answers."""
    try:
        found = await ask(request, "standing")
    except Problem:
        return None
    return {"name": found["file"], "in_force": not found["mistakes"], "mistakes": found["mistakes"]}


async def _origins(request: Request) -> dict[str, str] | None:
    """Where each rule in force stands, by name; None where no actor answers."""
    try:
        found: dict[str, str] = await ask(request, "origins")
        return found
    except Problem:
        return None


def _shown(stored: StoredRule, origins: dict[str, str] | None, rules: dict[str, Any]) -> dict[str, Any]:
    in_force = None if origins is None else origins.get(stored.name) == "api"
    return {
        "name": stored.name,
        "source": "api",
        "enabled": stored.enabled,
        "version": stored.version,
        "in_force": in_force,
        "disabled_by": _disabled_by(stored, origins),
        "reason": _why_not(stored, origins),
        "rule": rules.get(stored.name) if in_force else None,
        "text": stored.text,
        "created": rfc3339(stored.created),
        "updated": rfc3339(stored.updated),
        "by": stored.by,
    }


def _why_not(stored: StoredRule, origins: dict[str, str] | None) -> str | None:
    """Why a rule of the API is not in force; None where it is, or nobody knows."""
    if origins is None or (origin := origins.get(stored.name)) == "api":
        return None
    if origin == "file":
        return "the rules file of the alerts actor has a rule of this name, which is in force in its place"
    if not stored.enabled:
        return f"it is disabled; POST /rules/{stored.name}/enable enables it"
    if origin == "disabled":
        return "it is disabled by `enabled: false` in its text; store the text without that to enable it"
    return "the alerts actor has not read it yet, or it has mistakes, which POST /rules/validate lists"


def _disabled_by(stored: StoredRule, origins: dict[str, str] | None) -> str | None:
    """Which of the two ways disables a rule; None where it is enabled by both, as far as that is known."""
    if not stored.enabled:
        return "switch"
    return "text" if (origins or {}).get(stored.name) == "disabled" else None


def _of_file(name: str, rule: dict[str, Any] | None) -> dict[str, Any]:
    shown = {"name": name, "source": "file", "enabled": True, "version": 0, "in_force": True, "rule": rule}
    return shown | dict.fromkeys(("disabled_by", "reason", "text", "created", "updated", "by"))


def _answer(stored: StoredRule, rule: dict[str, Any], status: int = 200) -> Response:
    shown = {**_shown(stored, {stored.name: "disabled"} if rule.get("enabled") is False else None, {}), "rule": rule}
    return json_answer(shown, status, {"Location": f"/rules/{stored.name}", **_etag(stored)})


def _etag(stored: StoredRule) -> dict[str, str]:
    return {"ETag": f'"{stored.version}"'}


def _version(version: RuleVersion) -> dict[str, Any]:
    return msgspec.structs.asdict(version) | {"at": rfc3339(version.at)}


def _require_of_file(name: str, origins: dict[str, str] | None) -> None:
    """Raises Problem where a rule that the API has not is none of the file's, or nobody knows."""
    if origins is None:
        raise _unavailable()
    if origins.get(name) != "file":
        raise _unknown(name)


def _unavailable() -> Problem:
    retry = {"Retry-After": "5"}
    return Problem("alerts_unavailable", "no alerts actor answers; it knows what a rule means", headers=retry)


def _unknown(name: str) -> Problem:
    return Problem("rule_not_found", f"no rule {name[:80]!r} was made by the API")


def _in_file(name: str) -> Problem:
    return Problem("rule_in_file", f"the rule {name} stands in the rules file of the alerts actor; change it there")
