"""This file is where everything that commonly goes wrong is looked at, with how to mend it.

A check never raises: what it finds out, also that it cannot find out, is a Finding.
"""

from __future__ import annotations

import asyncio
import email.utils
import json as jsonlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.catalog import CAST
from ops.ports import is_free, url_of
from ops.rollcall import answering, get, parse_head, request
from ops.sessions import edge_of
from ops.settings import Settings, is_locked, search_path
from ops.show import versions
from ops.terminal import Paint
from router import topology
from router.broker import Broker
from router.codec import from_json
from router.connection import MIN_SERVER
from router.errors import BadEvent, RouterError

OK, WARN, FAIL, INFO = "ok", "warn", "fail", "info"
_STYLES = {OK: "green", WARN: "yellow", FAIL: "red", INFO: "dim"}

OLDEST_PYTHON = (3, 11)
# Under 1 GiB EVENTS may fill the disk before its own limit is reached; under 100 MiB that is near.
LITTLE_SPACE, NO_SPACE = 1 << 30, 100 << 20
# A stream whose first bytes take longer than this is held back by something between.
SSE_SECONDS = 2.0
# Half a second off is normal; five spoil every `since` and every signature.
CLOCK_WARN, CLOCK_FAIL = 2.0, 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: str
    found: str
    mend: str = ""


