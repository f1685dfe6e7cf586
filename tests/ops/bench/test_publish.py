"""HTTP requests that are made once and sent again and again."""

from __future__ import annotations

import asyncio
import json

import msgpack
import pytest

from ops.bench.publish import MSGPACK, POSTS, SUBJECT, Posting, _whole, post
from ops.bench.stand import BenchError
from router.broker import Broker
from router.subject import STORED
from router.topology import EVENTS
from tests.edge.conftest import RunningEdge, edge, edge_factory, store  # noqa: F401


def test_an_answer_is_whole_once_its_body_is() -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n"

    assert [_whole(bytearray(part)) for part in (head[:20], head, head + b"{", head + b"{}")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_refusal_ends_the_benchmark() -> None:
    with pytest.raises(BenchError, match="429"):
        _whole(bytearray(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"))


def test_each_row_says_how_it_is_posted() -> None:
    assert len({posting.title for posting in POSTS}) == len(POSTS)
    listed, packed = Posting(3, 2), Posting(2, 1, MSGPACK)

    assert listed.title == "POST /events, 3 a request, 2 in flight"
    assert packed.title == "POST /events, 2 a request of msgpack, 1 in flight"
    assert len(json.loads(listed.body())) == 3 and len(msgpack.unpackb(packed.body())) == 2
    assert json.loads(Posting(1, 1).body()) == msgpack.unpackb(packed.body())[0]


def test_the_events_of_a_posting_are_of_its_subjects_in_turn() -> None:
    listed = Posting(3, 2, subjects=("job.a.said", "job.b.said"))

    said = [[event["subject"] for event in json.loads(listed.body(connection))] for connection in range(2)]

    assert said == [["job.a.said", "job.b.said", "job.a.said"], ["job.b.said", "job.a.said", "job.b.said"]]
    assert json.loads(Posting(1, 2, subjects=listed.subjects).body(1))["subject"] == "job.b.said"


async def stored(store: Broker) -> int:  # noqa: F811
    """How many events of the benchmark the stream holds."""
    address = STORED + SUBJECT
    info = await store.connection.api(f"STREAM.INFO.{EVENTS}", {"subjects_filter": address})
    return int((info["state"].get("subjects") or {}).get(address, 0))


@pytest.mark.parametrize(
    "posting", [Posting(1, 2), Posting(10, 2), Posting(10, 1, MSGPACK)], ids=lambda each: each.title
)
async def test_what_is_posted_is_stored(
    edge: RunningEdge,  # noqa: F811
    store: Broker,  # noqa: F811
    posting: Posting,
) -> None:
    before = await stored(store)

    answered, passed = await asyncio.to_thread(post, edge.http.base_url.port, posting, 0.05)

    assert answered >= posting.beside and passed > 0
    assert await stored(store) == before + answered * posting.size
