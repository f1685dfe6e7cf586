"""Starts the embedded nats-server as a child process: on loopback, with JetStream in a data folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import secrets
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from router.errors import EmbeddedError

log = logging.getLogger(__name__)

# 8 MiB: a 4K JPEG with room to spare; larger pictures go by reference.
MAX_PAYLOAD = 8 * 1024 * 1024
# A server that starts may do nothing for so long; one with a large store reads that first, for as long as it takes.
START_SECONDS = 10.0
# Ticks of CPU time, mostly of 10 ms, that show that a server works: a hundredth of a core over START_SECONDS.
WORKING_TICKS = 10
# Below those that Linux gives to outgoing connections (32768 and up): one of these could take a port before it is bound.
PORTS = range(20_000, 32_000)
USER = "callboard"
# 32 bytes of chance, which nobody guesses; written so that neither an address nor a configuration needs quotes for it.
PASSWORD_BYTES = 32
# A server says INFO as soon as it is connected to; one that listens and says nothing is none.
INFO_SECONDS, INFO_BYTES = 2.0, 65536


@dataclass(frozen=True)
class EmbeddedSettings:
    """Where the embedded server keeps its data, and on which port it listens (0: 4222, or a free one where that is taken)."""

    data_dir: Path = Path(".callboard")
    port: int = 0
    max_memory: str = "512MB"
    max_file: str = "8GB"
    # How often what was acknowledged is forced to disk: `always` (with each write), or a time such as 1s or 2m. A power cut
    # may take what was acknowledged within it; a crash of the process takes nothing.
    sync_interval: str = "1s"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"always|[1-9][0-9]*(ms|s|m)", self.sync_interval):
            raise ValueError(
                f"sync_interval must be always, or a time such as 1s or 2m, and not {self.sync_interval!r}"
            )


def binary() -> str:
    """Finds the nats-server that came with the installation. Raises EmbeddedError."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise EmbeddedError("no nats-server found: reinstall (`make install`), or set CALLBOARD_NATS_URL to a server")
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """Finds a port that nobody uses now, and that the system gives to no outgoing connection before it is bound."""
    for chosen in random.SystemRandom().sample(PORTS, 50):
        if _port_is_free(chosen, host):
            return chosen
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def write_private(path: Path, text: str) -> None:
    """Writes a file that only our user may read, also where there was one with wider rights. Raises OSError."""
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)


def password_of(folder: Path) -> str:
    """Reads the password of the embedded server on a data folder, or makes it; the same at every start.

    It is stored in `nats.password`, readable by our user only. Raises EmbeddedError.
    """
    path = folder / "nats.password"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            known = path.read_text(encoding="utf-8").strip()
            if re.fullmatch(r"[A-Za-z0-9_-]{22,}", known):
                return known
        # None yet, or one that others may have read, or that is not whole.
        made = secrets.token_urlsafe(PASSWORD_BYTES)
        write_private(path, made + "\n")
        return made
    except (OSError, UnicodeDecodeError) as fault:
        why = getattr(fault, "strerror", None) or "not a text file"
        raise EmbeddedError(f"{path} cannot be used: {why}; choose another folder with --data-dir") from None


