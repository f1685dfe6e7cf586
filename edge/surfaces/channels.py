"""The WebSocket of the geminivideo guide, `/ws?userId=&jobId=`: a client subscribes to channels over the connection itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.websockets import WebSocket

from edge.auth.connection import ConnectionAuth
from edge.auth.principal import Principal
from edge.dialects.channel import (
    ALERTS,
    CHANNEL_TYPES,
    CHANNELS,
    NEWEST,
    Channel,
    ChannelState,
    alert_shape,
    newest_of,
    say,
)
from edge.dialects.folding import Folding
from edge.disconnect import BAD_CURSOR, FORBIDDEN, SHUTDOWN
from edge.errors import Problem
from edge.http.alerts import may_see
from edge.http.body import draining_problem, edge_of, read_query
from edge.http.credentials import address_of, principal_of
from edge.http.openapi.operation import operation
from edge.http.streams import serve_socket
from edge.problem import count_refusal
from edge.runtime import Edge
from edge.sessions.registry import Session
from edge.sessions.spec import UNSTORED, SessionSpec
from edge.surfaces.lives import begin_of, find_life
from edge.surfaces.surface import SocketSurface, Surface
from edge.types import Authorized, ReadRequest
from edge.view import MAX_PATTERNS, Pace, View
from router.alerts import AlertRecord, describe
from router.codec import from_json, rfc3339, to_json
from router.cursor import Start, parse_start
from router.errors import BadEvent, BadInput, BrokerError

log = logging.getLogger(__name__)

SESSION_ID = UNSTORED + "channels"
# Two tokens, where a subject has three: what a client sees that has subscribed to nothing.
NOTHING = "nothing.subscribed"
# More open alerts than any page shows.
MAX_ALERTS = 50
JOB_CHANNELS = ("job_progress", "video_render", "ai_stream")


class ChannelsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Who listens, and to which job from the beginning on."""

    userId: str | None = None
    jobId: Annotated[str | None, Meta(description="Subscribes to this job, and begins where it did.")] = None
    cursor: Annotated[str | None, Meta(description="With `jobId`: begin behind this event.")] = None
    ticket: Annotated[
        str | None, Meta(description='From `POST /tickets` with `{"path": "/ws"}`, where no Authorization can be sent.')
    ] = None
    token: Annotated[
        str | None, Meta(description="A token, where the server is configured to take it from addresses.")
    ] = None


class ChannelConversation:
    """What one client says over its connection, and what comes of it."""

    def __init__(self, edge: Edge, principal: Principal, user: str | None) -> None:
        self.folding = Folding(CHANNELS, {})
        self._edge = edge
        # What looks for the newest events of channels; each ends within the time for a request of NATS.
        self._looking: set[asyncio.Task[None]] = set()
        # Set once the connection is authorized; None where there are no keys.
        self.auth: ConnectionAuth | None = None
        self._principal = principal
        self._user = user or principal.user or ""

    def session(self) -> Session:
        """The session that its subscriptions are."""
        patterns = self._patterns(self.folding.state)
        spec = SessionSpec(
            id=SESSION_ID, delivery_method="websocket", created=0, start="", subjects=list(patterns) or None
        )
        return Session(spec, 0, None if patterns else View(patterns=(NOTHING,)))

    def subscribe(self, channel: Channel) -> None:
        """Adds a channel. Raises Problem where nothing of it may be read, or there are too many."""
        if not self._granted(channel):
            self._principal.require_read(*channel.patterns())
        state = self.folding.state.subscribe(channel)
        if len(self._patterns(state)) > MAX_PATTERNS:
            raise Problem("too_many", "too many channels for one connection")
        self.folding.tell(lambda _state: state)

    def hear(self, raw: str | bytes, reader: Authorized) -> tuple[bytes, ...]:
        """Answers one message."""
        try:
            said = from_json(raw)
        except BadEvent:
            said = None
        if not isinstance(said, dict):
            return (say(type="error", message="a message must be a JSON object"),)
        kind = said.get("type")
        if kind == "ping":
            return (say(type="pong"),)
        if kind not in ("subscribe", "unsubscribe"):
            return (say(type="error", message="known types: subscribe, unsubscribe, ping"),)
        return (self._change(kind, said.get("channel"), reader),)

    def _change(self, kind: str, asked: Any, reader: Authorized) -> bytes:
        shown = asked.get("type") if isinstance(asked, dict) else None
        answered = {"type": f"{kind}d", "channel": shown if isinstance(shown, str) else None}
        try:
            channel = self._channel(asked, named=kind == "subscribe")
            if kind == "subscribe":
                self.subscribe(channel)
            else:
                self.folding.tell(lambda state: state.unsubscribe(channel))
        except Problem as refusal:
            return say(**answered, success=False, code=refusal.code, error=refusal.detail or refusal.title)
        session = self.session()
        if self.auth is not None:
            self.auth.change(session)
        else:
            reader.change(session.view)
        if channel in self.folding.state.awaited:
            task = asyncio.ensure_future(self._look(channel, reader))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        return say(**answered, success=True)

    async def _look(self, channel: Channel, reader: Authorized) -> None:
        """Shows who has subscribed late what there is."""
        try:
            if channel.type == ALERTS:
                found, upto, native = await self._open_alerts(channel), None, False
            else:
                records = await self._edge.broker.latest(self._granted(channel))
                for record in records:
                    self._edge.hub.recovery.place_alone(record)
                found, upto, native = newest_of(channel, records, self._edge.hub.epoch)
        except BrokerError as fault:
            log.debug("what a channel had before is not shown", extra={"fault": str(fault)})
            return
        # Not where something newer was shown meanwhile, or the client has left the channel.
        if channel in self.folding.state.awaited:
            if found:
                reader.notify(NEWEST, {"messages": found})
            self.folding.tell(lambda state: state.catch_up(channel, upto, native))

    async def _open_alerts(self, channel: Channel) -> list[bytes]:
        """The alerts that fire, of the user and without an audience, oldest first."""
        grants = self._principal.grants
        fires = [
            each
            for each in await self._edge.alerts.all()
            if each.state == "firing" and (not each.audience or channel.user in each.audience) and may_see(grants, each)
        ]
        fires.sort(key=lambda each: each.updated)
        return [to_json(_listed(each)) for each in fires[-MAX_ALERTS:]]

    def _channel(self, asked: Any, named: bool) -> Channel:
        """Reads `{type, id?, userId?}`. Raises Problem."""
        kind = asked.get("type") if isinstance(asked, dict) else None
        if kind not in CHANNEL_TYPES:
            raise Problem("bad_body", f"channel.type must be one of {', '.join(CHANNEL_TYPES)}")
        fields = [asked.get(name) or "" for name in ("id", "userId")]
        if not all(isinstance(each, str) and len(each) <= 200 for each in fields):
            raise Problem("bad_body", "channel: id and userId must be short texts")
        id, user = fields
        if kind == ALERTS:
            return Channel(ALERTS, "", (user or self._user) if named else user)
        if named and not id:
            raise Problem("bad_body", f"channel.id: which one of {kind}?")
        return Channel(kind, id)

    def _granted(self, channel: Channel) -> list[str]:
        grants = self._principal.grants
        return [pattern for pattern in channel.patterns() if grants.may_read_all(pattern)]

    def _patterns(self, state: ChannelState) -> tuple[str, ...]:
        """What is read for the channels: of each, what is granted."""
        return tuple(dict.fromkeys(pattern for channel in state.channels for pattern in self._granted(channel)))


