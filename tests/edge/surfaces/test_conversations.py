"""What a thread says: messages that are given to a turn, kept, and told to the next one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.surfaces import conversations
from edge.surfaces.conversations import (
    MAX_HISTORY,
    MAX_MESSAGE,
    SaidTurn,
    added_event,
    given_messages,
    messages_before,
    turn_parameters,
    with_ids,
)
from edge.surfaces.lives import RunLife
from router.event import Event
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker

LIFE = RunLife(domain="thread", name="t", begin=9, started=10, incarnation="r")


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, [("human", "hi")]),
        ({"messages": {"type": "ai", "content": "x", "id": "new"}}, [("ai", "x")]),
        ({"messages": "hi"}, [("human", "hi")]),
        # The thread has it.
        ({"messages": [{"content": "hi", "id": "old"}, {"role": "system", "content": ["y"]}]}, [("system", ["y"])]),
        ({"messages": [{"role": "critic", "content": None}]}, [("human", "")]),
        ({"topic": "tea"}, []),
        (["hi"], []),
        (None, []),
    ],
)
def test_new_messages_are_read_as_langchain_writes_them(input: Any, said: list[tuple[str, Any]]) -> None:
    messages = with_ids(given_messages(input, ["old"]), "r")

    assert [(message["type"], message["content"]) for message in messages] == said
    assert all(message["id"] for message in messages)


def test_a_large_message_is_kept_as_its_texts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:" + "x" * MAX_MESSAGE}}
    message = {"type": "human", "id": "m", "content": [{"type": "text", "text": "what is this"}, picture]}

    event = added_event("t", "r", message)

    assert str(event.subject) == "thread.t.message_added"
    assert event.data == {
        "incarnation": "r", "role": "user", "type": "human", "id": "m", "content": "what is this", "truncated": True,
    }  # fmt: skip


def test_the_oldest_messages_are_left_out_where_they_are_too_many() -> None:
    turns = [SaidTurn(life=LIFE, given=(str(n) * (MAX_HISTORY // 2),), made=("x",)) for n in range(3)]

    assert [message[0] for message in messages_before(turns)] == ["x", "2", "x"]


def test_a_turn_begins_with_what_was_said_before_and_what_it_was_given() -> None:
    given = json.dumps({"type": "human", "id": "g", "content": "hi"})

    assert turn_parameters(LIFE, ["1", "2"], [given]) == {
        "thread": "t", "run": "r", "history": f"1,2,{given}", "known": "g",
    }  # fmt: skip
    assert "known" not in turn_parameters(LIFE, [], [])


async def test_turns_that_are_over_are_read_once(
    edge: RunningEdge, entity: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded: list[str] = []
    fold = conversations._Fold.take
    monkeypatch.setattr(
        conversations._Fold, "take", lambda self, record: (folded.append(record.subject), fold(self, record))
    )
    path = f"/threads/{entity}"
    for text in ("one", "two"):
        asked = {"assistant_id": worker.name, "input": {"messages": text}}
        await edge.http.post(f"{path}/runs", json=asked)
        await worker.emit("thread", entity, "completion", success=True, result=text.upper())
    first = (await edge.http.get(f"{path}/state")).json()
    read = len(folded)
    again = (await edge.http.get(f"{path}/state")).json()

    assert again == first and read > 0 and len(folded) == read
    assert [message["content"] for message in first["values"]["messages"]] == ["one", "ONE", "two", "TWO"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MAX_REMEMBERED", 3000)
    remembered = conversations._Remembered()
    lives = [
        RunLife(
            domain="thread", name="t", incarnation=str(n), end=n + 1, final=Event.new("thread.t.done", {}, id=str(n))
        )
        for n in range(4)
    ]
    for life in lives:
        remembered.keep("e", SaidTurn(life=life, given=("g",), made=("x" * 500,)))
    remembered.keep("e", SaidTurn(life=LIFE, made=("not over",)))

    assert [remembered.get("e", life, ("g",)) is not None for life in lives] == [False, False, True, True]
    # What was given to it came later.
    assert remembered.get("e", lives[3], ("g", "h")) is None
    assert remembered.get("other", lives[3], ("g",)) is None
