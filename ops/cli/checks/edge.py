"""Checks the edge: readiness, shortages, clock, and what clients get through the proxies before it."""

from __future__ import annotations

import email.utils
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ops.cli.checks.findings import FAIL, INFO, OK, WARN, CheckResult, body_of, clock_finding, store_mend
from ops.cli.checks.probing import probe
from ops.cli.health import store_text
from ops.cli.sessions import edge_of
from ops.process.http import get
from ops.process.ports import is_free, url_of
from ops.settings import Settings

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


def examine_shortages(shortages: object) -> list[CheckResult]:
    """Looks at what an edge lacked of late when it wanted to post webhooks, as its /readyz says."""
    if not isinstance(shortages, dict) or not shortages:
        return [CheckResult("webhooks", OK, "no post was postponed within ten minutes for want of anything here")]
    findings = []
    for reason, ago in shortages.items():
        found, mend = _SHORTAGES.get(str(reason), (f"posts were postponed: {reason}", "see its log"))
        findings.append(CheckResult("webhooks", WARN, f"{found}, last {ago:.0f} s ago", mend))
    return findings


async def examine_edge(settings: Settings) -> AsyncGenerator[CheckResult, None]:
    """Looks at the edge that the settings name, as its clients reach it."""
    host, port = edge_of(settings)
    url = url_of(host, port)
    try:
        ready = await get(host, port, "/readyz")
    except OSError as fault:
        why = fault.strerror or str(fault)
        if host in ("127.0.0.1", "localhost", "::1") and is_free(host, port):
            yield CheckResult(
                "edge", WARN, f"nothing listens at {url}", "start it with `callboard up` or `callboard edge`"
            )
        else:
            yield CheckResult(
                "edge", FAIL, f"{url}: {why}", "another program may have the port: choose one with --port"
            )
        return
    checks = body_of(ready).get("checks")
    if ready.status == 200:
        yield CheckResult("edge", OK, f"{url} is ready")
    elif isinstance(checks, dict):
        missing = ", ".join(name for name, well in checks.items() if not well)
        store = body_of(ready).get("store")
        mend = store_mend(store.get("code")) if isinstance(store, dict) else ""
        found = f"{url} is not ready: {missing}{store_text(store)}"[:300]
        if checks.get("subscriptions") is False:
            mend = mend or store_mend("forbidden")
        yield CheckResult("edge", FAIL, found, mend or "see its log; it needs NATS and the streams")
        if mend:
            # The checks below need a store that takes writes; else a proxy would be blamed for a failure of the store.
            return
    else:
        yield CheckResult("edge", FAIL, f"what answers at {url} is not Callboard", "choose another port with --port")
        return
    for finding in examine_shortages(body_of(ready).get("shortages")):
        yield finding
    yield _clock(ready.headers.get("date"))
    origins = settings.section("edge").allowed_origins
    async with aclosing(probe(host, port, settings.command.token, origins)) as tried:
        async for finding in tried:
            yield finding


def _clock(date: str | None) -> CheckResult:
    if not date:
        return CheckResult("clock", INFO, "the edge does not say its time")
    here = time.time()
    try:
        there = email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return CheckResult("clock", INFO, "the edge does not say its time")
    # Date has whole seconds: the truth lies within the one that follows.
    off = max(0.0, there - here, here - (there + 1))
    return clock_finding("clock", off, "the edge's")
