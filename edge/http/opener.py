"""Opens streams of sessions from the heads of their requests, at once: without ASGI, a route table, a task or a wait.

Most connections are plain: a known session, a valid token, a place that this process has received. All that the application asks
of such a request is asked here, too. Whatever is not plain, or would be refused, is left to the application: it reads the request
again, answers it, and counts what it refuses.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import lru_cache
from typing import NamedTuple

from starlette.datastructures import QueryParams

from edge import metrics
from edge.auth.connection import granted_view
from edge.dialects.dialect import Headers, SharedDialect
from edge.errors import Problem
from edge.http.bodies.sessions import SocketQuery, SseQuery
from edge.http.body import read_parameters
from edge.http.credentials import bearer_token, offered_tokens
from edge.http.origin import OriginRules
from edge.http.streams import SUBPROTOCOLS, dialect_of, opening_of, pace_of, start_of
from edge.runtime import Edge
from edge.sessions.registry import Session
from edge.transports.control import Opening
from edge.transports.fast.connection import socket_of
from edge.transports.fast.head import RawHeaders, StreamRequest, accept_socket, lines_of, socket_head, stream_head
from edge.transports.fast.takeover import KEEPS, TakenConnection
from edge.transports.sse import last_event_id_in
from edge.types import ReadRequest
from edge.view import Pace
from router.cursor import Start, parse_start
from router.errors import BadInput

# Longer queries are left to the application; shorter ones are remembered.
MAX_QUERY = 512
# How many origins and dialects the heads of answers are kept for, until the second is over that they say.
MAX_HEADS = 256
# Where a token may not be sent, and where a ticket is: the application says so, or redeems it.
_CREDENTIALS = frozenset({"token", "access_token", "ticket"})


@lru_cache(1024)
def _socket_query(query: bytes) -> SocketQuery | None:
    given = QueryParams(query)
    return read_parameters(given, SocketQuery) if _CREDENTIALS.isdisjoint(given) else None


@lru_cache(1024)
def _stream_query(query: bytes) -> SseQuery | None:
    given = QueryParams(query)
    if last_event_id_in(given) is not None or not _CREDENTIALS.isdisjoint(given):
        return None
    return read_parameters(given, SseQuery)


class _Answer(NamedTuple):
    """How a request is answered: in which dialect, from where on, at which pace, and by which head.

    `compresses` is None for server-sent events.
    """

    dialect: SharedDialect
    start: Start | Opening
    pace: Pace
    head: bytes
    compresses: bool | None = None


class StreamOpener:
    """Opens the streams of one process."""

    def __init__(self, edge: Edge, rules: OriginRules, path: str) -> None:
        """`path` is that of a session, as metrics name its routes."""
        self._edge = edge
        self._rules = rules
        self._admits = lru_cache(1024)(self._admit)
        # The headers of every answer, as they were given and as lines; and the heads of streams that have these.
        self._common: tuple[RawHeaders, bytes] = (), b""
        self._heads: dict[tuple[Headers, str | None], bytes] = {}
        # By whether it is a WebSocket: what counts the requests of its route, and what times them.
        self._metrics = {
            is_socket: (metrics.requests.labels(route, kind), metrics.request_seconds.labels(route))
            for is_socket, route, kind in ((True, f"{path}/ws", "1xx"), (False, f"{path}/sse", "2xx"))
        }

    def open(self, asked: StreamRequest, transport: asyncio.Transport, common: RawHeaders) -> bool:
        """Answers a request and hands its connection to a reader; says no, and does nothing, where the application is to answer.

        `common` are the headers of every answer.
        """
        begun = time.perf_counter()
        session = self._edge.registry.sessions.get(asked.session_id)
        if session is None or self._edge.draining or len(asked.query) > MAX_QUERY:
            return False
        if not self._admits(asked.text(b"host") or "", asked.text(b"origin")):
            return False
        if (pipe := socket_of(transport)) is None:
            return False
        is_opened = False
        try:
            if (address := self._address(asked, pipe)) is not None:
                is_opened = self._open(asked, session, TakenConnection(transport, pipe), address, common)
        except (Problem, BadInput):
            # The application finds the same, and says what.
            return False
        finally:
            if not is_opened:
                pipe.detach()
        if is_opened:
            requests, seconds = self._metrics[asked.is_socket]
            requests.inc()
            seconds.observe(time.perf_counter() - begun)
        return is_opened

    def _open(
        self,
        asked: StreamRequest,
        session: Session,
        taken: TakenConnection,
        address: str,
        common: RawHeaders,
    ) -> bool:
        """Raises Problem or BadInput."""
        edge, limits = self._edge, self._edge.authenticator.limits
        subprotocols = asked.subprotocols
        principal = edge.authenticator.admit_now(_token(asked, subprotocols), address)
        if principal is None or not principal.owns(session.spec.owner):
            return False
        view = granted_view(principal, session)
        if asked.is_socket:
            answer = self._answer_socket(asked, session, subprotocols, common)
        else:
            answer = self._answer_stream(asked, session, common)
        if answer is None or not limits.has_room(address, principal) or (feed := edge.hub.join_now(view)) is None:
            return False
        # There is room, so this is not refused.
        auth = edge.connection_auths.open(principal, session, address)
        edge.takeover.open(
            taken._replace(head=answer.head, compresses=answer.compresses),
            ReadRequest(session.id, view, answer.dialect, auth),
            feed,
            answer.start,
            edge.cluster_stats.of(session.id),
            answer.pace,
        )
        return True

    def _answer_socket(
        self, asked: StreamRequest, session: Session, subprotocols: list[str], common: RawHeaders
    ) -> _Answer | None:
        query, accepted = _socket_query(asked.query), accept_socket(asked.headers)
        if query is None or accepted is None:
            return None
        lines, compresses = accepted
        # The first that its client prefers.
        chosen = next((name for name in subprotocols if name in SUBPROTOCOLS), None)
        dialect = dialect_of(session, SUBPROTOCOLS[chosen] if chosen else None, query.controls == "all")
        head = socket_head(lines, self._lines(common), chosen)
        return _Answer(dialect, opening_of(query, session), pace_of(query, session), head, compresses)

    def _answer_stream(self, asked: StreamRequest, session: Session, common: RawHeaders) -> _Answer | None:
        query, dialect = _stream_query(asked.query), dialect_of(session)
        if query is None or KEEPS in dialect.headers:
            return None
        last = asked.text(b"last-event-id")
        start = (parse_start(last) if last else None) or start_of(query, session)
        return _Answer(
            dialect, start, pace_of(query, session), self._stream_head(dialect.headers, asked.text(b"origin"), common)
        )

    def _admit(self, host: str, origin: str | None) -> bool:
        return self._rules.is_own_host(host) and (origin is None or self._rules.allows(origin, host))

    def _address(self, asked: StreamRequest, pipe: socket.socket) -> str | None:
        """The address of the client, behind trusted proxies; "" where it has none, and None where it has gone already."""
        try:
            peer = pipe.getpeername()
        except OSError:
            return None
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        proxies = self._edge.authenticator.proxies
        if not proxies.trusts(address):
            return address
        forwarded = asked.text(b"x-forwarded-for")
        return proxies.client_address(address, [] if forwarded is None else [forwarded])

    def _lines(self, common: RawHeaders) -> bytes:
        """The headers of every answer as lines; among them is the date, so they are made anew each second."""
        if self._common[0] is not common:
            self._common = common, lines_of(common)
            self._heads.clear()
        return self._common[1]

    def _stream_head(self, headers: Headers, origin: str | None, common: RawHeaders) -> bytes:
        lines = self._lines(common)
        found = self._heads.get((headers, origin))
        if found is None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            cors = {} if origin is None else {**self._rules.cors(origin), "Vary": "Origin"}
            raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in cors.items()]
            found = self._heads[headers, origin] = stream_head(lines + lines_of([*headers, *raw]))
        return found


def _token(asked: StreamRequest, subprotocols: list[str]) -> str | None:
    """The one token of a request; None where there is none, or more than one. Raises Problem."""
    header, offered = asked.text(b"authorization"), offered_tokens(subprotocols)
    if header is None:
        return offered[0] if len(offered) == 1 else None
    return None if offered else bearer_token(header)
