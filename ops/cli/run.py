"""Runs a command and publishes its lines, its progress and its end: what `callboard run -- COMMAND…` does.

The command runs as it would without us: it has our input and our signals, and its exit code is returned. Its output goes to
ours unchanged and at once; publishing comes second and can never stop it. Where we are killed, it ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO

from ops.cli.ending import ending
from ops.cli.progress import LineReader, OutputLine, without_escapes
from ops.cli.pytest_output import runs_pytest
from ops.cli.spool import Spool
from ops.environment import child_environment
from ops.process.children import end_with_parent
from ops.process.guard import ProcessGuard
from router.broker import Broker
from router.codec import rfc3339, to_json
from router.errors import BrokerError, RunConflict, Unsuitable
from router.event import Event
from router.sdk.run import Run
from router.sdk.values import RunSettings, Unsent
from router.subject import escape

# 64 kB: what a pipe holds.
CHUNK_BYTES = 65536
# A second: something the command left running in the background may still hold its output open; it is not waited for.
LINGER_SECONDS = 1.0
# Five seconds for the lines and five for the end: so long a finished command waits for NATS to take its last events.
DRAIN_SECONDS = 5.0
# Ten seconds to stop when asked to; then it is killed.
STOP_SECONDS = 10.0
# Half a second between two tries to reach a NATS that was not there.
RETRY_SECONDS = 0.5

# What programs look at to print colours where no terminal reads them.
COLOURED = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}

NOT_FOUND = 127
NOT_EXECUTABLE = 126

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CommandProcess:
    """The command as a process. It has a process group of its own, unless it shall read from our terminal."""

    def __init__(self, argv: Sequence[str], colours: bool = False) -> None:
        """`colours`: it is told to print them, though no terminal reads it. Raises OSError where it cannot be started."""
        # A group in the background that reads from the terminal is stopped by it. In ours, a Ctrl-C reaches it anyway.
        self.shares_terminal = _in_foreground()
        self.asked_to_end = False
        self.is_pytest = runs_pytest(argv)
        # `kill -9` leaves us no time to end it: the kernel does, and a guard ends what it started.
        self._guard = ProcessGuard()
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=child_environment(self._guard.environment | (COLOURED if colours else {})),
                process_group=None if self.shares_terminal else 0,
                preexec_fn=end_with_parent(),
            )
        except BaseException:
            self._guard.close()
            raise
        if not self.shares_terminal:
            self._guard.watch(self._process.pid)
        assert self._process.stdout and self._process.stderr
        self.stdout: IO[bytes] = self._process.stdout
        self.stderr: IO[bytes] = self._process.stderr

    def send(self, number: int) -> None:
        """Sends a signal to the command and what it started."""
        self.asked_to_end = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.shares_terminal:
                self._process.send_signal(number)
            elif self._process.poll() is None:
                os.killpg(self._process.pid, number)

    def forward(self, number: int) -> None:
        """Forwards a signal to the command."""
        self.asked_to_end = True
        if not (self.shares_terminal and number == signal.SIGINT):
            self.send(number)

    async def wait(self) -> int:
        """Returns the exit code, or the negative number of the signal that ended it."""
        return await asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def stop(self, grace: float) -> None:
        """Ends the command: asks first, kills after `grace` seconds."""
        self.send(signal.SIGTERM)
        await asyncio.sleep(grace)
        self.send(signal.SIGKILL)

    def abandon(self) -> None:
        """Kills what is left where we are cut short ourselves, and closes the pipes that nobody came to read."""
        if self._process.poll() is None:
            self.send(signal.SIGKILL)
            self._process.wait()
        self._guard.close()
        self.stdout.close()
        self.stderr.close()


class OutputStream:
    """Copies one of the command's outputs to ours."""

    def __init__(
        self, name: str, target: int | None, spool: Spool, pytest: bool = False, colours: bool = False
    ) -> None:
        self.name = name
        # The newest line that is not blank.
        self.last = ""
        self._pytest = pytest
        self._colours = colours
        self._target = target
        self._spool = spool
        self._waiting_since: float | None = None

    async def relay(self, pipe: IO[bytes]) -> None:
        """Passes bytes on until the end of the stream, and puts its lines into the spool."""
        loop = asyncio.get_running_loop()
        reader, transport = await _connect(pipe)
        lines = LineReader(self._pytest, self._colours)
        try:
            while chunk := await self._read(reader):
                if self._target is not None:
                    try:
                        await loop.run_in_executor(None, _write, self._target, chunk)
                    except OSError:
                        # Our reader is gone. Closing the command's pipe tells it so, as it would without us.
                        break
                out, progress = lines.feed(chunk)
                for line in out:
                    await self._spool.room()
                    self._add(line)
                if progress:
                    self._spool.tell(progress)
        finally:
            transport.close()
            out, progress = lines.end()
            for line in out:
                self._add(line)
            if progress:
                self._spool.tell(progress)

    def _add(self, line: OutputLine) -> None:
        self.last = without_escapes(line.text).strip() or self.last
        self._spool.add(self.name, line)

    def idle(self, seconds: float) -> bool:
        """Says whether nothing has come for so long."""
        since = self._waiting_since
        return since is not None and time.monotonic() - since >= seconds

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        self._waiting_since = time.monotonic()
        chunk = await reader.read(CHUNK_BYTES)
        self._waiting_since = None
        return chunk


