"""Tests of run.py and spool.py: real commands, told of on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.run import new_job, run_command
from router.broker import Broker
from router.errors import NoResponders
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from tests.ops.cli.jobs import only, told
from tests.waiting import PATIENCE, eventually, in_time

# `callboard run` without its flags: the address, the job, the command.
DRIVER = """
import asyncio, sys
import ops.cli.run
import ops.process.guard
from ops.cli.run import run_command
from router.broker import Broker
from router.nats.settings import BrokerSettings
url, job, mode, *command = sys.argv[1:]
if mode == "short":
    ops.process.guard.GRACE_SECONDS = 0.3
broker = Broker(BrokerSettings(url=url, connect_timeout=30), "run")
sys.exit(asyncio.run(run_command(broker, command, job=job, quiet=mode == "quiet", json=mode == "json", colours=mode == "colours")))
"""


async def start(url: str, job: str, *command: str, mode: str = "", **options: Any) -> asyncio.subprocess.Process:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", DRIVER, url, job, mode, *command, **options)


async def ran(url: str, job: str, *command: str, mode: str = "") -> tuple[int, bytes, bytes]:
    process = await start(url, job, *command, mode=mode)
    out, err = await in_time(process.communicate())
    assert process.returncode is not None
    return process.returncode, out, err


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def python(program: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", program)


@pytest.fixture
async def ending_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that a test may start late or stop."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    try:
        yield server
    finally:
        await server.stop()


async def test_a_commands_output_passes_unchanged_and_becomes_events(
    nats_server: str, broker: Broker, entity: str
) -> None:
    program = """
import sys
print("eins"); print("zwei", file=sys.stderr); sys.stdout.buffer.write(b"dr\\xffei\\n\\x00end"); sys.exit(3)
"""

    code, out, err = await ran(nats_server, entity, *python(program))

    assert code == 3
    assert out == b"eins\ndr\xffei\n\x00end"
    note, rest = err.split(b"\n", 1)
    assert entity.encode() in note and b"callboard tail" in note and rest == b"zwei\n"
    events = await told(broker, entity)
    assert events[0].type == "workflow_start" and events[0].data["command"].startswith(sys.executable)
    lines = [(data["stream"], line) for data in only(events, "output") for line in data["line"].split("\n")]
    assert [line for stream, line in lines if stream == "stdout"] == ["eins", "dr�ei", "\x00end"]
    assert [line for stream, line in lines if stream == "stderr"] == ["zwei"]
    assert events[-1].type == "completion" and len(only(events, "completion")) == 1
    end = events[-1].data
    assert (end["success"], end["exit_code"], end["error"]) == (False, 3, "exit code 3: zwei") and end["total_time"] > 0


async def test_colours_stay_in_the_lines_where_that_is_wanted_and_what_else_steers_a_terminal_does_not(
    nats_server: str, broker: Broker, entity: str
) -> None:
    program = """
import os, sys
print("\\x1b[2K\\x1b[1;32m50%\\x1b[0m\\x1b]0;title\\x07", os.environ["FORCE_COLOR"], flush=True)
print("\\x1b[31mno disk\\x1b[0m", file=sys.stderr); sys.exit(1)
"""

    await ran(nats_server, entity, *python(program), mode="colours")

    events = await told(broker, entity)
    lines = {data["stream"]: data["line"] for data in only(events, "output")}
    assert lines == {"stdout": "\x1b[1;32m50%\x1b[0m 1", "stderr": "\x1b[31mno disk\x1b[0m"}
    # The rest of its line may come later, and be news.
    assert {data["progress"] for data in only(events, "progress")} == {0.5}
    assert events[-1].data["error"] == "exit code 1: no disk"


async def test_lines_and_progress_are_told_while_the_command_runs(
    nats_server: str, broker: Broker, entity: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    program = f"print('step 1/4'); open({str(go)!r}).read(); print('100%')"

    process = await start(nats_server, entity, *python(program))

    async def halfway() -> bool:
        return [data["progress"] for data in only(await told(broker, entity), "progress")] == [0.25]

    await eventually(halfway)
    assert await in_time(process.stdout.readline()) == b"step 1/4\n"  # type: ignore[union-attr]
    await asyncio.to_thread(go.write_text, "go")
    await in_time(process.communicate())
    events = await told(broker, entity)
    assert [data["progress"] for data in only(events, "progress")] == [0.25, 1.0]
    assert [data["line"] for data in only(events, "output")] == ["step 1/4", "100%"]
    assert [data["n"] for data in only(events, "output")] == [1, 2]
    assert events[-1].data["success"] is True


async def test_a_bar_becomes_few_progress_events_the_last_one_among_them(
    nats_server: str, broker: Broker, entity: str
) -> None:
    program = """