def _listed(record: AlertRecord) -> dict[str, Any]:
    """An alert of the server's list as the guide has it."""
    return alert_shape(describe(record), rfc3339(record.updated), record.id)


@operation(
    "Read channels over WebSocket, as the real-time guide has it: `connected`, `subscribe`, `unsubscribe`, `ping`, `heartbeat`",
    query=ChannelsQuery,
    problems=("draining", "too_many"),
    websocket=True,
)
async def socket_channels(socket: WebSocket) -> None:
    edge = edge_of(socket)
    if edge.draining:
        raise draining_problem()
    principal = principal_of(socket.scope)
    auth: ConnectionAuth | None = None
    try:
        refusal: Problem | BadInput | None = None
        try:
            query = read_query(socket, ChannelsQuery)
            conversation = ChannelConversation(edge, principal, query.userId)
            start = Start(now=True)
            if query.jobId:
                for kind in JOB_CHANNELS:
                    conversation.subscribe(Channel(kind, query.jobId))
                start = await _start(socket, query.jobId, query.cursor)
            session = conversation.session()
            # One connection too many is refused by the handshake: accepting a socket is most of its cost.
            auth = conversation.auth = edge.connection_auths.open(principal, session, address_of(socket))
            view = session.view if auth is None else auth.view(session)
        except Problem as problem:
            if problem.status == 429:
                raise
            refusal = problem
        except BadInput as fault:
            refusal = fault
        await socket.accept()
        if edge.draining:
            await socket.close(SHUTDOWN.code, SHUTDOWN.reason)
        elif refusal is not None:
            close = FORBIDDEN if refusal.code == "not_granted" else BAD_CURSOR
            detail = refusal.detail if isinstance(refusal, Problem) else str(refusal)
            # As the guide's clients read it.
            count_refusal(refusal.code)
            await socket.send_text(say(type="error", code=refusal.code, message=detail).decode())
            await socket.close(close.code, refusal.code)
        else:
            asked = ReadRequest(SESSION_ID, view, CHANNELS, auth, conversation.folding, conversation.hear)
            # Who joins late is shown the newest progress, and not all there was.
            await serve_socket(edge, socket, asked, start, Pace(conflate=True))
    finally:
        if auth is not None:
            auth.done()


async def _start(socket: WebSocket, job: str, cursor: str | None) -> Start:
    """Where a client begins that follows a job: behind its cursor, else where the job's life does."""
    if (said := parse_start(cursor)) is not None:
        return said
    life = await find_life(socket, job, ("job", "agent"))
    return Start(now=True) if life is None else begin_of(socket, life)


ROWS: tuple[Surface, ...] = (SocketSurface(path="/ws", handler=socket_channels),)