async def _connect(pipe: IO[bytes]) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Opens a pipe for reading; the transport closes it, here where the caller is cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(CHUNK_BYTES)
    # uvloop, when cancelled in this, closes the descriptor by its number: the file object would close it once more, when
    # the number may belong to another file.
    connecting = loop.create_task(loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe))
    try:
        transport, _ = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        (await connecting)[0].close()
        raise
    return reader, transport


async def run_command(
    broker: Broker,
    argv: Sequence[str],
    *,
    job: str | None,
    domain: str = "job",
    name: str | None = None,
    quiet: bool = False,
    json: bool = False,
    colours: bool = False,
) -> int:
    """Runs a command and publishes its events; returns its exit code, 128 + n where signal n ended it.

    The broker may be open, or never opened: then it is opened here, as soon as NATS answers, and closed at the end.
    """
    # Who names the job wants to find it by that; else the command says what it is.
    name = name or job
    job = job or new_job(argv)
    run = _run_of(broker, argv, job, domain, name, json)
    child = _start(argv, colours)
    if isinstance(child, int):
        return child
    _say(f"{job} runs; watch it with: callboard tail '{domain}.{escape(job)}.>'")
    spool = Spool()
    opened = broker.connection.connected
    try:
        with _signals(child):
            async with asyncio.TaskGroup() as group:
                opening = None if opened else group.create_task(_open(broker))
                async with run:
                    code, said = await _follow(run, child, spool, not (quiet or json), colours)
                    await run.complete(**ending(code, child.asked_to_end or run.stopped.is_set(), said))
                if opening:
                    opening.cancel()
    except* (RunConflict, Unsent) as faults:
        # The command has ended as it did, whatever became of what is told of it.
        for fault in faults.exceptions:
            _say(str(fault))
    finally:
        child.abandon()
        if not opened:
            await broker.close()
    _report(run, spool)
    return code if code >= 0 else 128 - code


def _run_of(broker: Broker, argv: Sequence[str], job: str, domain: str, name: str | None, json: bool) -> Run:
    """Makes the run that tells of the command; without a name it is called what the command is."""
    command = shlex.join(argv)
    return Run(
        job,
        broker,
        domain=domain,
        name=name or " ".join(command.split())[:100],
        about={"command": command[:1000]},
        source="run",
        settings=RunSettings(drain=DRAIN_SECONDS),
        watch=_print if json else None,
    )


