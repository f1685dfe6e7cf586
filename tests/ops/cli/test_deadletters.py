"""`callboard deadletters`: looked at, sent again and purged through a running edge."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from edge.app import application
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings
from edge.webhooks.client.ssrf import GuardSettings
from ops.launch import own_argv
from router.broker import Broker
from router.codec import encode
from router.deadletter import Origin, webhook_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.subject import STORED
from router.topology import TopologySettings
from tests.ops.command import ROOT, callboard, environment
from tests.waiting import PATIENCE, eventually, in_time, unhurried

Deadletters = Callable[..., Awaitable["subprocess.CompletedProcess[str]"]]


@pytest.fixture
async def url(nats_server: str) -> AsyncIterator[str]:
    """The address of a running edge."""
    listeners = bind("127.0.0.1", 0)
    stop, ready = asyncio.Event(), asyncio.Event()
    port: int = listeners[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                application(
                    EdgeSettings(port=port, drain=0.1),
                    unhurried(nats_server),
                    TopologySettings(),
                    guard=GuardSettings(allow_loopback=True, allow_http=True),
                ),
                *listeners,
                stop=stop,
                ready=lambda _port: ready.set(),
            )
        )
        await in_time(ready.wait())
        yield f"http://127.0.0.1:{port}"
        stop.set()


@pytest.fixture
def deadletters(url: str) -> Deadletters:
    """Runs `callboard deadletters` against that edge."""

    async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(callboard, "deadletters", *arguments, EDGE_URL=url)

    return run


async def bury(broker: Broker, name: str, count: int = 1, reason: str = "exhausted", detail: str = "") -> list[int]:
    numbers = []
    for number in range(count):
        event = Event.new(f"job.{name}.output", {"n": number, "text": "\x1b[31mred"})
        ack = await DeadLetters(broker).add(
            webhook_subject(name),
            encode(event),
            origin=Origin("EVENTS", 100 + number, STORED + event.subject),
            reason=reason,
            detail=detail,
            attempts=4,
            destination="https://example.com/hook",
            source=name,
            id=f"dead.{secrets.token_hex(16)}",
        )
        numbers.append(ack.sequence)
    return numbers


async def test_letters_are_listed_for_people_and_for_programs(
    deadletters: Deadletters, broker: Broker, entity: str
) -> None:
    first, second = await bury(broker, entity, 2, detail="server_error (HTTP 500)")

    people = await deadletters("ls", "--name", entity, "--since", "10m")
    programs = await deadletters("ls", "--name", entity, "--json", "--oldest")
    fewer = await deadletters("ls", "--name", entity, "--limit", "1")
    none = await deadletters("ls", "--name", entity, "--reason", "gone")

    assert people.returncode == 0, people.stderr
    head, *rows = people.stdout.splitlines()
    assert head.split()[:4] == ["id", "buried", "origin", "name"]
    assert [int(row.split()[0]) for row in rows] == [second, first]
    assert all("exhausted" in row and "server_error (HTTP 500)" in row for row in rows)
    assert "\x1b" not in people.stdout
    assert [json.loads(line)["id"] for line in programs.stdout.splitlines()] == [first, second]
    assert len(fewer.stdout.splitlines()) == 2 and "there are more" in fewer.stderr
    assert (none.returncode, none.stdout) == (0, "no dead letters that fit\n")


async def test_one_letter_is_shown_with_its_event_and_commands_no_terminal(
    deadletters: Deadletters, broker: Broker, entity: str
) -> None:
    (number,) = await bury(broker, entity)

    people = await deadletters("show", str(number))
    programs = await deadletters("show", str(number), "--json")
    unknown = await deadletters("show", "999999999")

    assert people.returncode == 0, people.stderr
    assert "EVENTS 100" in people.stdout and '"n": 0' in people.stdout and "\x1b" not in people.stdout
    assert json.loads(programs.stdout)["name"] == entity
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("callboard: no dead letter '999999999'") and len(unknown.stderr.splitlines()) == 1


async def test_the_summary_counts(deadletters: Deadletters, broker: Broker, entity: str) -> None:
    await bury(broker, entity, 30, reason=f"because-{entity}")

    people = await deadletters("summary")
    programs = await deadletters("summary", "--json")

    assert people.returncode == 0, people.stderr
    assert f"30  because-{entity}" in people.stdout and "dead letters, the oldest of" in people.stdout
    assert json.loads(programs.stdout)["by_reason"][f"because-{entity}"] == 30


async def test_a_redrive_is_watched_to_its_end_and_tells_what_stays(
    deadletters: Deadletters, broker: Broker, entity: str
) -> None:
    await bury(broker, entity, 3)

    dry = await deadletters("redrive", "--name", entity, "--dry-run")
    done = await deadletters("redrive", "--name", entity)
    begun = await deadletters("redrive", "--name", entity, "--no-wait", "--json")
    jobs = await deadletters("jobs")

    assert (dry.returncode, dry.stdout) == (
        0,
        "0 of 3 dead letters would be sent again; 3 stay: session_gone 3\n",
    )
    # Not all were sent, which a script wants to know.
    assert (done.returncode, done.stdout) == (1, "0 of 3 dead letters sent again; 3 stay: session_gone 3\n")
    assert done.stderr == ""
    assert begun.returncode == 0 and json.loads(begun.stdout)["id"] in jobs.stdout


async def test_a_redrive_that_sends_all_ends_well(
    deadletters: Deadletters, url: str, broker: Broker, entity: str
) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        body = {"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/", "subjects": [f"job.{entity}x.>"]}
        session = (await http.post("/callbacks/sessions", json=body)).json()["session_id"]
    one, *_ = await bury(broker, session, 4)

    single = await deadletters("redrive", str(one))
    rest = await deadletters("redrive", "--name", session, "--json")

    assert (single.returncode, single.stdout) == (0, "1 of 1 dead letters sent again\n")
    job = json.loads(rest.stdout)
    assert (rest.returncode, job["state"], job["sent"]) == (0, "done", 3)


async def test_a_redrive_shows_its_progress_on_a_terminal_and_goes_on_after_ctrl_c(
    url: str, broker: Broker, entity: str
) -> None:
    await bury(broker, entity, 50)
    controller, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *own_argv("deadletters", "redrive", "--name", entity, "--rate", "2"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=ROOT,
        env=environment({"CALLBOARD_EDGE_URL": url, "TERM": "xterm"}),
    )
    os.close(terminal)
    os.set_blocking(controller, False)
    said = ""

    def says(*words: str) -> bool:
        nonlocal said
        try:
            said += os.read(controller, 65536).decode()
        except OSError:
            pass
        return all(word in said for word in words)

    try:
        await eventually(lambda: says("of 50", "█", "s left"))

        process.send_signal(signal.SIGINT)
        code = await in_time(process.wait())

        assert code == 130, said
        assert says("the redrive goes on; `callboard deadletters cancel ")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(controller)
    id = said.rpartition("deadletters cancel ")[2].split("`")[0]
    cancelled = await asyncio.to_thread(callboard, "deadletters", "cancel", id, EDGE_URL=url)
    assert cancelled.returncode == 0 and "it is cancelled" in cancelled.stdout


async def test_a_purge_asks_first_or_wants_a_yes(deadletters: Deadletters, broker: Broker, entity: str) -> None:
    await bury(broker, entity, 3)

    unsure = await deadletters("purge", "--name", entity)
    dry = await deadletters("purge", "--name", entity, "--dry-run", "--json")
    done = await deadletters("purge", "--name", entity, "--yes")
    left = await deadletters("ls", "--name", entity)

    assert unsure.returncode == 2 and "--yes" in unsure.stderr
    assert json.loads(dry.stdout) == {"purged": 0, "matched": 3, "dry_run": True}
    assert (done.returncode, done.stdout) == (0, "3 dead letters purged\n")
    assert left.stdout == "no dead letters that fit\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["lst"], "invalid choice"),
        (["show"], "ID"),
        (["redrive"], "which?"),
        (["redrive", "12", "--name", "x"], "not both"),
        (["purge"], "which?"),
        (["ls", "--limit", "0"], "--limit"),
        (["ls", "--colour"], "--colour"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_one_line(arguments: list[str], told: str) -> None:
    done = callboard("deadletters", *arguments, EDGE_URL="http://127.0.0.1:1")

    assert done.returncode == 2
    assert told in done.stderr and len(done.stderr.splitlines()) == 1


async def test_what_the_edge_refuses_is_told_in_one_line(deadletters: Deadletters) -> None:
    for arguments in (["ls", "--origin", "nowhere"], ["ls", "--since", "noon"], ["redrive", "--all", "--rate", "0"]):
        done = await deadletters(*arguments)

        assert done.returncode == 2, arguments
        assert done.stderr.startswith("callboard: deadletters: ") and len(done.stderr.splitlines()) == 1


def test_an_edge_that_is_away_is_named() -> None:
    done = callboard("deadletters", "summary", EDGE_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.startswith("callboard: no edge answers at http://127.0.0.1:1") and "callboard up" in done.stderr


async def test_a_reader_that_leaves_early_is_no_error(url: str, broker: Broker, entity: str) -> None:
    await bury(broker, entity, 300)

    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", f"{sys.executable} -m ops deadletters ls --name {entity} --limit 300 --json | head -1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=environment({"CALLBOARD_EDGE_URL": url}),
    )

    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


@pytest.mark.parametrize("command", ["ls", "show", "summary", "redrive", "jobs", "cancel", "purge"])
def test_every_command_has_help(command: str) -> None:
    done = callboard("deadletters", command, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: callboard deadletters {command} ")
