"""Tests of answers.py: it finds what is asked for, and says everything it does."""

from __future__ import annotations

import pytest

from ops.demo.answers import PASSAGES, WHAT_IT_IS, answer, search, statistics
from router.broker import Broker
from router.sdk import Run
from tests.router.sdk.runs import events_of


def test_it_counts_what_is_there() -> None:
    counted = statistics("Webhooks, webhooks! What are they? Tell me.")

    assert (counted["words"], counted["sentences"], counted["frequent"][0]) == (7, 3, "webhooks")
    assert statistics("")["words"] == 0


@pytest.mark.parametrize("passage", PASSAGES, ids=[each.title for each in PASSAGES])
def test_each_passage_is_found_by_its_title(passage: object) -> None:
    title = passage.title  # type: ignore[attr-defined]

    assert search(f"How does {title} work?")[0]["title"] == title


def test_what_it_does_not_know_it_does_not_find() -> None:
    assert search("Who painted the ceiling?") == []


async def test_it_says_what_it_does_and_that_it_has_no_model(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        result = await answer(run, "How do webhooks work?")

    events = await events_of(broker, entity)
    assert [e.data["tool_name"] for e in events if e.type == "tool_result" and e.data["success"]] == [
        "statistics", "search",
    ]  # fmt: skip
    assert "".join(e.data["content"] for e in events if e.type == "streaming_chunk") == result["response"]
    assert (
        result["sources"][0] == "Webhooks"
        and result["model"] == WHAT_IT_IS
        and "without a language model" in WHAT_IT_IS
    )