import sys
for n in range(1, 3001):
    sys.stderr.write(f"\\rtrain: {n*100//3000:3d}%|####      | {n}/3000 [00:03<00:04, 12.5it/s]")
sys.stderr.write("\\n")
"""

    code, _, err = await ran(nats_server, entity, *python(program))

    events = await told(broker, entity)
    seen = only(events, "progress")
    assert code == 0 and err.count(b"\r") == 3000
    assert 1 <= len(seen) < 1000
    assert seen[-1] == {
        "progress": 1.0,
        "message": "train",
        "current": 3000,
        "total": 3000,
        "rate": 12.5,
        "eta_seconds": 4.0,
    }
    assert len(only(events, "output")) == 1


async def test_a_flood_is_put_together_and_no_line_is_lost(nats_server: str, broker: Broker, entity: str) -> None:
    program = "for n in range(50000): print(f'line {n} of a build that says far too much')"

    code, out, _ = await ran(nats_server, entity, *python(program))

    outputs = only(await told(broker, entity), "output")
    lines = "\n".join(data["line"] for data in outputs).split("\n")
    assert code == 0 and out.count(b"\n") == 50000
    assert lines == [f"line {n} of a build that says far too much" for n in range(50000)]
    assert len(outputs) < 25000
    assert sum(data.get("count", 1) for data in outputs) == 50000


async def test_a_command_killed_by_a_signal_says_which(nats_server: str, broker: Broker, entity: str) -> None:
    code, _, _ = await ran(nats_server, entity, "sh", "-c", "kill -KILL $$")

    end = (await told(broker, entity))[-1].data
    assert code == 137
    assert (end["exit_code"], end["signal"], end["error"]) == (137, "SIGKILL", "killed by SIGKILL")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_goes_to_the_command_and_all_it_started(
    nats_server: str, broker: Broker, entity: str, number: signal.Signals
) -> None:
    process = await start(nats_server, entity, "sh", "-c", "sleep 60 & echo $!; exec sleep 60")
    inner = int(await in_time(process.stdout.readline()))  # type: ignore[union-attr]

    process.send_signal(number)

    await in_time(process.communicate())
    if number == signal.SIGINT:
        os.kill(inner, signal.SIGKILL)  # a shell's background process ignores it, by POSIX
    await eventually(lambda: not alive(inner))
    assert process.returncode == 128 + number
    end = (await told(broker, entity))[-1].data
    assert (end["success"], end["status"], end["signal"]) == (False, "cancelled", number.name)


async def test_a_kill_takes_the_command_with_it_and_all_it_started(nats_server: str, entity: str) -> None:
    # One in the group, one that has left it, one that has left it and does not end when asked.
    program = "sleep 600 & echo $!; setsid sleep 601 & echo $!; setsid sh -c 'trap \"\" TERM; echo $$; sleep 602; sleep 603' & wait"
    process = await start(nats_server, entity, "sh", "-c", f"echo $$; {program}", mode="short")
    pids = [int(await in_time(process.stdout.readline())) for _ in range(4)]  # type: ignore[union-attr]
    assert all(alive(pid) for pid in pids)

    process.kill()

    await process.wait()
    await eventually(lambda: not any(alive(pid) for pid in pids))


async def test_a_command_that_is_asked_to_end_by_a_kill_may_save_its_work(
    nats_server: str, entity: str, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    program = f"""
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(saved)!r}).write_text("all"), sys.exit()))
print("ready"); signal.pause()
"""
    process = await start(nats_server, entity, *python(program))
    await in_time(process.stdout.readline())  # type: ignore[union-attr]

    process.kill()

    await process.wait()
    await eventually(saved.exists)


async def test_a_command_may_refuse_to_end_and_finish_its_work(nats_server: str, broker: Broker, entity: str) -> None:
    program = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(0)))
print("ready"); signal.pause()
"""
    process = await start(nats_server, entity, *python(program))
    await in_time(process.stdout.readline())  # type: ignore[union-attr]

    process.terminate()

    out, _ = await in_time(process.communicate())
    assert process.returncode == 0 and out == b"saved\n"
    assert (await told(broker, entity))[-1].data["success"] is True


async def test_a_command_is_stopped_over_nats(nats_server: str, broker: Broker, entity: str) -> None:
    process = await start(nats_server, entity, "sleep", "60")

    async def ask() -> bytes | None:
        with contextlib.suppress(NoResponders):
            return (await broker.connection.ask(f"cmd.run.{entity}.stop", b"{}")).payload
        return None

    answer = await eventually(ask)

    assert json.loads(answer)["ok"] is True
    await in_time(process.communicate())
    assert process.returncode == 143
    events = await told(broker, entity)
    assert [event.type for event in events] == ["workflow_start", "stopping", "completion"]
    assert events[-1].data["status"] == "cancelled"


