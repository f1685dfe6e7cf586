"""`callboard publish`: one event, many lines, and what is refused."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from router.broker import Broker
from router.live_copy import listen
from tests.ops.command import callboard, environment
from tests.waiting import in_time


async def _stored(broker: Broker, entity: str) -> list[tuple[str, str, object]]:
    page = await broker.read(f"*.{entity}.>", 0)
    return [(event.subject, event.type, event.data) for record in page.records if (event := record.event)]


async def test_one_event_is_stored(broker: Broker, nats_server: str, entity: str) -> None:
    subject = f"agent.{entity}.progress"

    done = await asyncio.to_thread(
        callboard,
        "publish",
        subject,
        '{"progress": 0.4}',
        "--type",
        "going_on",
        "--test",
        "--json",
        NATS_URL=nats_server,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["subject"] == subject and said["duplicate"] is False
    assert await _stored(broker, entity) == [(subject, "going_on", {"progress": 0.4})]


async def test_lines_are_stored_in_their_order(broker: Broker, nats_server: str, entity: str) -> None:
    lines = "".join(f'{{"n": {n}}}\n' for n in range(2000)) + "\n"

    done = await asyncio.to_thread(
        callboard, "publish", f"metric.{entity}.read", "-", stdin=lines, NATS_URL=nats_server
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2,000 events stored")
    assert done.stderr == ""
    found: list[object] = []
    at, more = 0, True
    while more:
        page = await broker.read(f"metric.{entity}.>", at)
        found += [record.event.data["n"] for record in page.records if record.event]
        at, more = page.records[-1].sequence, page.more
    assert found == list(range(2000))


async def test_whole_events_are_read_from_lines(broker: Broker, nats_server: str, entity: str) -> None:
    lines = [
        {"subject": f"job.{entity}.started", "data": {"name": "nightly"}},
        {"subject": f"job.{entity}.progress", "type": "progress", "data": {"progress": 1}, "id": f"{entity}-1"},
        {"subject": f"job.{entity}.progress", "type": "progress", "data": {"progress": 1}, "id": f"{entity}-1"},
    ]

    done = await asyncio.to_thread(
        callboard, "publish", "-", "--json", stdin="\n".join(map(json.dumps, lines)), NATS_URL=nats_server
    )

    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["duplicate"] for line in done.stdout.splitlines()] == [False, False, True]
    assert [kind for _, kind, _ in await _stored(broker, entity)] == ["started", "progress"]


async def test_a_line_is_stored_while_the_next_one_is_still_to_come(
    broker: Broker, nats_server: str, entity: str
) -> None:
    heard = asyncio.Event()
    listening = await listen(broker.connection, f"metric.{entity}.>", lambda _record: heard.set())
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        f"(echo '{{}}'; cat) | {sys.executable} -m ops publish metric.{entity}.read -",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**environment(), "CALLBOARD_NATS_URL": nats_server},
    )

    await in_time(heard.wait())
    out, _ = await in_time(process.communicate(b""))

    assert out.startswith(b"1 events stored")
    await listening.stop()


async def test_a_bad_line_is_named_and_those_before_it_are_stored(
    broker: Broker, nats_server: str, entity: str
) -> None:
    done = await asyncio.to_thread(
        callboard, "publish", f"metric.{entity}.read", "-", stdin='{"n": 1}\n[2]\n{"n": 3}\n', NATS_URL=nats_server
    )

    assert done.returncode == 1
    assert "line 2" in done.stderr and len(done.stderr.splitlines()) == 1
    assert [data for _, _, data in await _stored(broker, entity)] in ([{"n": 1}], [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.b"], "a subject needs"),
        (["a.*.c"], "a subject needs"),
        (["a.b.c", "{"], "not JSON"),
        (["a.b.c", "[1]"], "JSON object"),
        (["a.b.c", "{}", "--type", "Not This"], "event type"),
        (["a.b.c", '{"a":' * 100 + "1" + "}" * 100], "nested"),
    ],
)
def test_what_is_no_event_is_refused_before_anything_is_asked(arguments: list[str], told: str) -> None:
    done = callboard("publish", *arguments, NATS_URL="nats://127.0.0.1:1")

    assert done.returncode == 2
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
