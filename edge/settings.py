"""The settings of the edge. Imports nothing heavy, so that a command can ask for the port cheaply."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# RFC 7518 §3.2: a key for HS256 has at least the size of its hash.
MIN_SECRET = 32

DEFAULT_RETRY_ATTEMPTS = 3
MAX_RETRY_ATTEMPTS = 20
# A week: a longer pause outlives what the event store keeps.
MAX_RETRY_PAUSE = 7 * 86400.0
MAX_RETRY_STATUSES = 50
# What a circuit breaker and auto-disable may be set to: least and most.
BREAKER_FAILURES = (1, 1000)
BREAKER_SHARE = (0.01, 1.0)
BREAKER_MIN_ATTEMPTS = (1, 10_000)
BREAKER_WINDOW = (1.0, 3600.0)
BREAKER_PAUSE = (0.1, 3600.0)
BREAKER_MAX_PAUSE = (0.1, 86400.0)
BREAKER_PROBES = (1, 100)
DISABLE_AFTER = (60.0, 366 * 86400.0)
DISABLE_ATTEMPTS = (1, 100_000)

# 410 disables the endpoint, whatever is retried.
_STATUS = re.compile(r"[345][0-9]{2}\Z|[345]xx\Z")


@dataclass(frozen=True)
class SessionSettings:
    """Bounds of one reader. Times in seconds, sizes in bytes."""

    # 1,000 events or 1 MiB: what one slow reader may owe before it reads from the store instead.
    mailbox_events: int = 1000
    mailbox_bytes: int = 1024 * 1024
    heartbeat: float = 12.0
    send_timeout: float = 30.0
    # A connection is asked to come back after about this long (80 to 100 % of it), so that readers spread anew over
    # replicas that were added, and a shutdown is nothing a client has not seen. 0: never.
    rotate: float = 3600.0
    # What one request scans at most of the store, in events and bytes: a few hundred milliseconds in which others have
    # their turns. A poll that finds nothing in that much says `has_more`, and the next one goes on from its `next`.
    scan_events: int = 5000
    scan_bytes: int = 16 * 1024 * 1024
    # How long a reader waits for an event store that is away before it is told to come back elsewhere.
    store_patience: float = 60.0


@dataclass(frozen=True)
class FastPathSettings:
    """Times in seconds, sizes in bytes."""

    # A WebSocket that has left two pings in a row unanswered is taken for gone. Pings travel with heartbeats.
    ping: float = 20.0
    # How long a client may take to answer a close frame, and to take what was written before.
    close_patience: float = 5.0
    # How long a stopping process waits for closed connections before it cuts them.
    grace: float = 3.0


@dataclass(frozen=True)
class FilterSettings:
    """What the filters of one principal may take of an event loop. Times in seconds."""

    # 3 ms: the longest that one event, or a burst of events, keeps the loop from others for one principal's filters. A request
    # takes some three turns of the loop.
    burst: float = 0.003
    # A quarter of the loop's time in the long run.
    share: float = 0.25
    # An item takes about 1 µs to convert, and about 1 µs at each step of `exists` and its like.
    items: int = 2000
    steps: int = 2000
    # A replay lets others have their turn after so long.
    slice: float = 0.002


@dataclass(frozen=True)
class IdentitySettings:
    """Whose tokens are believed. Without any key everybody may do everything, and the edge stays on loopback."""

    secret: str | None = None
    # Public keys: PEM, a JWK, or a JWKS; several files may hold the old key and the new one.
    keys: tuple[Path, ...] = ()
    jwks_url: str | None = None
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    # How far the clocks of who signs and who checks may lie apart. Times in seconds.
    leeway: float = 10.0
    # A token that is good for longer than this is refused; 0: any.
    max_lifetime: float = 0.0
    # How old what the JWKS address said may get before it is asked again, and before it is believed no more.
    jwks_max_age: float = 600.0
    jwks_max_stale: float = 86400.0
    # A key that is not known makes it be asked at once, but no oftener than this: strangers can name any key.
    jwks_min_interval: float = 30.0
    token_in_query: bool = False
    ticket_ttl: float = 30.0
    # How long before its token ends a connection is told so.
    expiry_notice: float = 60.0

    def __post_init__(self) -> None:
        if self.secret is not None and len(self.secret.encode()) < MIN_SECRET:
            raise ValueError(f"secret needs at least {MIN_SECRET} bytes; `openssl rand -hex 32` makes one")
        if self.jwks_url is not None:
            if not _is_safe(self.jwks_url):
                raise ValueError("jwks_url needs an https address; plain http is for loopback only")
            if not self.audience:
                raise ValueError("jwks_url needs CALLBOARD_JWT_AUDIENCE: its issuer signs for others, too")
        if self.leeway < 0 or self.leeway > 300:
            raise ValueError("leeway needs 0 to 300 seconds")
        if not 1 <= self.ticket_ttl <= 300:
            raise ValueError("ticket_ttl needs 1 to 300 seconds")

    @property
    def configured(self) -> bool:
        """Whether there is any key, and so anybody to tell apart."""
        return bool(self.secret or self.keys or self.jwks_url)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    if parts.username or parts.password or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class LimitSettings:
    """How much one principal and one address may ask of one edge process. A rate is so many a second, its burst so many
    at once; 0: no limit. Where no keys are configured, only addresses are limited; who comes from this machine is not,
    unless `loopback` says so: behind a proxy that is not trusted all would be one address.
    """

    loopback: bool = False
    # Openings of streams, WebSockets and video: a thousand people behind one address may come back at once.
    handshakes_per_address: float = 100.0
    handshakes_per_address_burst: float = 1000.0
    connections_per_address: int = 5000
    connections_per_principal: int = 500
    # Events, not requests.
    publish_per_principal: float = 5000.0
    publish_per_principal_burst: float = 20_000.0
    publish_per_address: float = 10_000.0
    publish_per_address_burst: float = 40_000.0
    sessions_per_principal: int = 2000
    creations_per_principal: float = 20.0
    creations_per_principal_burst: float = 200.0
    creations_per_address: float = 50.0
    creations_per_address_burst: float = 500.0
    # Tokens and tickets that prove nobody: more are a search for one that does.
    failures_per_address: float = 2.0
    failures_per_address_burst: float = 50.0
    # So many addresses and principals are remembered of each kind; the one unseen for longest is forgotten, and starts
    # with a full bucket again.
    remembered: int = 20_000
    # From its first byte to the end of its head a request may take so long, and be so large; its body so much longer.
    head_seconds: float = 10.0
    head_bytes: int = 32 * 1024
    body_seconds: float = 30.0
    # Levels of nesting in a body.
    depth: int = 64


@dataclass(frozen=True)
class BreakerSettings:
    """When the circuit breaker of an endpoint opens, and for how long. Times in seconds."""

    # So many failures in a row, or this share of at least `min_attempts` within the window.
    failures: int = 5
    failure_share: float = 0.5
    min_attempts: int = 10
    window: float = 60.0
    # Its first pause, doubled each time the probe after it fails: a receiver that restarts is missed for seconds only.
    pause: float = 1.0
    max_pause: float = 900.0
    # So many probes in a row must succeed before it closes.
    probes: int = 3

    def __post_init__(self) -> None:
        _check(self, "failures", BREAKER_FAILURES)
        _check(self, "failure_share", BREAKER_SHARE)
        _check(self, "min_attempts", BREAKER_MIN_ATTEMPTS)
        _check(self, "window", BREAKER_WINDOW)
        _check(self, "pause", BREAKER_PAUSE)
        _check(self, "max_pause", BREAKER_MAX_PAUSE)
        _check(self, "probes", BREAKER_PROBES)
        if self.max_pause < self.pause:
            raise ValueError("max_pause may not be less than pause")


@dataclass(frozen=True)
class AutoDisableSettings:
    """When an endpoint without any success is disabled: `after` seconds (0: never) and so many attempts."""

    after: float = 5 * 86400.0
    attempts: int = 50

    def __post_init__(self) -> None:
        if self.after:
            _check(self, "after", DISABLE_AFTER)
        _check(self, "attempts", DISABLE_ATTEMPTS)


@dataclass(frozen=True)
class PolicySettings:
    """How webhooks are retried, and when their endpoints are left alone, where a session does not say. Times in seconds."""

    # The longest pause before each retry; without it that of the profile `guide`.
    retry_schedule: tuple[float, ...] = ()
    # Retries after the first attempt; without it as many as the schedule has pauses, or 3.
    retry_attempts: int | None = None
    # Statuses that are retried, such as 429 or 5xx; without them all but 410, 413 and 415.
    retry_statuses: tuple[str, ...] = ()
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    auto_disable: AutoDisableSettings = field(default_factory=AutoDisableSettings)

    def __post_init__(self) -> None:
        if fault := schedule_fault(self.retry_schedule):
            raise ValueError(f"retry_schedule {fault}")
        if fault := statuses_fault(self.retry_statuses):
            raise ValueError(f"retry_statuses {fault}")
        if self.retry_attempts is not None:
            _check(self, "retry_attempts", (0, MAX_RETRY_ATTEMPTS))

    @property
    def default_attempts(self) -> int:
        """The retries of a session that names neither a number, nor a schedule, nor a profile."""
        if self.retry_attempts is not None:
            return self.retry_attempts
        return len(self.retry_schedule) or DEFAULT_RETRY_ATTEMPTS


def schedule_fault(schedule: Iterable[float]) -> str:
    """What is wrong with a retry schedule, "" for nothing."""
    pauses = list(schedule)
    if len(pauses) > MAX_RETRY_ATTEMPTS or not all(0 <= pause <= MAX_RETRY_PAUSE for pause in pauses):
        return f"needs at most {MAX_RETRY_ATTEMPTS} pauses, each from 0 to {MAX_RETRY_PAUSE:.0f} seconds"
    return ""


def statuses_fault(statuses: Iterable[str]) -> str:
    """What is wrong with a list of statuses, "" for nothing."""
    given = list(statuses)
    if len(given) > MAX_RETRY_STATUSES or not all(_STATUS.match(text) and text != "410" for text in given):
        return f"needs at most {MAX_RETRY_STATUSES} statuses from 300 to 599 but 410, or 3xx, 4xx, 5xx"
    return ""


def _check(settings: object, name: str, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if not least <= getattr(settings, name) <= most:
        raise ValueError(f"{name} must be from {least:g} to {most:g}")


@dataclass(frozen=True)
class EdgeSettings:
    """Where the edge listens and what it takes. Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    # Origins a browser page may come from besides this server itself and pages served from loopback; `*` for any.
    allowed_origins: tuple[str, ...] = ()
    # Names this server answers to; a page that rebinds its own name to 127.0.0.1 is refused by this.
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    # Networks whose X-Forwarded-For and X-Forwarded-Proto are believed, such as 10.0.0.0/8.
    trusted_proxies: tuple[str, ...] = ()
    limits: LimitSettings = field(default_factory=LimitSettings)
    max_body: int = 1024 * 1024
    max_batch: int = 1000
    drain: float = 2.0
    # How long a session may lie idle before it is deleted, where it says nothing itself; 0: for ever.
    session_ttl: float = 86400.0
    # Sockets are handed over to a protocol of ours after the handshake; without it all is plain ASGI, and slower.
    lane: bool = True
    lanes: FastPathSettings = field(default_factory=FastPathSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    webhooks: PolicySettings = field(default_factory=PolicySettings)

    def __post_init__(self) -> None:
        for network in self.trusted_proxies:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"trusted_proxies needs networks such as 10.0.0.0/8, not {network}") from None