async def test_a_command_that_does_not_exist_is_127_and_one_line(nats_server: str, broker: Broker, entity: str) -> None:
    code, out, err = await ran(nats_server, entity, "no-such-command-anywhere", "x")
    denied = await ran(nats_server, entity, "/")

    assert (code, out, err) == (127, b"", b"callboard: no-such-command-anywhere: command not found\n")
    assert denied[0] == 126 and denied[2].count(b"\n") == 1
    assert await told(broker, entity) == []


async def test_a_reader_that_leaves_ends_the_command_as_in_any_pipe(
    nats_server: str, broker: Broker, entity: str
) -> None:
    process = await start(nats_server, entity, "yes")
    await in_time(process.stdout.readexactly(100))  # type: ignore[union-attr]

    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]

    assert await in_time(process.wait()) == 128 + signal.SIGPIPE
    await process.communicate()
    assert (await told(broker, entity))[-1].data["signal"] == "SIGPIPE"


async def test_what_a_command_leaves_in_the_background_is_not_waited_for(
    nats_server: str, broker: Broker, entity: str
) -> None:
    async with asyncio.timeout(PATIENCE):
        code, out, _ = await ran(nats_server, entity, "sh", "-c", "sleep 300 & echo $!")

    os.kill(int(out), signal.SIGKILL)
    assert code == 0
    assert only(await told(broker, entity), "output")[0]["line"] == out.decode().strip()


async def test_quiet_shows_nothing_and_json_prints_the_events(nats_server: str, broker: Broker, entity: str) -> None:
    quiet = await ran(nats_server, f"{entity}q", "echo", "hello", mode="quiet")
    _, out, _ = await ran(nats_server, entity, "echo", "hello", mode="json")

    assert quiet[:2] == (0, b"")
    printed = [json.loads(line) for line in out.splitlines()]
    events = await told(broker, entity)
    assert [each["event_type"] for each in printed] == ["workflow_start", "output", "completion"]
    assert [each["id"] for each in printed] == [event.id for event in events]
    assert printed[1]["data"]["line"] == "hello" and printed[1]["subject"] == f"job.{entity}.output"


async def test_a_command_runs_without_nats_and_is_told_of_once_it_is_there(
    ending_server: EmbeddedServer, entity: str
) -> None:
    process = await start(ending_server.url, entity, "sh", "-c", "echo 10%; sleep 2; echo 100%")
    assert await in_time(process.stdout.readline()) == b"10%\n"  # type: ignore[union-attr]

    await ending_server.start()

    _, err = await in_time(process.communicate())
    assert process.returncode == 0 and b"dropped" not in err
    async with Broker(BrokerSettings(url=ending_server.url), "test") as broker:
        events = await told(broker, entity)
    assert [data["line"] for data in only(events, "output")] == ["10%", "100%"]
    assert events[0].type == "workflow_start" and events[-1].data["success"] is True


async def test_without_nats_a_flood_runs_to_its_end_and_waits_on_disk(entity: str) -> None:
    program = "for n in range(30000): print(f'line {n}')"

    code, out, err = await ran(f"nats://127.0.0.1:{free_port()}", entity, *python(program))

    assert code == 0 and out.count(b"\n") == 30000, err.decode()
    last = err.splitlines()[-1].decode()
    assert entity in last and "events wait in" in last and "callboard flush" in last and b"dropped" not in err


async def test_the_command_sees_our_input_and_its_folder(nats_server: str, entity: str, tmp_path: Path) -> None:
    process = await start(nats_server, entity, "cat", stdin=subprocess.PIPE)

    out, _ = await in_time(process.communicate(b"through\n"))

    assert out == b"through\n"


async def test_a_cancelled_run_command_leaves_no_process(broker: Broker, entity: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = ["sh", "-c", f"echo $$ > {pid}; exec sleep 60"]
    running = asyncio.ensure_future(run_command(broker, command, job=entity, quiet=True))
    number = int(await eventually(lambda: pid.exists() and pid.read_text()))

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not alive(number)
    assert (await told(broker, entity))[-1].data["status"] == "cancelled"


async def test_a_run_command_cancelled_at_its_start_leaves_no_pipe_open(broker: Broker, entity: str) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        running = asyncio.ensure_future(run_command(broker, ["sleep", "60"], job=entity, quiet=True))
        # In its first turn it starts the command; before the second it reads nothing of it.
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        del running
        gc.collect()

    assert [str(each.message) for each in warned if each.category is ResourceWarning] == []


def test_a_jobs_id_tells_of_its_command() -> None:
    one, other = new_job(["/usr/bin/python3", "train.py", "--epochs=3"]), new_job(["…"])

    assert one.startswith("job-python3-train-py-epoch") and len(one) <= 36
    assert other.startswith("job-command-") and new_job(["x"]) != new_job(["x"])
