"""No command shows a traceback where its output is closed early, or where Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ops.launch import own_argv
from router.broker import Broker
from router.event import Event
from router.nats.embedded import free_port
from tests.e2e.tree import RunningCallboard
from tests.ops.command import ROOT, environment, running
from tests.waiting import PATIENCE, eventually, in_time

QUIET = (0, 141, -signal.SIGPIPE)


def closed_early(lines: int, *arguments: str, both: bool = False, **variables: str) -> tuple[int, str]:
    """Runs a command, reads some lines of it, and closes its output; the exit code, and what it said on stderr."""
    with subprocess.Popen(
        own_argv(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE, cwd=ROOT,
        env=environment({f"CALLBOARD_{name}": value for name, value in variables.items()}),
    ) as process:  # fmt: skip
        assert process.stdout
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode() if process.stderr else ""
        return process.wait(PATIENCE), said


@pytest.mark.parametrize("lines", [5, *(pytest.param(lines, marks=pytest.mark.slow) for lines in (0, 1, 9, 11, 14))])
def test_doctor_ends_quietly_when_its_reader_has_seen_enough(running_callboard: RunningCallboard, lines: int) -> None:
    code, said = closed_early(lines, "doctor", DATA_DIR=str(running_callboard.data_dir))

    assert (code in QUIET, said) == (True, "")


# Each is started twice, which takes a second: of every kind one is run always.
ALWAYS = [("--help",), ("sessions",), ("tail", ">", "--no-follow", "--json"), ("run", "--", "sh", "-c", "seq 100000")]
OTHERS = [
    ("up", "--help"), ("version",), ("settings",), ("settings", "--json"), ("doctor", "--json"), ("sessions", "--json"),
    ("deadletters", "ls"), ("deadletters", "summary"), ("streams", "diff"), ("health",), ("token", "--json"),
    ("publish", "job.a.started", "{}", "--json"), ("webhooks", "attempts", "sess_none"),
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [*ALWAYS, *(pytest.param(each, marks=pytest.mark.slow, id=" ".join(each)) for each in OTHERS)],
    ids=" ".join,
)
def test_a_command_ends_quietly_when_nobody_reads_it(
    running_callboard: RunningCallboard, arguments: tuple[str, ...]
) -> None:
    found = {"DATA_DIR": str(running_callboard.data_dir), "JWT_SECRET": "a secret that is long enough for HS256"}

    for both in (False, True):
        code, said = closed_early(0, *arguments, both=both, **found)

        assert code in (*QUIET, 1, 2), (code, said)
        for word in ("Traceback", "Exception ignored", "was destroyed", "never awaited", "BrokenPipe"):
            assert word not in said, said


async def test_tail_ends_quietly_when_its_reader_is_gone(broker: Broker, nats_server: str, entity: str) -> None:
    async with running("tail", f"job.{entity}.>", "--last", "all", "--json", NATS_URL=nats_server) as command:
        await broker.publish(Event.new(f"job.{entity}.started"))
        await command.says(entity, PATIENCE)
        transport = command.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        transport.close()

        for n in range(3):
            await broker.publish(Event.new(f"job.{entity}.progress", {"n": n}))

        assert await command.ends(PATIENCE) in QUIET
    assert command.err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("tail", ">"), ("streams", "wait", "--patience", "10m"), ("run", "--", "sleep", "600"),
        ("edge", "--port", "0"), ("actor", "agent"), ("simulate", "octane", "--port", "0"), ("publish", "job.a.said", "-"),
        ("doctor",), ("sessions",), ("health",), ("deadletters", "ls"), ("webhooks", "attempts", "sess_none"), ("logs",),
    ],
    ids=" ".join,
)  # fmt: skip
async def test_ctrl_c_ends_a_command_without_a_traceback(arguments: tuple[str, ...], tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    # Whatever a command asks (NATS, the edge, an internal port) takes the connection and never answers.
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        variables = {
            "NATS_URL": f"nats://127.0.0.1:{port}", "EDGE_URL": f"http://127.0.0.1:{port}", "INTERNAL_PORT": str(port),
            "DATA_DIR": str(tmp_path), "LOG_LEVEL": "error",
        }  # fmt: skip
        if arguments[0] in ("edge", "actor", "simulate"):
            variables["INTERNAL_PORT"] = str(free_port())
        reading, writing = os.pipe()  # an input that stays open
        process = await asyncio.create_subprocess_exec(
            *own_argv(*arguments), stdin=reading, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment({f"CALLBOARD_{name}": value for name, value in variables.items()}), cwd=ROOT,
        )  # fmt: skip
        os.close(reading)
        try:
            if arguments[0] == "simulate":
                await eventually(lambda: _answers(int(variables["INTERNAL_PORT"])), PATIENCE)
            else:
                await in_time(asked.wait())
            os.kill(process.pid, signal.SIGINT)
            out, said = await in_time(process.communicate())
        finally:
            os.close(writing)
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert b"Traceback" not in said and b"Exception ignored" not in said, said.decode()
    assert process.returncode in (0, 1, 130), (process.returncode, out, said)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