async def _server_name(port: int) -> str:
    """Reads the name that a NATS server says in its first line; empty where the line is none. Raises OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=INFO_BYTES)
    try:
        async with asyncio.timeout(INFO_SECONDS):
            line = await reader.readline()
    except (TimeoutError, ValueError):
        line = b""
    finally:
        writer.close()
    try:
        return str(json.loads(line.removeprefix(b"INFO "))["server_name"])
    except (ValueError, TypeError, KeyError):
        return ""


class EmbeddedServer:
    """A nats-server as a child process. It may be started again after it died, on the same port and data."""

    def __init__(
        self, settings: EmbeddedSettings, preexec: Callable[[], None] | None = None, password: str | None = None
    ) -> None:
        """With a password (A-Z, a-z, 0-9, - and _ only) nobody gets in without it."""
        self.settings = settings
        self._password = password
        self.port = settings.port or (4222 if _port_is_free(4222) else free_port())
        self.process: asyncio.subprocess.Process | None = None
        # Created for this server, which sends it in its first line: another server on the same port does not know it.
        self.name = f"callboard-{secrets.token_hex(8)}"
        self._started = False
        self._preexec = preexec
        self._log = settings.data_dir / "nats-server.log"

    @property
    def url(self) -> str:
        """The address, with the password in it where there is one."""
        login = f"{USER}:{self._password}@" if self._password else ""
        return f"nats://{login}127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Makes the data folder and writes the server's configuration. Raises EmbeddedError."""
        folder = self.settings.data_dir
        try:
            (folder / "jetstream").mkdir(parents=True, exist_ok=True)
            login = f'authorization {{ user: {USER}, password: "{self._password}" }}\n' if self._password else ""
            write_private(
                folder / "nats-server.conf",
                f"host: 127.0.0.1\nport: {self.port}\n{login}"
                f"server_name: {self.name}\nmax_payload: {MAX_PAYLOAD}\n"
                f'log_file: "{self._log.resolve()}"\nlogfile_size_limit: 10MB\n'
                f'jetstream {{ store_dir: "{(folder / "jetstream").resolve()}", '
                f"max_memory_store: {self.settings.max_memory}, max_file_store: {self.settings.max_file}, "
                f'sync_interval: "{self.settings.sync_interval}" }}\n',
            )
            probe = folder / "jetstream" / ".writable"
            # 64 kB that must really reach the disk: a full disk is found here, not by the first event.
            with probe.open("wb") as file:
                file.write(bytes(65536))
                file.flush()
                os.fsync(file.fileno())
            probe.unlink()
        except OSError as fault:
            raise EmbeddedError(
                f"the data folder {folder} cannot be used: {fault.strerror}; "
                "choose another with --data-dir or CALLBOARD_DATA_DIR"
            ) from None

    async def start(self) -> None:
        """Starts the server and returns once it takes connections. Raises EmbeddedError.

        What answers on the port must be our child; where another program took a port that nobody asked for, the next start
        is on another one.
        """
        while True:
            await self._run()
            stranger = await self._answered()
            if stranger is None:
                return
            await self.stop()
            if self.settings.port or self._started:
                raise EmbeddedError(
                    f"{stranger} has port {self.port} on 127.0.0.1 already; stop it, choose another port with "
                    "CALLBOARD_EMBEDDED_PORT, or use that server with --nats-url"
                )
            self.port = free_port()

    async def _run(self) -> None:
        self.prepare()
        try:
            self.process = await asyncio.create_subprocess_exec(
                binary(),
                "-c",
                str(self.settings.data_dir / "nats-server.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us; the server is stopped last
                preexec_fn=self._preexec,
            )
        except OSError as fault:
            raise EmbeddedError(f"nats-server cannot be run: {fault.strerror}") from None

    async def _answered(self) -> str | None:
        """Waits until our server accepts connections. Raises EmbeddedError, with the process that has its port where another does."""
        assert self.process
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        told = deadline
        progress = self._progress()
        stranger = None
        while loop.time() < deadline:
            ended = self.process.returncode is not None
            with contextlib.suppress(OSError):
                name = await _server_name(self.port)
                if name == self.name and not ended:
                    self._started = True
                    return None
                stranger = f"the NATS server {name}" if name else "a program that is no NATS server"
            if ended:
                if stranger:
                    return stranger
                raise EmbeddedError(f"nats-server ended at once: {self._last_words()}")
            await asyncio.sleep(0.01)
            now = self._progress()
            if now[0] != progress[0] or now[1] >= progress[1] + WORKING_TICKS:
                progress, deadline = now, loop.time() + START_SECONDS
            if loop.time() >= told:
                told = loop.time() + START_SECONDS
                log.info(
                    "nats-server is reading its store; waiting until it takes connections",
                    extra={"log": str(self._log)},
                )
        raise EmbeddedError(f"nats-server does not start: it has done nothing for {START_SECONDS:g} s; see {self._log}")

    def _progress(self) -> tuple[int, int]:
        """The size of the server's log, and the CPU time it has taken, in ticks; 0 where that is not known."""
        size = ticks = 0
        with contextlib.suppress(OSError):
            size = self._log.stat().st_size
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The fields behind the program's name, which may have blanks: the 12th and 13th are user and system time.
            fields = (
                Path(f"/proc/{self.process.pid if self.process else 0}/stat").read_text().rpartition(")")[2].split()
            )
            ticks = int(fields[11]) + int(fields[12])
        return size, ticks

    def _last_words(self) -> str:
        try:
            lines = [
                line
                for line in self._log.read_text(errors="replace").splitlines()
                if "[FTL]" in line or "[ERR]" in line
            ]
        except OSError:
            lines = []
        return lines[-1].split("] ", 2)[-1] if lines else f"see {self._log}"

    def terminate(self) -> None:
        """Asks the server to end; its supervisor starts it again."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)

    async def stop(self, timeout: float = 5.0) -> None:
        """Stops the server; kills it where it does not go by itself."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        # os.kill, because asyncio's own send_signal polls the child and can take its exit code from the watcher.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
