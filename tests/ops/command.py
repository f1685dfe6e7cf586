"""Runs the `callboard` command for tests as people do: as a process, with an environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from ops.launch import own_argv
from router.nats.embedded import free_port
from tests.waiting import PATIENCE, eventually, in_time

ROOT = Path(__file__).parents[2]
_REGISTERS = tempfile.TemporaryDirectory(prefix="callboard-registers-")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of the person who runs the tests, and with those given."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("CALLBOARD_", "MAKE", "MFLAGS"))}
    # A register of its own for each: commands find only those `callboard up` that a test names.
    alone = {"CALLBOARD_RUNTIME_DIR": f"{_REGISTERS.name}/{secrets.token_hex(8)}"}
    return {**kept, "PYTHONPATH": str(ROOT), **alone, **(extra or {})}


def callboard(*arguments: str, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end. Variables are given without their prefix: NATS_URL=…"""
    return subprocess.run(
        own_argv(*arguments),
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=environment({f"CALLBOARD_{name}": value for name, value in variables.items()}),
        check=False,
    )


def doctor_findings(text: str) -> dict[str, dict[str, str]]:
    """What `callboard doctor --json` printed, by check."""
    return {finding["check"]: finding for finding in json.loads(text)["findings"]}


class Running:
    """A command that runs, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = ""
        self.err = ""

    async def read(self) -> None:
        async def keep(stream: asyncio.StreamReader, name: str) -> None:
            while chunk := await stream.read(65536):
                setattr(self, name, getattr(self, name) + chunk.decode(errors="replace"))

        assert self.process.stdout and self.process.stderr
        await asyncio.gather(keep(self.process.stdout, "out"), keep(self.process.stderr, "err"))

    async def says(self, text: str, within: float = PATIENCE) -> None:
        """Waits until it has said something."""

        def said() -> bool:
            ended = self.process.returncode
            if text in self.out or text in self.err:
                return True
            assert ended is None, f"ended with {ended} without saying {text!r}: {self.out}{self.err}"
            return False

        try:
            await eventually(said, within)
        except AssertionError:
            raise AssertionError(f"did not say {text!r}: {self.out}{self.err}") from None

    def signal(self, number: int) -> None:
        # Not process.send_signal: it polls, and so takes the exit code away from asyncio's watcher (Python 3.11).
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    async def ends(self, within: float = PATIENCE) -> int:
        """Waits for its end; the exit code."""
        return await in_time(self.process.wait(), within)


@contextlib.asynccontextmanager
async def running(*arguments: str, cwd: Path = ROOT, **variables: str) -> AsyncIterator[Running]:
    """Runs a command while the block runs; kills it where it is still there then."""
    process = await asyncio.create_subprocess_exec(
        *own_argv(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment({f"CALLBOARD_{name}": value for name, value in variables.items()}),
    )
    command = Running(process)
    reading = asyncio.create_task(command.read())
    try:
        yield command
    except BaseException:
        # Shown by pytest where the test fails.
        print(f"{' '.join(arguments)}: {process.returncode}\n{command.out}{command.err}")
        raise
    finally:
        if process.returncode is None:
            command.signal(signal.SIGTERM)
            try:
                await in_time(process.wait())
            except TimeoutError:
                process.kill()
                await process.wait()
        await reading


@contextlib.asynccontextmanager
async def up(folder: Path, *arguments: str, **variables: str) -> AsyncIterator[Running]:
    """Runs `callboard up` on free ports and waits until it is ready."""
    variables = {"EMBEDDED_PORT": str(free_port()), "EDGE_PORT": str(free_port()), **variables}
    async with running("up", "--data-dir", str(folder), *arguments, **variables) as command:
        await command.says("Ctrl-C ends it")
        yield command


def family(folder: Path) -> dict[int, str]:
    """All processes that belong to the system on a data folder, by their command lines and environments."""
    found: dict[int, str] = {}
    wanted = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            state = re.search(r"\) (\S)", (entry / "stat").read_text())
            # A zombie is nobody: its parent has only not asked yet.
            if state and state[1] != "Z" and words and (wanted in words or wanted in (entry / "environ").read_bytes()):
                found[int(entry.name)] = words.replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
    return found


def member(folder: Path, words: str) -> int:
    """The one process of the family whose command line has these words."""
    found = [pid for pid, line in family(folder).items() if words in line]
    assert len(found) == 1, (words, family(folder))
    return found[0]
