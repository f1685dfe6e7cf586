"""The dialect of LangGraph's runs API: a run's messages, tools and state in the stream modes that its client asked for.

A message of the assistant is text and uses of tools; a result ends it, and is a message of its own. Chunks of a message have its id, so
that clients join them. What the protocol has no word for is `custom`. A connection that ends before its run is cut off: clients come
back with Last-Event-ID. Of one that ended they would ask whether the run goes on, and lose what it said if it did not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from edge.dialects.dialect import PLAIN_HEADERS, Body, DialectPart, FoldedDialect
from router.catalogue import Delivery, ending, find_at
from router.codec import to_json
from router.event import Event
from router.record import Record

# Those that a run can mean; others (events, tasks, checkpoints, debug, lifecycle) are accepted and say nothing.
MODES = frozenset({"values", "messages-tuple", "messages", "updates", "custom", "tools"})
# What a client is sent that joins a run and names none.
JOINED = ("values", "messages-tuple", "updates", "custom", "tools")
# Modes that say again what was said before, for which that is kept.
_WHOLE = frozenset({"values", "messages", "updates"})
# 4 MiB of a turn are kept. In one that says more, the modes that repeat it fall silent, and what comes is not kept.
MAX_KEPT = 4 * 1024 * 1024
# More uses of tools than a model leaves open at once.
MAX_OPEN_CALLS = 64
_SILENT = frozenset({"state", "stages", "stopping"})
_ROLES: Mapping[str, str] = {"user": "human", "assistant": "ai"}
_TYPES: Mapping[str, str] = {kind: role for role, kind in _ROLES.items()}
_TYPED = frozenset({"human", "ai", "system", "tool"})

Said = dict[str, Any]


class Pieces:
    """The pieces of a text, as a chain: one more costs the same however long the text is, and so does its hash."""

    __slots__ = ("_before", "_hash", "_piece")

    def __init__(self, piece: str, before: Pieces | None = None) -> None:
        self._piece = piece
        self._before = before
        self._hash: int = hash((None if before is None else before._hash, piece))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        one: Pieces | None = self
        two: Any = other
        while one is not two:
            if one is None or not isinstance(two, Pieces) or one._hash != two._hash or one._piece != two._piece:
                return False
            one, two = one._before, two._before
        return True

    @property
    def text(self) -> str:
        """The whole text."""
        found: list[str] = []
        at: Pieces | None = self
        while at is not None:
            found.append(at._piece)
            at = at._before
        return "".join(reversed(found))


class GraphCall(NamedTuple):
    """A use of a tool. `args` are JSON."""

    id: str
    name: str
    args: str


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """The message of the assistant that is being written. `around` are the bytes before and behind the text of its chunks."""

    id: str
    around: tuple[bytes, bytes] = field(compare=False)
    text: Pieces | None = None
    calls: tuple[GraphCall, ...] = ()


class GraphState(NamedTuple):
    """A turn of a thread so far. Messages are JSON texts: those before the turn and given to it, others, those that it made.

    `known` has the ids of the messages of the turn that `history` has.
    """

    thread: str
    run: str
    modes: frozenset[str]
    history: str = ""
    known: frozenset[str] = frozenset()
    started: bool = False
    given: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    open: OpenMessage | None = None
    waiting: tuple[GraphCall, ...] = ()
    number: int = 0
    spoke: bool = False
    kept: int = 0
    result: str | None = None

    def messages(self) -> tuple[str, ...]:
        """Those of the turn, with the one that is being written."""
        return (*self.given, *self.made, *((_message(self.open),) if self.open is not None else ()))

    def values(self) -> bytes:
        """The state of the thread: its messages, and what the turn came to where that is no text."""
        messages = ",".join((*((self.history,) if self.history else ()), *self.messages()))
        return f'{{"messages":[{messages}]{_result(self.result)}}}'.encode()


def _result(result: str | None) -> str:
    return "" if result is None else f',"result":{result}'


class _Turn:
    """One step: a state on its way to the next one, and what is said of it."""

    def __init__(self, state: GraphState) -> None:
        self.state = state
        self.parts: list[DialectPart] = []

    def change(self, **fields: Any) -> None:
        self.state = self.state._replace(**fields)

    def keep(self, size: int) -> None:
        """Notes how much is kept of the turn."""
        self.change(kept=self.state.kept + size)
        self.limit()

    def limit(self) -> None:
        """Silences the modes that repeat what is kept, where that is too much."""
        if self.state.kept > MAX_KEPT and self.state.modes & _WHOLE:
            self.change(modes=self.state.modes - _WHOLE)

    def remember(self, message: str, given: bool = False) -> None:
        """Adds a message to those of the turn."""
        if self.state.kept > MAX_KEPT:
            return
        if given:
            self.change(given=(*self.state.given, message))
        else:
            self.change(made=(*self.state.made, message))

    def say(self, mode: str, name: str, data: Any) -> None:
        if mode in self.state.modes:
            self.parts.append(DialectPart(data if isinstance(data, bytes) else to_json(data), name))

    def say_values(self) -> None:
        if "values" in self.state.modes:
            self.say("values", "values", self.state.values())

    def say_message(self, message: Said, node: str) -> None:
        """A message, or a chunk of one."""
        if "messages-tuple" in self.state.modes:
            self.say("messages-tuple", "messages", [message, self._about(node)])

    def _about(self, node: str) -> Said:
        return {"langgraph_node": node, "run_id": self.state.run, "thread_id": self.state.thread}

    def say_whole(self, kind: str, message: OpenMessage) -> None:
        """The whole message so far, as the mode `messages` has it."""
        if "messages" in self.state.modes:
            self.say("messages", f"messages/{kind}", f"[{_message(message)}]".encode())

    def opened(self) -> OpenMessage:
        """The message that is being written; a new one where there is none."""
        state = self.state
        if state.open is None:
            id = f"{state.run}-{state.number}"
            before, behind = to_json([_chunk(id, ""), self._about("agent")]).split(b'"content":""', 1)
            message = OpenMessage(id, (before + b'"content":', behind))
            self.change(open=message, number=state.number + 1)
            self.say("messages", "messages/metadata", {message.id: {"metadata": self._about("agent")}})
            return message
        return state.open

    def write(self, text: str) -> None:
        """Adds text to the message of the assistant; behind a use of a tool it is another one."""
        if not text:
            return
        if self.state.open is not None and self.state.open.calls:
            self.close()
        message = self.opened()
        before, behind = message.around
        if self.state.kept <= MAX_KEPT:
            message = OpenMessage(message.id, message.around, Pieces(text, message.text), message.calls)
        self.change(open=message, spoke=True, kept=self.state.kept + len(text))
        self.limit()
        if "messages-tuple" in self.state.modes:
            # Most of what is said; made of bytes, it costs half.
            self.parts.append(DialectPart(b"%b%b%b" % (before, to_json(text), behind), "messages"))
        self.say_whole("partial", message)

    def call(self, call: GraphCall) -> None:
        """Adds a use of a tool to the message of the assistant."""
        if self.state.open is not None and len(self.state.open.calls) >= MAX_OPEN_CALLS:
            self.close()
        message = self.opened()
        place = len(message.calls)
        message = replace(message, calls=(*message.calls, call))
        self.change(open=message, waiting=(*self.state.waiting, call)[-MAX_OPEN_CALLS:])
        self.keep(len(call.args))
        self.say_message(_chunk(message.id, "", _call_chunk(call, place)), "agent")
        self.say_whole("partial", message)
        started = (
            f'{{"event":"on_tool_start","toolCallId":{_text(call.id)},"name":{_text(call.name)},"input":{call.args}}}'
        )
        self.say("tools", "tools", started.encode())

    def close(self) -> None:
        """Ends the message of the assistant."""
        message = self.state.open
        if message is None:
            return
        said = _message(message)
        self.change(open=None)
        self.remember(said)
        self.say_whole("complete", message)
        self.say("updates", "updates", f'{{"agent":{{"messages":[{said}]}}}}'.encode())


def _chunk(id: str, content: str, call: Said | None = None) -> Said:
    return {
        "type": "AIMessageChunk",
        "id": id,
        "content": content,
        "tool_call_chunks": [] if call is None else [call],
        "tool_calls": [],
        "invalid_tool_calls": [],
        "additional_kwargs": {},
        "response_metadata": {},
    }


def _call_chunk(call: GraphCall, place: int) -> Said:
    return {"type": "tool_call_chunk", "id": call.id, "name": call.name, "args": call.args, "index": place}


def _message(message: OpenMessage) -> str:
    content = to_json("" if message.text is None else message.text.text).decode()
    calls = ",".join(
        f'{{"type":"tool_call","id":{_text(call.id)},"name":{_text(call.name)},"args":{call.args}}}'
        for call in message.calls
    )
    return (
        f'{{"type":"ai","id":{_text(message.id)},"content":{content},"tool_calls":[{calls}],"invalid_tool_calls":[],'
        '"additional_kwargs":{},"response_metadata":{}}'
    )


def _text(text: str) -> str:
    return to_json(text).decode()


def _begin(parameters: Mapping[str, str]) -> GraphState:
    modes = frozenset(parameters.get("modes", "").split(",")) & MODES
    known = frozenset(parameters["known"].split("\n")) if "known" in parameters else frozenset()
    return GraphState(parameters["thread"], parameters["run"], modes, parameters.get("history", ""), known)


def _step(state: GraphState, record: Record, _epoch: str) -> tuple[GraphState, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    if event.type in _SILENT:
        return state, ()
    turn = _Turn(state)
    if not state.started:
        turn.change(started=True)
        told = {"run_id": state.run, "thread_id": state.thread, "attempt": 1}
        turn.parts.append(DialectPart(to_json(told), "metadata"))
        turn.say_values()
    _take(turn, event, again=state.started)
    return turn.state, turn.parts


def _take(turn: _Turn, event: Event, again: bool) -> None:
    data = event.data
    if event.type == "workflow_start":
        if again and data.get("resumed") is not True:
            # The next turn began; this one was not ended.
            _end(turn, {}, "cancelled")
        return
    if (outcome := ending(event.subject.domain, event.type, data)) is not None:
        _end(turn, data, outcome)
        return
    if event.type == "message_added":
        _added(turn, event)
    elif event.type == "tool_use":
        name = str(data.get("tool_name") or "tool")
        turn.call(GraphCall(event.id, name, to_json(data.get("parameters") or {}).decode()))
    elif event.type == "tool_result":
        _tool_result(turn, event)
    else:
        declared = find_at(event.type, event.subject)
        if declared.delivery is Delivery.APPEND and (field := declared.text_field(data)) is not None:
            turn.write(data[field])
        else:
            turn.say("custom", "custom", {"type": event.type, "data": dict(data)})


def _added(turn: _Turn, event: Event) -> None:
    """A message that somebody gave to the thread, or that the assistant said as a whole."""
    message = message_of(event.data, event.id)
    if message["id"] in turn.state.known:
        return
    said = to_json(message).decode()
    turn.keep(len(said))
    if message["type"] == "ai":
        turn.close()
        turn.remember(said)
        turn.change(spoke=True)
        turn.say_message(message, "agent")
        turn.say("updates", "updates", f'{{"agent":{{"messages":[{said}]}}}}'.encode())
    else:
        turn.remember(said, given=True)
    turn.say_values()


def message_of(given: Mapping[str, Any], id: str) -> Said:
    """A message as LangChain has it; `id` is that of one which has none."""
    role = given.get("type") or given.get("role")
    kind = _ROLES.get(role, role) if isinstance(role, str) else None
    others = {
        name: value for name, value in given.items() if name not in ("role", "type", "content", "id", "incarnation")
    }
    said = given.get("id")
    return {
        "type": kind if kind in _TYPED else "human",
        "id": said if isinstance(said, str) and said else id,
        "content": given.get("content") if given.get("content") is not None else "",
        **others,
    }


def role_of(kind: str) -> str:
    """The role that other protocols call a type of message."""
    return _TYPES.get(kind, kind)


def _tool_result(turn: _Turn, event: Event) -> None:
    data, name = event.data, str(event.data.get("tool_name") or "tool")
    open = [
        call for call in turn.state.waiting if call.id == event.cause or (event.cause is None and call.name == name)
    ]
    if open:
        call = open[0]
    else:
        # Clients know no result of a tool that was not used.
        call = GraphCall(event.cause or event.id, name, "{}")
        turn.call(call)
    turn.change(waiting=tuple(each for each in turn.state.waiting if each.id != call.id))
    turn.close()
    failed = data.get("success") is False or (bool(data.get("error")) and data.get("result") is None)
    value = data.get("error") if failed and data.get("result") is None else data.get("result")
    message = {
        "type": "tool",
        "id": f"{event.id}-r",
        "content": value if isinstance(value, str) else to_json(value).decode(),
        "tool_call_id": call.id,
        "name": call.name,
        "status": "error" if failed else "success",
    }
    said = to_json(message).decode()
    turn.remember(said)
    turn.keep(len(said))
    turn.say_message(message, "tools")
    turn.say("updates", "updates", f'{{"tools":{{"messages":[{said}]}}}}'.encode())
    over = {"event": "on_tool_error", "error": value} if failed else {"event": "on_tool_end", "output": value}
    turn.say("tools", "tools", {**over, "toolCallId": call.id, "name": call.name})
    turn.say_values()


def _end(turn: _Turn, data: Mapping[str, Any], outcome: str) -> None:
    whole = data.get("content") if isinstance(data.get("content"), str) else data.get("result")
    if outcome == "completed" and not turn.state.spoke and isinstance(whole, str):
        # An answer that was not streamed.
        turn.write(whole)
    turn.close()
    if (result := data.get("result")) is not None and not isinstance(result, str):
        turn.change(result=to_json(result).decode())
    turn.say_values()
    if outcome == "failed":
        turn.parts.append(DialectPart(to_json(error_of(data)), "error"))
    else:
        turn.parts.append(DialectPart(b"null", "end"))


def error_of(data: Mapping[str, Any]) -> Said:
    """The error of a run that failed."""
    kind = data.get("error_type")
    kind = kind if isinstance(kind, str) and kind else "Error"
    # Clients write the one before the other.
    message = str(data.get("error") or data.get("message") or "the run failed").removeprefix(f"{kind}: ")
    return {"error": kind, "message": message}


def _notices(state: GraphState, control: str, body: Body) -> Sequence[DialectPart]:
    if control == "gap" and "custom" in state.modes:
        return (DialectPart(to_json({"type": "gap", "data": {"reason": body["reason"]}}), "custom"),)
    return ()


LANGGRAPH = FoldedDialect(
    name="langgraph",
    headers=PLAIN_HEADERS,
    opening=b"",
    keep_alive=b": heartbeat\n\n",
    notices=_notices,
    cuts=True,
    begin=_begin,
    step=_step,
    # Clients add a chunk that they are sent twice to their message twice.
    part_ids=True,
)
