"""Starts, reads, restarts and ends a child process, and makes sure that none outlives its parent.

Nothing is left behind when we are killed: on Linux the kernel tells the children (PR_SET_PDEATHSIG), elsewhere and beside
that a pipe does, whose other end only we hold open (`watch_lifeline`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ops.environment import LIFELINE, child_environment, inherited_descriptor
from ops.launch import own_argv
from ops.process.handshake import Handshake
from ops.process.logs import level_of

_PR_SET_PDEATHSIG = 1
# 5 s: a process that lost its parent drains like one that was told to stop, but not for ever.
ORPHAN_SECONDS = 5.0
# 5 MB a log, and one older one beside it.
LOG_BYTES = 5_000_000
# A line longer than this is cut: no child may fill our memory by never ending one.
LINE_BYTES = 16_384
# The first restart comes after about 0.2 s, later ones after at most 3; ten seconds of life earn a fresh start.
FIRST_DELAY, LONGEST_DELAY, EARNED_AFTER = 0.2, 3.0, 10.0
# Of the deaths of a process that had become ready so many within EARNED_AFTER seconds cost the first delay only: it was
# killed as a rule, and the pictures of a camera have to come back soon.
QUICK_RESTARTS = 3

Say = Callable[[str, str, str], None]
"""Called as say(name, level, line) for what a child logs, and for what becomes of it."""


class Lifeline:
    """A pipe whose writing end only this process has. Children read its end when this process is gone, however it ended."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


def end_with_parent(signum: int = signal.SIGTERM) -> Callable[[], None] | None:
    """Makes a function for a child to call before exec, so that the kernel signals it when its parent dies; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here: between fork and exec nothing may be imported or allocated that a lock could guard.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def hold() -> None:
        prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
        if os.getppid() != parent:  # we died before the child asked to be told
            os._exit(1)

    return hold


def watch_lifeline() -> None:
    """Shuts this process down when the one that started it is gone; kills it where that takes too long."""
    descriptor = inherited_descriptor(LIFELINE)
    if descriptor is None:
        return
    os.set_inheritable(descriptor, False)

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


class Backoff:
    """The delay before the next start: exponential, jittered, and short again after a long run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self._clock = clock
        self._started = clock()
        self._quick: deque[float] = deque(maxlen=QUICK_RESTARTS)

    def started(self) -> None:
        self._started = self._clock()

    def next(self, ready: bool = False) -> float:
        """Counts a failure and says how long to wait; `ready` says that the process had become ready."""
        now = self._clock()
        if now - self._started > EARNED_AFTER:
            self.failures = 0
        if ready and (len(self._quick) < QUICK_RESTARTS or now - self._quick[0] > EARNED_AFTER):
            self._quick.append(now)
            delay = FIRST_DELAY
        else:
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self.failures)
        self.failures = min(self.failures + 1, 10)
        return delay * random.uniform(0.5, 1.0)


def reason(code: int) -> str:
    """Says in last_lines how a process ended."""
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


class LogFile:
    """Where one child's lines are kept: bounded, with the previous part beside it. A full disk loses lines, no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, line: bytes) -> None:
        try:
            if self._size > LOG_BYTES:
                self._file.close()
                self.path.replace(self.path.with_suffix(".log.1"))
                self._file, self._size = self.path.open("ab", buffering=0), 0
            self._size += self._file.write(line + b"\n")
        except (OSError, ValueError):
            pass

    def close(self) -> None:
        self._file.close()


class Child:
    """One child process, restarted until `stop`."""

    def __init__(
        self,
        name: str,
        arguments: Iterable[str],
        *,
        say: Say,
        lifeline: Lifeline,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        descriptors: Iterable[int] = (),
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=40)
        self.restarts = 0
        self.exit_code: int | None = None
        # Set while the process that runs now has proved that it is ours, and is ready.
        self.ready = asyncio.Event()
        self._argv = own_argv(*arguments)
        self._say = say
        self._log = log
        self._descriptors = (lifeline.reading, *descriptors)
        self._environment = child_environment({**(environment or {}), LIFELINE: str(lifeline.reading)})
        self._end_with_parent = end_with_parent()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process's id; None where it does not run now."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def keep(self) -> None:
        """Runs the process, and runs it again whenever it ends, until `stop`. Wrong settings (exit code 2) end it for good."""
        backoff = Backoff()
        log = LogFile(self._log) if self._log else None
        try:
            while not self._stopping:
                backoff.started()
                code, was_ready = await self._run(log)
                if self._stopping:
                    return
                if code == 2:  # its settings are wrong, and will be so the next time
                    self.exit_code = code
                    return
                delay = backoff.next(was_ready)
                self.restarts += 1
                if backoff.failures <= 3:
                    self._say(self.name, "restart", f"{reason(code)}{self._last_line(code)}; starting it again")
                elif backoff.failures == 4:
                    self._say(
                        self.name, "restart", "ends again and again; still restarting it, without further reports"
                    )
                await asyncio.sleep(delay)
        finally:
            if log:
                log.close()

    async def _run(self, log: LogFile | None) -> tuple[int, bool]:
        """Runs the process once: its exit code, and whether it had become ready."""
        handshake = Handshake(self.ready.set)
        try:
            code = await self._run_with(handshake, log)
            return code, self.ready.is_set()
        finally:
            handshake.close()
            self.ready.clear()

    async def _run_with(self, handshake: Handshake, log: LogFile | None) -> int:
        self.last_lines.clear()
        piped = asyncio.subprocess.PIPE if self._log else None
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=piped,
                stderr=asyncio.subprocess.STDOUT if piped else None,
                env=self._environment | handshake.environment,
                pass_fds=(*self._descriptors, handshake.descriptor),
                start_new_session=True,  # the terminal's Ctrl-C is for us alone; we stop them in order
                preexec_fn=self._end_with_parent,
            )
        except OSError as fault:
            self.last_lines.append(fault.strerror or str(fault))
            return 1
        handshake.started()
        if self._stopping:  # while it was being made
            self.send(signal.SIGTERM)
        if not process.stdout:
            return await process.wait()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(process.stdout, log))
            code = await process.wait()
            # Its last lines are still in the pipe; another process that holds the pipe open is not waited for.
            await asyncio.wait({listening}, timeout=0.5)
            listening.cancel()
        return code

    async def _listen(self, stream: asyncio.StreamReader, log: LogFile | None) -> None:
        """Writes every line to the log, and reports the serious ones."""
        rest = b""
        while chunk := await stream.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES:
                lines.append(rest[:LINE_BYTES])
                rest = b""
            for line in lines:
                self._take(line, log)
        if rest:
            self._take(rest, log)

    def _take(self, line: bytes, log: LogFile | None) -> None:
        if log:
            log.write(line)
        if text := line.decode(errors="replace").rstrip():
            self.last_lines.append(text)
            # A traceback stays in the log: its record or the last line of the process has the reason.
            if level := level_of(text):
                self._say(self.name, level, text)

    def _last_line(self, code: int) -> str:
        said = self.last_lines[-1].removeprefix("callboard: ") if self.last_lines and code > 0 else ""
        return f" ({said[:200]})" if said else ""

    def send(self, signum: int) -> None:
        """Signals the process with all that it started."""
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signum)

    def give_up(self) -> None:
        """Says that the process shall not be started again."""
        self._stopping = True

    async def stop(self, timeout: float) -> None:
        """Asks the process to end, and ends it by force where it takes longer than `timeout` seconds."""
        self.give_up()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            self._say(self.name, "warning", f"did not end within {timeout:g} s and is killed")
            self.send(signal.SIGKILL)
            await process.wait()
