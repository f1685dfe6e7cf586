"""Checks NATS: version, round trip, streams, webhook partitions, actors, clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from actors.catalog import ACTORS
from edge.settings import EdgeSettings
from edge.webhooks.queue.job import PARTITIONS
from ops.cli.checks.cameras import examine_cameras
from ops.cli.checks.findings import FAIL, OK, WARN, CheckResult, clock_finding, store_mend
from ops.cli.checks.octanes import examine_octanes
from ops.cli.checks.recordings import examine_recordings
from ops.cli.checks.reshard import Answers, examine_reshard
from ops.process.micro import answering
from ops.settings import Settings
from router import provisioning, topology
from router.broker import Broker
from router.cluster.ownership import unowned
from router.codec import from_json
from router.cursor import parse_time
from router.errors import Forbidden, NoResponders, Refused, RouterError, Timeout, Unreachable
from router.limits import HEADROOM, SMALL_SERVER, largest_event
from router.nats.bucket import Bucket
from router.nats.connection import Connection
from router.nats.counters import figures
from router.nats.dial import MIN_SERVER
from router.nats.stream import Stream
from router.store_health import SOON_SECONDS, StoreHealth

# A stream past this is no longer far from refusing, or from dropping what was to be kept.
NEARLY_FULL = 0.8

# A round trip to NATS within one data centre takes a tenth of it.
SLOW_TRIP = 0.05

# So long the alerts actor has to answer; it may have some events in hand.
ANSWER = 2.0

# A partition of the webhooks that is still without an owner after so long does not only change hands: longer than the
# lease of an edge that was killed.
HAND_OVER = 10.0


async def examine_nats(settings: Settings) -> AsyncGenerator[CheckResult, None]:
    """Looks at the NATS that the settings name, and at what Callboard keeps there."""
    broker = Broker(settings.broker, "doctor", settings.topology)
    try:
        await broker.open(apply=False)
    except RouterError as fault:
        # The error itself says what is wrong with a server that answers.
        start = "start one with `callboard up`, or set CALLBOARD_NATS_URL" if isinstance(fault, Unreachable) else ""
        yield CheckResult("nats", FAIL, str(fault), start)
        return
    try:
        async with aclosing(_examine_open(broker, settings)) as found:
            async for finding in found:
                yield finding
    except RouterError as fault:
        yield CheckResult("nats", FAIL, str(fault), "see the log of nats-server")
    finally:
        await broker.close()


async def _examine_open(broker: Broker, settings: Settings) -> AsyncGenerator[CheckResult, None]:
    """Raises RouterError where the server stops answering."""
    needed = ".".join(map(str, MIN_SERVER))
    version = broker.connection.server_version
    yield CheckResult("nats", OK, f"{version} with JetStream ({needed} or newer is needed), from {_source(settings)}")
    yield await _round_trip(broker.connection)
    yield _sizes(broker)
    # Before the streams are read, which may fail for what this finds.
    yield await _writes(broker)
    for finding in await _streams(broker, settings):
        yield finding
    yield await _partitions(broker)
    heard = await answering(broker.connection, set(ACTORS), 1.0)
    for finding in (*_actors(heard), *await examine_reshard(broker, heard)):
        yield finding
    for finding in await _alerts(broker.connection):
        yield finding
    for finding in (
        *await examine_octanes(broker),
        *await examine_cameras(broker),
        *await examine_recordings(broker),
    ):
        yield finding
    if figures.forbidden:
        yield _forbidden()


async def _round_trip(connection: Connection) -> CheckResult:
    begun = time.perf_counter()
    await connection.flush()
    trip = time.perf_counter() - begun
    far = "use a NATS that is nearer, or look at the network" if trip > SLOW_TRIP else ""
    return CheckResult("round trip", WARN if far else OK, f"{trip * 1000:.1f} ms to NATS and back", far)


async def _streams(broker: Broker, settings: Settings) -> list[CheckResult]:
    """Compares the streams with their declaration, and looks at what they hold. Raises RouterError."""
    try:
        found = await provisioning.diff(broker.connection, settings.topology, broker.layout)
        # A missing stream that need not be there has a line of its own.
        absent = {each.stream for each in found if each.is_optional}
        differences = [each for each in found if each.stream not in absent]
    except RouterError as fault:
        # What is refused is told once, at the end.
        return [] if figures.forbidden else [CheckResult("streams", FAIL, str(fault), "see the log of nats-server")]
    if differences:
        shown = "; ".join(map(str, differences[:3]))
        told = f"{len(differences)} differences: {shown}"[:300]
        return [CheckResult("streams", FAIL, told, "`callboard streams apply`")]
    count = len(topology.streams(settings.topology, broker.layout)) - len(absent)
    return [
        CheckResult("streams", OK, f"all {count} are as they should be"),
        await _events(broker),
        *await _rooms(broker, settings, absent),
    ]


async def _events(broker: Broker) -> CheckResult:
    """What is kept of the events, and in how many streams. Raises RouterError."""
    await broker.layouts.read()
    entry, layout = broker.layouts.entry, broker.layout
    if entry.next is not None:
        shards = entry.next.shards
        told = f"a reshard to {shards} streams is not finished, and publishers may wait for it"
        return CheckResult("events", FAIL, told, f"`callboard streams reshard {shards}`")
    names = [shard.stream for generation in layout.generations for shard in generation.shards]
    states = {name: await Stream(broker.connection, name).state() for name in names}
    messages, size = (sum(state[what] for state in states.values()) for what in ("messages", "bytes"))
    kept = f"{messages:,} kept in {size / (1 << 20):.1f} MiB"
    if len(names) == 1:
        return CheckResult("events", OK, f"{kept}, newest is number {states[names[0]]['last_seq']:,}")
    former = len(names) - len(layout.current.shards)
    return CheckResult("events", OK, f"{kept}, in {len(names)} streams, {former} of them sealed by a reshard")


def _actors(heard: Answers) -> list[CheckResult]:
    findings = []
    for name, part in ACTORS.items():
        if answers := heard.get(name):
            instances = sorted(str(answer.get("metadata", {}).get("instance", "main")) for answer in answers)
            findings.append(CheckResult(f"actor {name}", OK, f"answers: {', '.join(instances)}"))
        else:
            mend = f"`callboard actor {name}`"
            findings.append(CheckResult(f"actor {name}", WARN, f"does not answer; it {part.about}", mend))
    return findings


async def _alerts(connection: Connection) -> list[CheckResult]:
    """Asks the alerts actor which rules are out of force, and which Alertmanagers do not take alerts."""
    try:
        reply = await connection.ask("cmd.alerts.main.standing", b"{}", {"Content-Type": "application/json"}, ANSWER)
        found = from_json(reply.payload)
        mistakes, away = found["mistakes"] + found["mistakes_of_api"], found["alertmanagers"]
    except (RouterError, KeyError, TypeError):
        # None answers as `main`; `_actors` has told of it.
        return []
    rules = CheckResult("alert rules", OK, f"{found['rules']} in force")
    if mistakes:
        more = f", and {len(mistakes) - 1} more mistakes" if len(mistakes) > 1 else ""
        told = f"{found['rules']} in force, others are not: {mistakes[0][:200]}{more}"
        rules = CheckResult("alert rules", WARN, told, "`callboard rules check FILE` lists the mistakes of the file")
    return [rules, *(_alertmanager(each) for each in away)]


def _alertmanager(found: Mapping[str, Any]) -> CheckResult:
    taken = found["taken"] or "never"
    if found["fault"] is None:
        return CheckResult("alertmanager", OK, f"{found['url']}; it took alerts last at {taken}")
    mend = "see ops/runbooks/alerts.md; what fires is posted again until it is taken"
    return CheckResult("alertmanager", WARN, f"{found['url']}: {found['fault']}; it took alerts last at {taken}", mend)


def _sizes(broker: Broker) -> CheckResult:
    """Looks at what the server takes as one message, and how large an event may be because of that."""
    most, largest = broker.connection.max_payload, broker.largest_event
    over_http = largest_event(most, EdgeSettings().max_body)
    found = f"the server takes {most:,} bytes a message; an event may have {largest:,}, {over_http:,} over HTTP"
    if most < SMALL_SERVER:
        mend = f"raise max_payload of nats-server: {HEADROOM:,} bytes of each message are kept free for headers"
        return CheckResult("event size", FAIL if not largest else WARN, found, mend)
    return CheckResult("event size", OK, found)


async def _writes(broker: Broker) -> CheckResult:
    """Asks the streams whether they take writes; missing ones are left as they are."""
    health = StoreHealth(broker)
    await health.look(active=False)
    while health.waits:
        await asyncio.sleep(SOON_SECONDS)
        await health.look(active=False)
    if found := list(health.troubles.values()):
        shown = "; ".join(map(str, found[:3]))
        return CheckResult("writes", FAIL, shown[:300], store_mend(health.code))
    return CheckResult("writes", OK, "the streams take writes")


async def _partitions(broker: Broker) -> CheckResult:
    """Looks whether every partition of the webhooks has an owner that lives."""
    check = "partitions"
    bucket = Bucket(broker.connection, topology.LEASES)
    deadline = time.monotonic() + HAND_OVER
    try:
        while True:
            free, living = await unowned(bucket, PARTITIONS)
            if not free:
                return CheckResult(
                    check, OK, f"each of {PARTITIONS} webhook partitions has an owner among {living} edges"
                )
            if not living:
                return CheckResult(
                    check, WARN, "no edge delivers webhooks", "start one with `callboard up` or `callboard edge`"
                )
            if time.monotonic() > deadline:
                break
            # A partition changes hands within seconds.
            await asyncio.sleep(0.5)
    except RouterError as fault:
        return CheckResult(
            check, WARN, f"not known: {fault}", "`callboard streams apply`, or see the log of nats-server"
        )
    listed = ", ".join(map(str, free))
    found = f"{len(free)} of {PARTITIONS} webhook partitions have no owner ({listed}): their events wait"
    return CheckResult(check, FAIL, found, "restart the edges one after the other, and keep their logs")


def _forbidden() -> CheckResult:
    mend = "give the user these rights; k8s/base/nats/accounts.conf lists what each part needs"
    return CheckResult("permissions", FAIL, "NATS refuses this user something that was asked of it", mend)


def _room(full: Mapping[str, float]) -> CheckResult:
    """`full` has the share that is used of each stream that is nearly full."""
    if not full:
        return CheckResult("room", OK, "no stream is nearly full")
    limits = sorted({f"CALLBOARD_{'BUCKETS' if name.startswith('KV_') else name}_MAX_BYTES" for name in full})
    mend = f"work off or purge what lies there, or raise {' and '.join(limits)} and run `callboard streams apply`"
    return CheckResult("room", FAIL, ", ".join(f"{name} {share:.0%}" for name, share in full.items()), mend)


async def _rooms(broker: Broker, settings: Settings, absent: set[str]) -> list[CheckResult]:
    """Looks at what every stream holds, at who leads it, and at the time of the server that says so."""
    headless, behind = [], []
    full: dict[str, float] = {}
    off = 0.0
    for stream in topology.streams(settings.topology, broker.layout):
        if stream.name in absent:
            continue
        try:
            info = await Stream(broker.connection, stream.name).info()
        except Forbidden:
            raise
        except (NoResponders, Refused, Timeout):
            headless.append(stream.name)
            continue
        here = time.time()
        state, most = info["state"], info["config"].get("max_bytes", -1)
        # What drops its oldest by age and bytes is meant to be full, and recordings have a line of their own; the others refuse,
        # or lose what was to be kept.
        if (
            not topology.is_of_events(stream.name)
            and stream.name not in (topology.FRAMES, topology.ATTEMPTS, topology.PICTURES, topology.RECORDINGS)
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
        findings.append(CheckResult("leaders", FAIL, f"none: {', '.join(headless)}", "two of three servers must be up"))
    if behind:
        mend = "`nats server report jetstream` shows who; bring it back before another one goes"
        findings.append(CheckResult("replicas", WARN, f"behind: {', '.join(dict.fromkeys(behind))}", mend))
    findings.append(clock_finding("NATS clock", off, "ours"))
    return findings


def _source(settings: Settings) -> str:
    found = settings.found.get("CALLBOARD_NATS_URL")
    return found.source if found else "the default address"