def run_doctor(settings: Settings, *, json: bool) -> int:
    """Prints every finding; exit code 1 where one of them is a failure."""
    findings = asyncio.run(_examine(settings, show=not json))
    failed = any(finding.verdict == FAIL for finding in findings)
    if json:
        print(jsonlib.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 1 if failed else 0


async def _examine(settings: Settings, show: bool) -> list[Finding]:
    paint = Paint.of(sys.stdout)
    findings: list[Finding] = []
    async for finding in examine(settings):
        findings.append(finding)
        if show:
            mark = paint(f"{finding.verdict:<4}", _STYLES[finding.verdict])
            mend = f"\n{' ' * 22}{paint('→ ' + finding.mend, 'yellow')}" if finding.mend else ""
            print(f"{mark}  {finding.check:<14}  {finding.found}{mend}", flush=True)
    return findings


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Looks at everything, the nearest first."""
    yield _python()
    for finding in _folder(settings.embedded.data_dir):
        yield finding
    yield _server_binary()
    async for finding in _nats(settings):
        yield finding
    async for finding in _edge(settings):
        yield finding
    yield _program("chromium", ("chromium", "chromium-browser", "google-chrome"), "tests of the page")
    yield _program("docker", ("docker",), "tests in containers")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if tuple(sys.version_info) < OLDEST_PYTHON:
        return Finding(
            "python", FAIL, f"{version} is too old", "install Python 3.11 or newer, then `make clean install`"
        )
    return Finding("python", OK, version)


def _folder(folder: Path) -> list[Finding]:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    mend = "choose another with --data-dir or CALLBOARD_DATA_DIR"
    if not existing.is_dir():
        return [Finding("data folder", FAIL, f"{existing} is not a folder", mend)]
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(bytes(4096))
            os.fsync(probe.fileno())
    except OSError as fault:
        return [Finding("data folder", FAIL, f"{existing}: {fault.strerror}", mend)]
    where = f"{folder}" if existing == folder.absolute() else f"{folder} (not made yet)"
    free = shutil.disk_usage(existing).free
    amount = f"{free / (1 << 30):.1f} GiB free"
    verdict = FAIL if free < NO_SPACE else WARN if free < LITTLE_SPACE else OK
    hint = "" if verdict == OK else f"free some space, lower CALLBOARD_EVENTS_MAX_BYTES, or {mend}"
    running = "in use by a running `callboard up`" if is_locked(folder) else "no `callboard up` runs on it"
    return [Finding("data folder", OK, f"{where} is writable, {running}"), Finding("space", verdict, amount, hint)]


def _server_binary() -> Finding:
    version = versions()["nats-server"]
    if version is None:
        return Finding("nats-server", WARN, "not installed", "`make install`, or set CALLBOARD_NATS_URL to a server")
    return Finding("nats-server", OK, f"{version} is installed")


async def _nats(settings: Settings) -> AsyncIterator[Finding]:
    broker = Broker(settings.broker, "doctor", settings.topology)
    try:
        await broker.open(apply=False)
    except RouterError as fault:
        yield Finding("nats", FAIL, str(fault), "start one with `callboard up`, or set CALLBOARD_NATS_URL")
        return
    try:
        needed = ".".join(map(str, MIN_SERVER))
        version = broker.connection.server_version
        yield Finding("nats", OK, f"{version} with JetStream ({needed} or newer is needed), from {_source(settings)}")
        try:
            differences = await topology.diff(broker.connection, settings.topology)
        except RouterError as fault:
            yield Finding("streams", FAIL, str(fault), "see the log of nats-server")
        else:
            count = len(topology.streams(settings.topology))
            if differences:
                shown = "; ".join(map(str, differences[:3]))
                yield Finding(
                    "streams", FAIL, f"{len(differences)} differences: {shown}"[:300], "`callboard streams apply`"
                )
            else:
                yield Finding("streams", OK, f"all {count} are as they should be")
                state = await broker.state()
                kept = f"{state.messages:,} kept in {state.bytes / (1 << 20):.1f} MiB, newest is number {state.last:,}"
                yield Finding("events", OK, kept)
        heard = await answering(broker.connection, set(CAST), 1.0)
        for name, part in CAST.items():
            if answers := heard.get(name):
                instances = sorted(str(answer.get("metadata", {}).get("instance", "main")) for answer in answers)
                yield Finding(f"actor {name}", OK, f"answers: {', '.join(instances)}")
            else:
                yield Finding(f"actor {name}", WARN, f"does not answer; it {part.about}", f"`callboard actor {name}`")
    except RouterError as fault:
        yield Finding("nats", FAIL, str(fault), "see the log of nats-server")
    finally:
        await broker.close()


def _source(settings: Settings) -> str:
    found = settings.found.get("CALLBOARD_NATS_URL")
    return found.source if found else "the default address"


async def _edge(settings: Settings) -> AsyncIterator[Finding]:
    host, port = edge_of(settings)
    url = url_of(host, port)
    try:
        ready = await get(host, port, "/readyz")
    except OSError as fault:
        why = fault.strerror or str(fault)
        if host in ("127.0.0.1", "localhost", "::1") and is_free(host, port):
            yield Finding("edge", WARN, f"nothing listens at {url}", "start it with `callboard up` or `callboard edge`")
        else:
            yield Finding("edge", FAIL, f"{url}: {why}", "another program may have the port: choose one with --port")
        return
    checks = _map(ready.body).get("checks")
    if ready.status == 200:
        yield Finding("edge", OK, f"{url} is ready")
    elif isinstance(checks, dict):
        missing = ", ".join(name for name, well in checks.items() if not well)
        yield Finding("edge", FAIL, f"{url} is not ready: {missing}", "see its log; it needs NATS and the streams")
    else:
        yield Finding("edge", FAIL, f"what answers at {url} is not Callboard", "choose another port with --port")
        return
    yield await _clock(ready.headers.get("date"))
    yield await _stream(host, port)


async def _clock(date: str | None) -> Finding:
    if not date:
        return Finding("clock", INFO, "the edge does not say its time")
    here = time.time()
    try:
        there = email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding("clock", INFO, "the edge does not say its time")
    # Date has whole seconds: the truth lies within the one that follows.
    off = max(0.0, there - here, here - (there + 1))
    verdict = FAIL if off > CLOCK_FAIL else WARN if off > CLOCK_WARN else OK
    text = f"{off:.1f} s apart from the edge's" if off > 0.5 else "agrees with the edge's"
    return Finding("clock", verdict, text, "" if verdict == OK else "let both machines follow a time server (NTP)")


async def _stream(host: str, port: int) -> Finding:
    """Opens an SSE stream of its own and looks how soon its first bytes come."""
    mend = "something between holds the stream back: turn its buffering and compression off for text/event-stream"
    session = None
    try:
        made = await get(host, port, "/callbacks/sessions", method="POST", body=b'{"delivery_method":"sse"}')
        session = _map(made.body).get("session_id")
        if not isinstance(session, str):
            return Finding("sse", FAIL, f"a session could not be made: status {made.status}", "see the log of the edge")
        begun = time.monotonic()
        async with asyncio.timeout(SSE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request(host, port, f"/callbacks/sessions/{session}/sse"))
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
                first = await reader.read(1)
            finally:
                writer.close()
        took = (time.monotonic() - begun) * 1000
        if head.status != 200 or not first:
            return Finding("sse", FAIL, f"the stream was refused: status {head.status}", "see the log of the edge")
        if "content-encoding" in head.headers:
            return Finding("sse", WARN, "the stream is compressed on its way", mend)
        return Finding("sse", OK, f"the first bytes came after {took:.0f} ms")
    except TimeoutError:
        return Finding("sse", FAIL, f"nothing arrived within {SSE_SECONDS:g} s", mend)
    except (OSError, EOFError, ValueError) as fault:
        return Finding("sse", FAIL, f"the stream broke off: {fault}", mend)
    finally:
        if isinstance(session, str):
            try:
                await get(host, port, f"/callbacks/sessions/{session}", method="DELETE")
            except OSError:
                pass


def _program(name: str, names: tuple[str, ...], used: str) -> Finding:
    path = next((found for each in names if (found := shutil.which(each, path=search_path()))), None)
    return Finding(name, INFO, f"{'there' if path else 'not there'}; only {used} need it")


def _map(body: bytes) -> dict[str, Any]:
    try:
        value = from_json(body)
    except BadEvent:
        return {}
    return value if isinstance(value, dict) else {}
