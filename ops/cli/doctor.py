"""Checks for everything that commonly goes wrong, and says how to mend it: what `callboard doctor` does.

A check never raises: every result, also that it could not be run, is a Finding.
"""

from __future__ import annotations

import asyncio
import email.utils
import json as jsonlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

from actors.catalog import ACTORS
from edge.settings import EdgeSettings
from edge.webhooks.queue.job import PARTITIONS
from ops.cli.findings import FAIL, INFO, OK, WARN, Finding, body_of, store_mend
from ops.cli.health import store_text
from ops.cli.interruptible import run_interruptibly
from ops.cli.packages import examine_packages
from ops.cli.probing import probe
from ops.cli.sessions import edge_of
from ops.cli.show import versions
from ops.environment import DATA_DIR, search_path
from ops.process.descriptors import attainable
from ops.process.disk import LITTLE_SPACE, NO_SPACE
from ops.process.http import get
from ops.process.micro import answering
from ops.process.ports import is_free, url_of
from ops.register import is_locked
from ops.settings import Settings
from ops.terminal import Paint
from router import topology
from router.broker import Broker
from router.cluster.ownership import unowned
from router.cursor import parse_time
from router.errors import Forbidden, NoResponders, Refused, RouterError, Timeout, Unreachable
from router.limits import HEADROOM, SMALL_SERVER, largest_event
from router.nats.bucket import Bucket
from router.nats.connection import MIN_SERVER, Connection
from router.nats.counters import figures
from router.nats.stream import Stream
from router.store_health import SOON_SECONDS, StoreHealth

_STYLES = {OK: "green", WARN: "yellow", FAIL: "red", INFO: "dim"}

OLDEST_PYTHON = (3, 11)
# Half of what Debian gives a login; each reader takes one, and NATS, webhooks and logs some more.
FEW_FILES = 4096
# A stream past this is no longer far from with_refusals, or from dropping what was to be kept.
NEARLY_FULL = 0.8
# A round trip to NATS within one data centre takes a tenth of it.
SLOW_TRIP = 0.05
# A partition of the webhooks that is still without an owner after so long does not only change hands: longer than the
# lease of an edge that was killed.
HAND_OVER = 10.0
# Half a second off is normal; five spoil every `since` and every signature.
CLOCK_WARN, CLOCK_FAIL = 2.0, 5.0


