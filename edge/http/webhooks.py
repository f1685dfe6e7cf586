"""Handlers of a webhook session's endpoint: attempts, resends, recoveries, health, secrets, verification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.http.body import edge_of, json_answer, read_json
from edge.http.sessions import session_of
from edge.sessions.answer import describe as describe_session
from router.topology import HOOKS


async def list_attempts(request: Request) -> Response:
    return json_answer(await edge_of(request).hooks.attempts(await session_of(request), request.query_params))


async def resend_delivery(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    body = await read_json(request)
    edge.store.require(HOOKS)
    return json_answer(await edge.store.guard(HOOKS, edge.hooks.resend(session, body)), 202)


async def recover_deliveries(request: Request) -> Response:
    session = await session_of(request)
    return _recovery(await edge_of(request).hooks.recover(session, await read_json(request)))


async def replay_deliveries(request: Request) -> Response:
    session = await session_of(request)
    return _recovery(await edge_of(request).hooks.replay(session, await read_json(request)))


def _recovery(shown: Mapping[str, Any]) -> Response:
    """A recovery goes on after its request; the answer says where it can be watched."""
    return json_answer(shown, 202, {"Location": f"/callbacks/sessions/{shown['session_id']}/recoveries/{shown['id']}"})


async def list_recoveries(request: Request) -> Response:
    return json_answer(await edge_of(request).hooks.recoveries(await session_of(request)))


async def read_recovery(request: Request) -> Response:
    return json_answer(
        await edge_of(request).hooks.recovery(await session_of(request), request.path_params["recovery"])
    )


async def cancel_recovery(request: Request) -> Response:
    return json_answer(
        await edge_of(request).hooks.cancel(await session_of(request), request.path_params["recovery"]), 202
    )


async def endpoint_health(request: Request) -> Response:
    return json_answer(await edge_of(request).hooks.health(await session_of(request)))


async def enable_endpoint(request: Request) -> Response:
    session = await session_of(request)
    return json_answer(await edge_of(request).hooks.enable(session, await read_json(request)))


async def disable_endpoint(request: Request) -> Response:
    session = await session_of(request)
    return json_answer(await edge_of(request).hooks.disable(session, await read_json(request)))


async def rotate_secret(request: Request) -> Response:
    session = await session_of(request)
    return json_answer(await edge_of(request).hooks.rotate(session, await read_json(request)))


async def verify_endpoint(request: Request) -> Response:
    session, consent = await edge_of(request).hooks.verify(await session_of(request))
    return json_answer(describe_session(session.spec, verification=consent.describe()))
