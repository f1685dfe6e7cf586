"""A filter selects dead letters by what their subject and their fields say; a cursor belongs to one order."""

from __future__ import annotations

from typing import Any

import pytest

from edge.deadletters.query import DeadLetterFilter, Search, describe
from edge.errors import Problem
from router.codec import encode
from router.deadletter import DeadLetter, Origin, webhook_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.layout import FIRST, Layout, generation
from tests.edge.deadletters.redriving import Process, bury

LAYOUT = Layout((FIRST.current.with_epochs(["0123abcd"]),))


def letter(**changed: Any) -> DeadLetter:
    event = Event.new("agent.run.done", {"text": "Überlauf"}, id="event-1")
    fields: dict[str, Any] = {
        "sequence": 7,
        "subject": "dead.webhook.s1.gone",
        "payload": encode(event),
        "origin": Origin("EVENTS", 3, "ev.agent.run.done"),
        "reason": "gone",
        "detail": "HTTP 410",
        "attempts": 1,
        "first": "",
        "last": "",
        "destination": "",
        "source": "s1",
        "event_id": "event-1",
    }
    return DeadLetter(**{**fields, **changed})


@pytest.mark.parametrize(
    ("chosen", "pattern"),
    [
        (DeadLetterFilter(), "dead.>"),
        (DeadLetterFilter(origin="actor"), "dead.actor.>"),
        (DeadLetterFilter(name="s1"), "dead.*.s1.*"),
        (DeadLetterFilter(origin="webhook", reason="gone"), "dead.webhook.*.gone"),
    ],
)
def test_origin_name_and_reason_are_a_subject(chosen: DeadLetterFilter, pattern: str):
    assert chosen.pattern == pattern and chosen.is_address


@pytest.mark.parametrize(
    ("chosen", "accepted"),
    [
        (DeadLetterFilter(subject="agent.*.done"), True),
        (DeadLetterFilter(subject="job.>"), False),
        (DeadLetterFilter(event="event-1"), True),
        (DeadLetterFilter(event="event-2"), False),
        (DeadLetterFilter(text="http 410"), True),
        (DeadLetterFilter(text="berlauf"), True),
        (DeadLetterFilter(text="nothing of it"), False),
    ],
)
def test_the_other_fields_are_compared_with_each_dead_letter(chosen: DeadLetterFilter, accepted: bool):
    assert not chosen.is_address
    assert chosen.accepts(letter()) is accepted


async def test_pages_hold_every_dead_letter_once_in_both_orders(process: Process):
    await bury(process.dead, webhook_subject("s1"), 7)
    search = Search(DeadLetters(process.broker))

    for newest in (False, True):
        found, cursor = [], None
        while True:
            page = await search.page(DeadLetterFilter(name="s1"), cursor, 3, newest)
            found += [each.sequence for each in page.letters]
            if (cursor := page.next) is None:
                break
        assert found == sorted(set(found), reverse=newest) and len(found) == 7


async def test_the_cursor_of_another_order_is_refused(process: Process):
    with pytest.raises(Problem) as refused:
        await Search(process.dead).page(DeadLetterFilter(), "n5", 3, newest=False)

    assert refused.value.code == "bad_cursor"


def test_a_dead_letter_is_described_with_its_event_or_what_was_in_its_place():
    assert describe(letter(), LAYOUT)["event"]["data"] == {"text": "Überlauf"}
    assert describe(letter(payload=b"\xc1"), LAYOUT, whole=True)["payload"] == b"\xc1"
    assert describe(letter(payload=b"", size=9), LAYOUT, whole=True)["by_reference"] is True


def test_a_dead_letter_leads_to_the_place_of_its_event_in_whichever_stream_that_is() -> None:
    sharded = generation(1, 2).with_epochs(["1.0.aaa", "1.1.bbb"])
    layout = Layout((*LAYOUT.generations, sharded))

    def cursor(stream: str) -> str | None:
        found: str | None = describe(letter(origin=Origin(stream, 42, "ev.job.a.said")), layout)["from"]["cursor"]
        return found

    assert cursor("EVENTS") == "1-0123abcd-00000000002a"
    assert cursor("EVENTS_1_1") == "2-1.01bbbf"
    assert cursor("EVENTS_7_0") is None and cursor("HOOKS") is None
