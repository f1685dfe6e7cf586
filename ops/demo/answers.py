"""Answers a message without a model: counts what is in it, and searches a few passages about Callboard for its words."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any, NamedTuple

from router.sdk.run import Run

WHAT_IT_IS = "a demonstration without a language model: it counts words and searches a few passages about Callboard"

# Words that say nothing about what is asked.
_COMMON = frozenset(
    """a about an and are as at be by can do does for from give has have how i in is it me my of on or our please tell that the
    this to was we what when which who why will with you your""".split()  # noqa: SIM905 - a sentence of words is read, a list is not
)


class Passage(NamedTuple):
    """A piece of text that can be found."""

    title: str
    text: str


PASSAGES = (
    Passage("Cursor", "Every event carries a cursor. Give the last one you have dealt with to any transport on any replica, and "
            "reading goes on behind it."),
    Passage("Webhooks", "Each event is posted at least once, signed by Standard Webhooks, retried with growing pauses, and kept "
            "as a dead letter when it was given up."),
    Passage("WebSocket", "A WebSocket gets application events as JSON. What the server says of the connection has the field "
            "control instead: ready, heartbeat, gap, bye."),
    Passage("Server-sent events", "EventSource works as it is: the browser sends its cursor by itself when it reconnects."),
    Passage("Polling", "Polling reads events in pages, by a cursor or by the time of the last event. A poll may wait until there "
            "is something to read."),
    Passage("Runs", "A run emits workflow_start, any number of other events and exactly one end. A producer that dies is noticed "
            "by its lease, and the run is failed for it."),
    Passage("Slow readers", "A reader owes at most 1,000 events. Past that its mailbox is forgotten, and it reads again from the "
            "last event that was written to it, so nobody waits for a slow reader."),
    Passage("Progress", "Progress events of one run supersede each other. Who asks for ten a second gets the newest ones, and "
            "the last is never left out."),
)  # fmt: skip


def statistics(message: str) -> dict[str, Any]:
    """Counts the characters, words and sentences of a text, and its most frequent words."""
    words = re.findall(r"[\w'-]+", message.lower())
    return {
        "characters": len(message),
        "words": len(words),
        "sentences": len([part for part in re.split(r"[.!?]+", message) if part.strip()]),
        "frequent": [word for word, _ in Counter(word for word in words if word not in _COMMON).most_common(5)],
    }


def search(query: str, limit: int = 2) -> list[dict[str, Any]]:
    """Finds the passages that share most words with a query; a word of a title counts three times."""
    words = {_stem(word) for word in re.findall(r"\w+", query.lower()) if word not in _COMMON}
    scored = [(_score(passage, words), passage) for passage in PASSAGES]
    best = sorted((each for each in scored if each[0]), key=lambda each: -each[0])[:limit]
    return [{"title": passage.title, "text": passage.text, "score": score} for score, passage in best]


async def answer(run: Run, message: str) -> dict[str, Any]:
    """Answers a message; tells the run of each thought, tool, step and word of it. Returns the result."""
    await run.progress(message="Reading the message", current_step=0, total_steps=3)
    await run.thinking("There is no model here. I count what is in the message, then search my passages for its words.")
    async with run.tool("statistics", {"message": message[:500]}) as call:
        call.result = counted = statistics(message)
    await run.progress(message="Searching the passages", current_step=1, total_steps=3)
    async with run.tool("search", {"query": message[:500], "limit": 2}) as call:
        call.result = found = search(message)
    best = found[0]["title"] if found else None
    await run.thinking(f"“{best}” fits best." if best else "None of my passages has a word of the message.")
    await run.progress(message="Writing the answer", current_step=2, total_steps=3)
    text = _text(counted, found)
    for word in re.findall(r"\S+\s*", text):
        await run.chunk(word)
        await asyncio.sleep(0)
    await run.progress(message="Answered", current_step=3, total_steps=3)
    return {"response": text, "statistics": counted, "sources": [each["title"] for each in found], "model": WHAT_IT_IS}


def _score(passage: Passage, words: set[str]) -> int:
    title = {_stem(word) for word in re.findall(r"\w+", passage.title.lower())}
    text = {_stem(word) for word in re.findall(r"\w+", passage.text.lower())}
    return 3 * len(words & title) + len(words & text)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _text(counted: dict[str, Any], found: list[dict[str, Any]]) -> str:
    size = f"Your message has {counted['words']} words in {counted['sentences']} sentences."
    if not found:
        return f"{size} I found nothing about it in my passages."
    said = " ".join(f"{each['title']}: {each['text']}" for each in found)
    return f"{size} {said}"
