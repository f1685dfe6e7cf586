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

Say = Callable[[str, str, str], None]
"""Called as say(name, level, line) for what a child logs, and for what becomes of it."""


class Lifeline:
    """A pipe whose writing end only this process has. Children see its end when we are gone, however we went."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


def tether(signum: int = signal.SIGTERM) -> Callable[[], None] | None:
    """Makes what a child calls before exec, so that the kernel signals it when we die; None where the kernel does not."""
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
    """Ends this process in good order when the one that started it is gone; by force where order takes too long."""
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
    """How long to wait before the next start: longer each time, a little at random, short again after a good life."""

    def __init__(self) -> None:
        self.failures = 0
        self._started = time.monotonic()

    def started(self) -> None:
        self._started = time.monotonic()

    def next(self) -> float:
        """Counts a failure and says how long to wait."""
        if time.monotonic() - self._started > EARNED_AFTER:
            self.failures = 0
        delay: float = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self.failures)
        self.failures = min(self.failures + 1, 10)
        return delay * random.uniform(0.5, 1.0)


def reason(code: int) -> str:
    """Says in words how a process ended."""
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
    """One process of the tree, kept alive until it is told to stop."""

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
        self.words: deque[str] = deque(maxlen=40)
        self.restarts = 0
        self.exit_code: int | None = None
        # Set while the process that runs now has proved that it is ours, and ready.
        self.ready = asyncio.Event()
        self._argv = own_argv(*arguments)
        self._say = say
        self._log = log
        self._descriptors = (lifeline.reading, *descriptors)
        self._environment = child_environment({**(environment or {}), LIFELINE: str(lifeline.reading)})
        self._tether = tether()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process's id; None where it does not run now."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def keep(self) -> None:
        """Runs the process, and runs it again whenever it ends, until `stop`. A mistake in its settings ends it for good."""
        backoff = Backoff()
        log = LogFile(self._log) if self._log else None
        try:
            while not self._stopping:
                backoff.started()
                code = await self._run(log)
                if self._stopping:
                    return
                if code == 2:  # its settings are wrong, and will be so the next time
                    self.exit_code = code
                    return
                delay = backoff.next()
                self.restarts += 1
                if backoff.failures <= 3:
                    self._say(self.name, "restart", f"{reason(code)}{self._last_words(code)}; starting it again")
                elif backoff.failures == 4:
                    self._say(self.name, "restart", "ends again and again; trying on, and keeping quiet about it")
                await asyncio.sleep(delay)
        finally:
            if log:
                log.close()

    async def _run(self, log: LogFile | None) -> int:
        handshake = Handshake(self.ready.set)
        try:
            return await self._run_with(handshake, log)
        finally:
            handshake.close()
            self.ready.clear()

    async def _run_with(self, handshake: Handshake, log: LogFile | None) -> int:
        self.words.clear()
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
                preexec_fn=self._tether,
            )
        except OSError as fault:
            self.words.append(fault.strerror or str(fault))
            return 1
        handshake.started()
        if self._stopping:  # while it was being made
            self.send(signal.SIGTERM)
        if not process.stdout:
            return await process.wait()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(process.stdout, log))
            code = await process.wait()
            # What it said last is still in the pipe; something else that holds the pipe open is not waited for.
            await asyncio.wait({listening}, timeout=0.5)
            listening.cancel()
        return code

    async def _listen(self, stream: asyncio.StreamReader, log: LogFile | None) -> None:
        """Keeps every line, and passes on the serious ones."""
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
            self.words.append(text)
            # A traceback stays in the log: its record tells the reason, or the last words of who ends by it do.
            if level := level_of(text):
                self._say(self.name, level, text)

    def _last_words(self, code: int) -> str:
        said = self.words[-1].removeprefix("callboard: ") if self.words and code > 0 else ""
        return f" ({said[:200]})" if said else ""

    def send(self, signum: int) -> None:
        """Signals the process with all that it started."""
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signum)

    def give_up(self) -> None:
        """Says that the process shall not be started again."""
        self._stopping = True

    async def stop(self, patience: float) -> None:
        """Asks the process to end, and ends it by force where it takes longer than `patience` seconds."""
        self.give_up()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            self._say(self.name, "warning", f"did not end within {patience:g} s and is killed")
            self.send(signal.SIGKILL)
            await process.wait()
