"""Publishes what plain requests bring, as the application does for all others."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any

from edge import metrics
from edge.auth.principal import Principal
from edge.errors import Problem, problem_of
from edge.http.batch import EventDoor
from edge.http.credentials import bearer_token
from edge.http.ingest import Submission, publish
from edge.http.origin import OriginRules
from edge.problem import count_refusal
from edge.runtime import Edge
from edge.transports.fast.plain_request import PlainAnswer, PlainRequest, refusal_of
from router.codec import to_json
from router.errors import RouterError

_KINDS = ("1xx", "2xx", "3xx", "4xx", "5xx")
_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class DirectPublisher:
    """Publishes the events of plain requests to one process."""

    def __init__(self, edge: Edge, door: EventDoor, rules: OriginRules, route: str) -> None:
        """`route` is what metrics call it."""
        self._edge = edge
        self._door = door
        self._is_own_host = lru_cache(1024)(rules.is_own_host)
        self._counts = [metrics.requests.labels(route, kind) for kind in _KINDS]
        self._seconds = metrics.request_seconds.labels(route)

    def take(self, asked: PlainRequest, peer: str) -> Coroutine[Any, Any, PlainAnswer] | None:
        """What answers a request; None where the application is to refuse it, or has to wait for keys first."""
        edge = self._edge
        if (
            edge.draining
            or len(asked.body) > edge.settings.max_body
            or not self._is_own_host(asked.text(b"host") or "")
        ):
            return None
        proxies = edge.authenticator.proxies
        if proxies.trusts(peer):
            forwarded = asked.text(b"x-forwarded-for")
            peer = proxies.client_address(peer, [] if forwarded is None else [forwarded])
        try:
            credentials = asked.text(b"authorization")
            principal = edge.authenticator.admit_now(None if credentials is None else bearer_token(credentials), peer)
        except Problem:
            return None
        return None if principal is None else self._answer(asked, principal, peer)

    async def _answer(self, asked: PlainRequest, principal: Principal, address: str) -> PlainAnswer:
        begun = time.perf_counter()
        submission = Submission(asked.body, asked.text(b"content-type") or "", asked.text(b"idempotency-key"))
        try:
            answer = PlainAnswer(
                201, _HEADERS, to_json(await publish(self._edge, self._door, submission, principal, address))
            )
        except (Problem, RouterError) as fault:
            problem = problem_of(fault)
            count_refusal(problem.code)
            answer = refusal_of(problem)
        self._counts[answer.status // 100 - 1].add(1)
        self._seconds.observe_many(time.perf_counter() - begun, 1)
        return answer
