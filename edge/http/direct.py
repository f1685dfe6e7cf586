"""Publishes what plain requests bring, as the application does for all others."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import Any

from edge import metrics
from edge.auth.principal import Principal
from edge.errors import Problem, problem_of
from edge.http.batch import EventDoor, Receipt
from edge.http.credentials import bearer_token
from edge.http.ingest import Admitted, Submission, admit, answer_now, answer_stored, sent, store, store_now
from edge.http.origin import OriginRules
from edge.problem import count_refusal
from edge.runtime import Edge
from edge.transports.fast.plain_request import PlainAnswer, PlainExchange, PlainRequest, refusal_of
from router.codec import to_json
from router.errors import RouterError

log = logging.getLogger(__name__)

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

    def take(self, asked: PlainRequest, peer: str, exchange: PlainExchange) -> bool:
        """Answers a request; says no where the application is to refuse it, or has to wait for keys first."""
        edge = self._edge
        if (
            edge.draining
            or len(asked.body) > edge.settings.max_body
            or not self._is_own_host(asked.headers.get("host", ""))
        ):
            return False
        proxies = edge.authenticator.proxies
        if proxies.trusts(peer):
            forwarded = asked.headers.get("x-forwarded-for")
            peer = proxies.client_address(peer, [] if forwarded is None else [forwarded])
        try:
            credentials = asked.headers.get("authorization")
            principal = edge.authenticator.admit_now(None if credentials is None else bearer_token(credentials), peer)
        except Problem:
            return False
        if principal is None:
            return False
        self._publish(asked, principal, peer, exchange)
        return True

    def _publish(self, asked: PlainRequest, principal: Principal, address: str, exchange: PlainExchange) -> None:
        begun = time.perf_counter()
        submission = Submission(asked.body, asked.headers.get("content-type", ""), asked.headers.get("idempotency-key"))
        try:
            admitted = admit(self._edge, submission, principal, address)
        except (Problem, RouterError) as fault:
            exchange.answer(self._refusal(fault, begun))
            return

        def settle(receipt: Receipt | None) -> None:
            try:
                self._settle(admitted, receipt, exchange, begun)
            except Exception:
                log.exception("an event could not be answered for; its client gets status 500")
                exchange.fail()

        if not store_now(self._door, admitted, settle):
            exchange.await_answer(self._store(admitted, begun))

    def _settle(self, admitted: Admitted, receipt: Receipt | None, exchange: PlainExchange, begun: float) -> None:
        if receipt is None:
            exchange.await_answer(self._store(sent(admitted), begun))
        elif (answer := answer_now(self._edge, admitted.many[0].event.id, receipt)) is not None:
            exchange.answer(self._created({**answer, "events": [answer]}, begun))
        else:
            exchange.await_answer(self._describe(admitted, receipt, begun))

    async def _store(self, admitted: Admitted, begun: float) -> PlainAnswer:
        try:
            return self._created(await store(self._edge, self._door, admitted), begun)
        except (Problem, RouterError) as fault:
            return self._refusal(fault, begun)

    async def _describe(self, admitted: Admitted, receipt: Receipt, begun: float) -> PlainAnswer:
        try:
            return self._created(await answer_stored(self._edge, admitted, receipt), begun)
        except (Problem, RouterError) as fault:
            return self._refusal(fault, begun)

    def _created(self, body: dict[str, Any], begun: float) -> PlainAnswer:
        return self._counted(PlainAnswer(201, _HEADERS, to_json(body)), begun)

    def _refusal(self, fault: Problem | RouterError, begun: float) -> PlainAnswer:
        problem = problem_of(fault)
        count_refusal(problem.code)
        return self._counted(refusal_of(problem), begun)

    def _counted(self, answer: PlainAnswer, begun: float) -> PlainAnswer:
        self._counts[answer.status // 100 - 1].add(1)
        self._seconds.observe_many(time.perf_counter() - begun, 1)
        return answer