def _start(argv: Sequence[str], colours: bool) -> CommandProcess | int:
    """Starts the command, or says why it cannot be and gives the exit code of a shell for that."""
    try:
        return CommandProcess(argv, colours)
    except (FileNotFoundError, NotADirectoryError):
        _say(f"{argv[0]}: command not found")
        return NOT_FOUND
    except OSError as fault:
        _say(f"{argv[0]}: {fault.strerror}")
        return NOT_EXECUTABLE


async def _follow(run: Run, child: CommandProcess, spool: Spool, shown: bool, colours: bool) -> tuple[int, str]:
    """Publishes the command's events until it has ended and all are stored, or NATS takes nothing any more.

    Returns its exit code and the last line of its errors.
    """
    errors = OutputStream("stderr", 2 if shown else None, spool, colours=colours)
    streams = {
        OutputStream("stdout", 1 if shown else None, spool, child.is_pytest, colours): child.stdout,
        errors: child.stderr,
    }
    async with asyncio.TaskGroup() as group:
        relaying = group.create_task(spool.relay(run))
        stopping = group.create_task(_stop_when_asked(run, child))
        reading = {group.create_task(stream.relay(pipe)): stream for stream, pipe in streams.items()}
        code = await child.wait()
        stopping.cancel()
        while left := {task for task in reading if not task.done()}:
            await asyncio.wait(left, timeout=LINGER_SECONDS / 4)
            for task in left:
                if reading[task].idle(LINGER_SECONDS):
                    task.cancel()
        spool.close()
        await asyncio.wait({relaying}, timeout=DRAIN_SECONDS)
        relaying.cancel()
    return code, errors.last


async def _stop_when_asked(run: Run, child: CommandProcess) -> None:
    await run.stopped.wait()
    await child.stop(STOP_SECONDS)


async def _open(broker: Broker) -> None:
    """Opens the broker as soon as there is one."""
    told = False
    while True:
        try:
            await broker.open()
            return
        except Unsuitable as fault:
            _say(f"{fault}; the command runs, nothing is told of it")
            return
        except BrokerError as fault:
            if not told:
                _say(f"{fault}; the command runs, what it says waits")
                told = True
        await asyncio.sleep(RETRY_SECONDS)


def new_job(argv: Sequence[str]) -> str:
    """Makes a job's id that a person can tell from others: `job-python-train-py-3f9a`."""
    words = [os.path.basename(argv[0]), *argv[1:]]
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:24].strip("-")
    return f"job-{slug or 'command'}-{secrets.token_hex(2)}"


def _report(run: Run, spool: Spool) -> None:
    """Reports what is not published: what waits on disk, and what is lost."""
    report = run.report
    if report.spool is not None:
        _say(
            f"NATS did not take all of {run.run}: {report.unsent} events wait in {report.spool}; `callboard flush` delivers them"
        )
    lines = spool.dropped + len(spool)
    events = report.refused + report.dropped + (report.unsent if report.spool is None else 0)
    if lines or events:
        parts = [f"{lines} lines" if lines else "", f"{events} events" if events else ""]
        _say(f"NATS did not take all of {run.run}: {' and '.join(filter(None, parts))} were dropped")


@contextlib.contextmanager
def _signals(child: CommandProcess) -> Iterator[None]:
    """Forwards our signals to the command while it runs."""
    loop = asyncio.get_running_loop()
    taken: list[signal.Signals] = []
    try:
        for number in _FORWARDED:
            # Only the main thread gets signals; elsewhere there are none to hand on.
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, child.forward, number)
                taken.append(number)
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _in_foreground() -> bool:
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _write(target: int, chunk: bytes) -> None:
    """Writes all of it; waits while its reader does not read."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(target, view) :]


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"callboard: {text}", file=sys.stderr, flush=True)


def _print(event: Event) -> None:
    """Prints an event as a JSON line, in the shape that sessions deliver."""
    line = to_json(
        {
            "id": event.id,
            "event_type": event.type,
            "subject": event.subject,
            "source": event.source,
            "timestamp": rfc3339(event.time),
            "data": event.data,
        }
    )
    with contextlib.suppress(OSError):
        print(line.decode(), flush=True)
