"""Runs Mercure as a peer to compare with, where it is installed.

`go install` refuses its module, whose go.mod replaces another one: it is installed from its release, or built in `caddy/mercure`
of its repository. It runs as a hub of version 1 without history, which is its fastest; only its heartbeats are out of the way, as
ours are. It has SSE, and no lists of events.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp

from ops.bench.stand import BenchError, process
from ops.environment import search_path
from router.nats.embedded import free_port

PATH = "/.well-known/mercure"
ISSUER = "https://bench.invalid"
READY_SECONDS = 20.0


class Mercure(NamedTuple):
    """One that runs, and a token that may publish."""

    pid: int
    port: int
    token: str


def found() -> Path | str:
    """Where its program is, or why there is none."""
    path = shutil.which("mercure", path=search_path())
    return Path(path) if path else "left out: mercure is not installed (`go install` refuses its module)"


def configuration(port: int, folder: Path, key: str) -> str:
    """A Caddyfile: anybody may listen, and who has a token signed with the key may publish."""
    return f"""{{
	admin off
	auto_https off
	persist_config off
	storage file_system {folder}
	log {{
		level ERROR
	}}
}}
http://127.0.0.1:{port} {{
	mercure {{
		anonymous
		heartbeat 0s
		write_timeout 0s
		transport local
		issuer {ISSUER} {{
			publisher {{
				jwt {key} HS256
			}}
		}}
	}}
	respond / 200
}}
"""


@contextlib.asynccontextmanager
async def mercure(binary: Path) -> AsyncIterator[Mercure]:
    """Runs it until the block ends. Raises BenchError where it does not start, as one of an earlier version would not."""
    port, key = free_port(), secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as name:
        folder = Path(name)
        file, secret = folder / "Caddyfile", folder / "key"
        file.write_text(configuration(port, folder, key))
        secret.write_text(key)
        token = await _token(binary, port, secret)
        async with process(str(binary), "run", "--config", str(file), "--adapter", "caddyfile") as child:
            await _ready(child, port)
            yield Mercure(child.pid, port, token)


async def _token(binary: Path, port: int, key: Path) -> str:
    audience = f"http://127.0.0.1:{port}{PATH}"
    child = await asyncio.create_subprocess_exec(
        *(str(binary), "mercure-token", "--iss", ISSUER, "--aud", audience, "--key", f"@{key}", "--publish", "*"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await child.communicate()
    if child.returncode:
        raise BenchError("left out: mercure makes no token; it must be of version 1")
    return said.decode().strip()


async def _ready(child: asyncio.subprocess.Process, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession() as http:
        while child.returncode is None and time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{port}/") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)
    raise BenchError("left out: mercure does not start; it must be of version 1")
