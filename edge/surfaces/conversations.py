"""Reads what was said in a thread: the messages that were given to each of its turns, and those that it made."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from edge.dialects.langgraph import LANGGRAPH, GraphState, message_of, role_of
from edge.http.body import edge_of
from edge.surfaces.lives import LifeEnding, RunLife, patterns_of
from router.codec import from_json, to_json
from router.event import Event
from router.event_place import place_in
from router.record import Record
from router.run_entry import incarnation_of
from router.subject import Subject, escape

log = logging.getLogger(__name__)

ADDED = "message_added"
# What a turn is given is kept as events, so many of a thread.
MAX_ADDED = 1000
# Of a thread so many turns are read, the newest.
MAX_TURNS = 50
# 256 KiB of messages before a turn are told to its agent and its readers; older ones are left out.
MAX_HISTORY = 256 * 1024
# 64 KiB of one message are kept; of a larger one its texts are.
MAX_MESSAGE = 64 * 1024

# 16 MiB of turns that are over are remembered by a process.
MAX_REMEMBERED = 16 * 1024 * 1024

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SaidTurn:
    """A turn of a thread, with the messages that were given to it and made by it, as JSON, and what else it came to."""

    life: RunLife
    given: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    result: str | None = None


async def read_given(request: HTTPConnection, thread: str) -> dict[str, tuple[str, ...]]:
    """The messages that were given to turns of a thread, by the incarnation of the turn. Raises BrokerError."""
    records = await edge_of(request).hub.recovery.last((f"thread.{escape(thread)}.{ADDED}",), MAX_ADDED)
    found: dict[str, tuple[str, ...]] = {}
    for record in records:
        if record.event is not None and (turn := incarnation_of(record.event)) is not None:
            said = to_json(message_of(record.event.data, record.event.id)).decode()
            found[turn] = (*found.get(turn, ()), said)
    return found


async def read_conversation(request: HTTPConnection, turns: Sequence[RunLife]) -> list[SaidTurn]:
    """What was said in some turns of a thread, which follow each other. Raises BrokerError."""
    turns = turns[-MAX_TURNS:]
    if not turns:
        return []
    thread, epoch = turns[0].name, edge_of(request).hub.epoch
    given = await read_given(request, thread)
    said = [_OVER.get(epoch, life, given.get(life.incarnation or "", ())) for life in turns]
    first = next((place for place, turn in enumerate(said) if turn is None), len(turns))
    folds = [_Fold(life, given.get(life.incarnation or "", ())) for life in turns[first:]]
    if folds:
        at = 0
        recovery, patterns = edge_of(request).hub.recovery, patterns_of("thread", thread)
        async for records in recovery.since(patterns, recovery.places.position(turns[first].begin)):
            for record in records:
                place = place_in(record.shard, record.sequence)
                while at + 1 < len(folds) and place > turns[first + at + 1].begin:
                    at += 1
                folds[at].take(record)
    found = [fold.said() for fold in folds]
    for turn in found:
        _OVER.keep(epoch, turn)
    return [*(turn for turn in said[:first] if turn is not None), *found]


# What was given to a turn, what it made, and its result.
_Texts = tuple[tuple[str, ...], tuple[str, ...], str | None]


class _Remembered:
    """What was said in turns that are over, the ones asked for last: nothing is added to them any more but what they were given."""

    def __init__(self) -> None:
        self._turns: OrderedDict[tuple[str, str, str | None, str], _Texts] = OrderedDict()
        self._size = 0

    def get(self, epoch: str, life: RunLife, given: tuple[str, ...]) -> SaidTurn | None:
        """The turn, where it was given the same as when it was kept."""
        if life.final is None or (found := self._turns.get(self._key(epoch, life))) is None:
            return None
        self._turns.move_to_end(self._key(epoch, life))
        said, made, result = found
        return SaidTurn(life=life, given=said, made=made, result=result) if said[: len(given)] == given else None

    def keep(self, epoch: str, turn: SaidTurn) -> None:
        if turn.life.final is None:
            return
        former = self._turns.pop(self._key(epoch, turn.life), None)
        texts = self._turns[self._key(epoch, turn.life)] = (turn.given, turn.made, turn.result)
        self._size += _size(texts) - (_size(former) if former else 0)
        while self._size > MAX_REMEMBERED:
            self._size -= _size(self._turns.popitem(last=False)[1])

    @staticmethod
    def _key(epoch: str, life: RunLife) -> tuple[str, str, str | None, str]:
        assert life.final is not None
        return epoch, life.name, life.incarnation, life.final.id


def _size(texts: _Texts) -> int:
    given, made, result = texts
    # What an entry takes beside its texts is some hundred bytes.
    return 500 + sum(map(len, (*given, *made, result or "")))


_OVER = _Remembered()


class _Fold:
    """Folds the events of one turn, as its stream does."""

    def __init__(self, life: RunLife, given: tuple[str, ...]) -> None:
        self._life = life
        self._given = given
        self._ending = LifeEnding(life)
        self._over = False
        self._state: GraphState = LANGGRAPH.begin(turn_parameters(life, (), given))

    def take(self, record: Record) -> None:
        if self._over or record.event is None or (ends := self._ending(record)) is None:
            return
        self._over = ends
        try:
            self._state, _ = LANGGRAPH.step(self._state, record, "")
        except Exception as fault:  # noqa: BLE001 - one event that cannot be read must not hide the thread
            log.warning("event left out of its thread", extra={"subject": record.subject, "fault": str(fault)})

    def said(self) -> SaidTurn:
        return SaidTurn(
            life=self._life,
            given=(*self._given, *self._state.given),
            made=self._state.messages()[len(self._state.given) :],
            result=self._state.result,
        )


def turn_parameters(life: RunLife, before: Iterable[str], given: Sequence[str]) -> dict[str, str]:
    """What the dialect begins a turn with."""
    ids = [str(from_json(message)["id"]) for message in given]
    history = ",".join((*before, *given))
    return {
        "thread": life.name,
        "run": life.incarnation or "",
        "history": history,
        **({"known": "\n".join(ids)} if ids else {}),
    }


def messages_before(said: Iterable[SaidTurn]) -> list[str]:
    """The messages of some turns, oldest first, without the oldest where they are too many bytes."""
    messages = [message for turn in said for message in (*turn.given, *turn.made)]
    size, kept = 0, 0
    for message in reversed(messages):
        size += len(message)
        if size > MAX_HISTORY:
            break
        kept += 1
    return messages[len(messages) - kept :]


# What a client gives


def given_messages(input: Any, known: Iterable[str]) -> list[Message]:
    """The messages of an input that the thread does not have yet, each with an id left empty where it has none."""
    said = input.get("messages") if isinstance(input, Mapping) else None
    many = said if isinstance(said, list) else [] if said is None else [said]
    ids = set(known)
    return [
        message
        for each in many
        if (message := message_of(each if isinstance(each, Mapping) else {"content": each}, ""))["id"] not in ids
        or not message["id"]
    ]


def with_ids(messages: Iterable[Message], turn: str) -> list[Message]:
    """The messages, each with an id."""
    return [{**message, "id": message["id"] or f"{turn}-g{place}"} for place, message in enumerate(messages)]


def as_given(message: Message) -> Message:
    """A message as an agent is given it: with the role that other protocols have, too."""
    return {"role": role_of(message["type"]), **message}


def added_event(thread: str, turn: str, message: Message) -> Event:
    """The event that keeps a message that was given to a turn."""
    kept = bounded(message)
    return Event.new(Subject.of("thread", thread, ADDED), {"incarnation": turn, **as_given(kept)}, source="edge")


def bounded(message: Message) -> Message:
    """What is kept of a message: all of it, or its texts where it is too large."""
    if len(to_json(message)) <= MAX_MESSAGE:
        return message
    content = message["content"]
    texts = [content] if isinstance(content, str) else []
    if isinstance(content, list):
        texts = [
            str(part["text"]) for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        ]
    text = "".join(texts).encode()[: MAX_MESSAGE // 2].decode(errors="ignore")
    return {"type": message["type"], "id": str(message["id"])[:200], "content": text, "truncated": True}