def run_doctor(settings: Settings, *, json: bool) -> int:
    """Prints every finding; exit code 1 where one of them is a failure."""
    findings = run_interruptibly(_examine(settings, show=not json))
    failed = any(finding.verdict == FAIL for finding in findings)
    if json:
        print(jsonlib.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 1 if failed else 0


async def _examine(settings: Settings, show: bool) -> list[Finding]:
    paint = Paint.of(sys.stdout)
    findings: list[Finding] = []
    # Closed here and not by the garbage collector: the reader of our output may close the pipe at any finding.
    async with aclosing(examine(settings)) as found:
        async for finding in found:
            findings.append(finding)
            if show:
                mark = paint(f"{finding.verdict:<4}", _STYLES[finding.verdict])
                mend = f"\n{' ' * 22}{paint('→ ' + finding.mend, 'yellow')}" if finding.mend else ""
                print(f"{mark}  {finding.check:<14}  {finding.found}{mend}", flush=True)
    return findings


async def examine(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Looks at everything, the nearest first."""
    yield _python()
    for finding in examine_packages():
        yield finding
    for finding in _folder(settings.embedded.data_dir):
        yield finding
    yield _descriptors()
    for finding in _secrets(settings):
        yield finding
    yield _server_binary()
    yield _up(settings)
    for examined in (_nats(settings), _edge(settings)):
        async with aclosing(examined) as found:
            async for finding in found:
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


def _descriptors() -> Finding:
    most = attainable()
    if most < FEW_FILES:
        mend = "raise the hard limit: `ulimit -Hn 65536` as root before the start, or LimitNOFILE= in its unit"
        found = f"{most} file descriptors a process; each reader and each webhook under way takes one"
        return Finding("descriptors", WARN, found, mend)
    return Finding("descriptors", OK, f"{most:,} file descriptors a process")


_SHORTAGES = {
    "descriptors": (
        "posts were postponed for want of file descriptors",
        "raise LimitNOFILE= (`ulimit -Hn`), lower CALLBOARD_WEBHOOK_MAX_CONNECTIONS, or add replicas",
    ),
    "memory": (
        "posts were postponed for want of memory for sockets",
        "look at the machine's memory and net.ipv4.tcp_mem",
    ),
    "ports": (
        "posts were postponed for want of local ports",
        "widen net.ipv4.ip_local_port_range, or lower the concurrency of the endpoints",
    ),
    "resolver": (
        "posts were postponed because no name could be looked up",
        "look at the name servers in /etc/resolv.conf",
    ),
    "proxy": (
        "posts were postponed because the proxy of the settings cannot be used",
        "look at CALLBOARD_WEBHOOK_PROXY, its credentials, and whether it runs",
    ),
    "address": (
        "endpoints lead to addresses that are denied; their posts are postponed",
        "see the log for which; CALLBOARD_WEBHOOK_ALLOW_CIDRS allows a network",
    ),
}


def examine_shortages(shortages: object) -> list[Finding]:
    """Looks at what an edge lacked of late when it wanted to post webhooks, as its /readyz says."""
    if not isinstance(shortages, dict) or not shortages:
        return [Finding("webhooks", OK, "no post was postponed within ten minutes for want of anything here")]
    findings = []
    for reason, ago in shortages.items():
        found, mend = _SHORTAGES.get(str(reason), (f"posts were postponed: {reason}", "see its log"))
        findings.append(Finding("webhooks", WARN, f"{found}, last {ago:.0f} s ago", mend))
    return findings


def _secrets(settings: Settings) -> list[Finding]:
    """Looks whether files that hold secrets can be read by us, and by nobody else."""
    broker = settings.broker
    findings = []
    for name, path in (("creds", broker.creds), ("nkey seed", broker.nkey_seed), ("key", broker.key)):
        if path is None:
            continue
        check = f"NATS {name}"
        try:
            mode = path.stat().st_mode
            with path.open("rb"):
                pass
        except OSError as fault:
            findings.append(Finding(check, FAIL, f"{path}: {fault.strerror}", "name a file that this user may read"))
            continue
        if mode & (stat.S_IRWXO | stat.S_IWGRP):
            findings.append(Finding(check, WARN, f"others may read {path}", f"`chmod o=,g-w {path}`"))
        else:
            findings.append(Finding(check, OK, f"{path} can be read by us and not by others"))
    return findings


def _up(settings: Settings) -> Finding:
    """Says which `callboard up` is looked at; NATS and the edge are its own where no others are named."""
    settings.one_is_meant()
    if settings.running:
        return Finding("up", OK, f"runs on {settings.running}")
    return Finding(
        "up", INFO, "none of this user runs" if not settings.was_set(DATA_DIR) else "none runs on this folder"
    )


def _server_binary() -> Finding:
    version = versions()["nats-server"]
    if version is None:
        return Finding("nats-server", WARN, "not installed", "`make install`, or set CALLBOARD_NATS_URL to a server")
    return Finding("nats-server", OK, f"{version} is installed")


async def _nats(settings: Settings) -> AsyncGenerator[Finding, None]:
    broker = Broker(settings.broker, "doctor", settings.topology)
    try:
        await broker.open(apply=False)
    except RouterError as fault:
        # The error itself says what is wrong with a server that answers.
        start = "start one with `callboard up`, or set CALLBOARD_NATS_URL" if isinstance(fault, Unreachable) else ""
        yield Finding("nats", FAIL, str(fault), start)
        return
    try:
        needed = ".".join(map(str, MIN_SERVER))
        version = broker.connection.server_version
        yield Finding("nats", OK, f"{version} with JetStream ({needed} or newer is needed), from {_source(settings)}")
        begun = time.perf_counter()
        await broker.connection.flush()
        trip = time.perf_counter() - begun
        far = "use a NATS that is nearer, or look at the network" if trip > SLOW_TRIP else ""
        yield Finding("round trip", WARN if far else OK, f"{trip * 1000:.1f} ms to NATS and back", far)
        yield _sizes(broker)
        # Before the streams are read, which may fail for what this finds.
        yield await _writes(broker)
        try:
            differences = await topology.diff(broker.connection, settings.topology)
        except RouterError as fault:
            if figures.forbidden:
                yield _forbidden()
            else:
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
                for finding in await _rooms(broker.connection, settings):
                    yield finding
        yield await _partitions(broker)
        heard = await answering(broker.connection, set(ACTORS), 1.0)
        for name, part in ACTORS.items():
            if answers := heard.get(name):
                instances = sorted(str(answer.get("metadata", {}).get("instance", "main")) for answer in answers)
                yield Finding(f"actor {name}", OK, f"answers: {', '.join(instances)}")
            else:
                yield Finding(f"actor {name}", WARN, f"does not answer; it {part.about}", f"`callboard actor {name}`")
        if figures.forbidden:
            yield _forbidden()
    except RouterError as fault:
        yield Finding("nats", FAIL, str(fault), "see the log of nats-server")
    finally:
        await broker.close()


def _sizes(broker: Broker) -> Finding:
    """Looks at what the server takes as one message, and how large an event may be because of that."""
    most, largest = broker.connection.max_payload, broker.largest_event
    over_http = largest_event(most, EdgeSettings().max_body)
    found = f"the server takes {most:,} bytes a message; an event may have {largest:,}, {over_http:,} over HTTP"
    if most < SMALL_SERVER:
        mend = f"raise max_payload of nats-server: {HEADROOM:,} bytes of each message are kept free for headers"
        return Finding("event size", FAIL if not largest else WARN, found, mend)
    return Finding("event size", OK, found)


async def _writes(broker: Broker) -> Finding:
    """Asks the streams whether they take writes; missing ones are left as they are."""
    health = StoreHealth(broker)
    await health.look(active=False)
    while health.waits:
        await asyncio.sleep(SOON_SECONDS)
        await health.look(active=False)
    if found := list(health.troubles.values()):
        shown = "; ".join(map(str, found[:3]))
        return Finding("writes", FAIL, shown[:300], store_mend(health.code))
    return Finding("writes", OK, "the streams take writes")


async def _partitions(broker: Broker) -> Finding:
    """Looks whether every partition of the webhooks has an owner that lives."""
    check = "partitions"
    bucket = Bucket(broker.connection, topology.LEASES)
    deadline = time.monotonic() + HAND_OVER
    try:
        while True:
            free, living = await unowned(bucket, PARTITIONS)
            if not free:
                return Finding(check, OK, f"each of {PARTITIONS} webhook partitions has an owner among {living} edges")
            if not living:
                return Finding(
                    check, WARN, "no edge delivers webhooks", "start one with `callboard up` or `callboard edge`"
                )
            if time.monotonic() > deadline:
                break
            # A partition changes hands within seconds.
            await asyncio.sleep(0.5)
    except RouterError as fault:
        return Finding(check, WARN, f"not known: {fault}", "`callboard streams apply`, or see the log of nats-server")
    listed = ", ".join(map(str, free))
    found = f"{len(free)} of {PARTITIONS} webhook partitions have no owner ({listed}): their events wait"
    return Finding(check, FAIL, found, "restart the edges one after the other, and keep their logs")


def _forbidden() -> Finding:
    mend = "give the user these rights; k8s/base/nats/accounts.conf lists what each part needs"
    return Finding("permissions", FAIL, "NATS refuses this user something that was asked of it", mend)


def _room(full: Mapping[str, float]) -> Finding:
    """`full` has the share that is used of each stream that is nearly full."""
    if not full:
        return Finding("room", OK, "no stream is nearly full")
    limits = sorted({f"CALLBOARD_{'BUCKETS' if name.startswith('KV_') else name}_MAX_BYTES" for name in full})
    mend = f"work off or purge what lies there, or raise {' and '.join(limits)} and run `callboard streams apply`"
    return Finding("room", FAIL, ", ".join(f"{name} {share:.0%}" for name, share in full.items()), mend)


async def _rooms(connection: Connection, settings: Settings) -> list[Finding]:
    """Looks at what every stream holds, at who leads it, and at the time of the server that says so."""
    headless, behind = [], []
    full: dict[str, float] = {}
    off = 0.0
    for stream in topology.streams(settings.topology):
        try:
            info = await Stream(connection, stream.name).info()
        except Forbidden:
            raise
        except (NoResponders, Refused, Timeout):
            headless.append(stream.name)
            continue
        here = time.time()
        state, most = info["state"], info["config"].get("max_bytes", -1)
        # What drops its oldest by age and bytes is meant to be full; the others refuse, or lose what was to be kept.
        if (
            stream.name not in (topology.EVENTS, topology.FRAMES, topology.ATTEMPTS)
            and state["bytes"] > most * NEARLY_FULL > 0
        ):
            full[stream.name] = state["bytes"] / most
        cluster = info.get("cluster") or {}
        if cluster and not cluster.get("leader"):
            headless.append(stream.name)
        behind += [stream.name for one in cluster.get("replicas") or [] if not one.get("current") or one.get("offline")]
        if said := info.get("ts"):
            off = max(off, abs(parse_time(said).timestamp() - here))
    findings = [_room(full)]
    if headless:
        findings.append(Finding("leaders", FAIL, f"none: {', '.join(headless)}", "two of three servers must be up"))
    if behind:
        mend = "`nats server report jetstream` shows who; bring it back before another one goes"
        findings.append(Finding("replicas", WARN, f"behind: {', '.join(dict.fromkeys(behind))}", mend))
    verdict = FAIL if off > CLOCK_FAIL else WARN if off > CLOCK_WARN else OK
    mend = "" if verdict == OK else "let both machines follow a time server (NTP)"
    findings.append(
        Finding("NATS clock", verdict, f"{off:.1f} s apart from ours" if off > 0.5 else "agrees with ours", mend)
    )
    return findings


def _source(settings: Settings) -> str:
    found = settings.found.get("CALLBOARD_NATS_URL")
    return found.source if found else "the default address"


async def _edge(settings: Settings) -> AsyncGenerator[Finding, None]:
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
    checks = body_of(ready).get("checks")
    if ready.status == 200:
        yield Finding("edge", OK, f"{url} is ready")
    elif isinstance(checks, dict):
        missing = ", ".join(name for name, well in checks.items() if not well)
        store = body_of(ready).get("store")
        mend = store_mend(store.get("code")) if isinstance(store, dict) else ""
        found = f"{url} is not ready: {missing}{store_text(store)}"[:300]
        if checks.get("subscriptions") is False:
            mend = mend or store_mend("forbidden")
        yield Finding("edge", FAIL, found, mend or "see its log; it needs NATS and the streams")
        if mend:
            # The checks below need a store that takes writes; else a proxy would be blamed for a failure of the store.
            return
    else:
        yield Finding("edge", FAIL, f"what answers at {url} is not Callboard", "choose another port with --port")
        return
    for finding in examine_shortages(body_of(ready).get("shortages")):
        yield finding
    yield await _clock(ready.headers.get("date"))
    origins = settings.section("edge").allowed_origins
    async with aclosing(probe(host, port, settings.command.token, origins)) as tried:
        async for finding in tried:
            yield finding


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


def _program(name: str, names: tuple[str, ...], used: str) -> Finding:
    path = next((found for each in names if (found := shutil.which(each, path=search_path()))), None)
    return Finding(name, INFO, f"{'there' if path else 'not there'}; only {used} need it")
