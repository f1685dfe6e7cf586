"""This version on the data folder of an old one: what was kept is read, and what the old one lacked is made.

`old_data/2026-11-21.tar.gz` was made by commit 069132d (21 November 2026), the first with `callboard up`: a session, a webhook
session whose receiver has no address, five events, one for the webhook, and its dead letter. Nothing in it comes of age
(`CALLBOARD_EVENTS_MAX_AGE=0` and the like). `answers.json` is what it said.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.cursor import Cursor
from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import PATIENCE, eventually

OLD = Path(__file__).with_name("old_data")
SAID: dict[str, Any] = json.loads((OLD / "answers.json").read_text())

FOR_EVER = {"EVENTS_MAX_AGE": "0", "DEADLETTERS_MAX_AGE": "0", "EDGE_SESSION_TTL": "36500d"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCallboard]:
    """This version, running on a copy of the old folder."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(OLD / "2026-11-21.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    with running_tree(folder, "--only", "edge,alerts,agent", **FOR_EVER) as tree:
        tree.environment |= {f"CALLBOARD_{name}": text for name, text in FOR_EVER.items()}
        yield tree


@pytest.fixture
def http(tree: RunningCallboard) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tree.url, timeout=PATIENCE) as client:
        yield client


def _page(http: httpx.Client, cursor: str) -> dict[str, Any]:
    answer = http.get(f"/callbacks/sessions/{SAID['session']}/events", params={"cursor": cursor, "limit": 100})
    assert answer.is_success, answer.text
    page: dict[str, Any] = answer.json()
    return page


def _numbers(page: dict[str, Any]) -> list[int]:
    """Those of the events that were published here; the agent actor tells of the run, too."""
    return [event["data"]["n"] for event in page["events"] if event["subject"] == "job.kept.output"]


def _publish(http: httpx.Client, subject: str, n: int) -> str:
    """Publishes an event; its cursor."""
    answer = http.post("/events", json={"subject": subject, "data": {"n": n}})
    assert answer.is_success, answer.text
    cursor: str = answer.json()["cursor"]
    return cursor


def _webhook_url(http: httpx.Client) -> str:
    url: str = http.get(f"/callbacks/sessions/{SAID['webhook']}").json()["webhook_url"]
    return url


def _letters(http: httpx.Client) -> set[int]:
    """The sequences of the webhook's events that were given up."""
    letters = http.get("/deadletters?limit=100").json()["deadletters"]
    return {letter["from"]["sequence"] for letter in letters if letter["name"] == SAID["webhook"]}


def test_it_starts_and_every_stream_is_as_this_version_declares_it(tree: RunningCallboard) -> None:
    assert tree.callboard("streams", "diff").strip() == "all streams are as they should be"


def test_a_session_and_its_events_are_there_and_an_old_cursor_goes_on(http: httpx.Client) -> None:
    assert _numbers(_page(http, "earliest"))[:5] == [0, 1, 2, 3, 4]
    page = _page(http, SAID["cursors"][2])

    assert _numbers(page)[:2] == [3, 4] and "gap" not in page
    new = _publish(http, "job.kept.output", 5)
    events = _page(http, SAID["cursors"][4])
    assert _numbers(events) == [5] and new in {event["cursor"] for event in events["events"]}


async def test_a_webhook_and_its_dead_letter_are_there_and_it_posts_again(http: httpx.Client) -> None:
    assert _webhook_url(http) == "https://receiver.invalid/hook"
    before = _letters(http)
    assert before

    new = _publish(http, "job.hooked.output", 1)
    await eventually(lambda: Cursor.parse(new).sequence in _letters(http) - before)
