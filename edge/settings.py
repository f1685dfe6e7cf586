"""The settings of the edge, with their defaults and bounds. Imports nothing heavy: commands start quickly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# RFC 7518 §3.2: a key for HS256 has at least the size of its hash.
MIN_SECRET = 32

DEFAULT_RETRY_ATTEMPTS = 3
MAX_RETRY_ATTEMPTS = 20
# A week: a longer pause outlives the retention of the event store.
MAX_RETRY_PAUSE = 7 * 86400.0
MAX_RETRY_STATUSES = 50
# Bounds of the circuit breaker and of auto-disable: minimum and maximum.
BREAKER_FAILURES = (1, 1000)
BREAKER_SHARE = (0.01, 1.0)
BREAKER_MIN_ATTEMPTS = (1, 10_000)
BREAKER_WINDOW = (1.0, 3600.0)
BREAKER_PAUSE = (0.1, 3600.0)
BREAKER_MAX_PAUSE = (0.1, 86400.0)
BREAKER_PROBES = (1, 100)
DISABLE_AFTER = (60.0, 366 * 86400.0)
DISABLE_ATTEMPTS = (1, 100_000)

# It becomes part of a header: a scheme, a name (`*.` for all below it) and a port.
_FRAME_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_ICE_SERVER = re.compile(r"(?:stuns?|turns?):[A-Za-z0-9.\-\[\]:]+(?:\?transport=(?:udp|tcp))?")
# 410 disables the endpoint, whatever is retried.
_STATUS = re.compile(r"[345][0-9]{2}\Z|[345]xx\Z")


@dataclass(frozen=True)
class SessionSettings:
    """Limits of one reader. Times in seconds, sizes in bytes."""

    # 1,000 events or 1 MiB: what a slow reader's mailbox holds before the reader falls back to the store.
    mailbox_events: int = 1000
    mailbox_bytes: int = 1024 * 1024
    # One period for all connections. Without it 12 s, and where a process has more than 100 connections 24 or 54 s for those
    # that come (`heartbeat_seconds` in `ready`): see `edge/hub/heartbeats.py`.
    heartbeat: float | None = None
    send_timeout: float = 30.0
    # A connection is asked to come back after about this long (80 to 100 % of it), so that readers spread anew over
    # replicas that were added, and a shutdown is nothing a client has not seen. 0: never.
    rotate: float = 3600.0
    # What one request scans of the store at most, in events and bytes: a few hundred milliseconds, in which others are
    # served too. A poll that finds nothing in that much says `has_more`, and the next one continues at its `next`.
    scan_events: int = 5000
    scan_bytes: int = 16 * 1024 * 1024
    # How long a reader waits for an unreachable event store before it is told to reconnect elsewhere.
    store_patience: float = 60.0

    def __post_init__(self) -> None:
        if self.heartbeat is not None:
            _check(self, "heartbeat", (0.01, 1e9))
        for name in ("mailbox_events", "mailbox_bytes", "scan_events", "scan_bytes"):
            _check(self, name, (1, 1 << 40))
        _check(self, "send_timeout", (0.01, 1e12))
        _check(self, "rotate", (0.0, 1e12))
        _check(self, "store_patience", (0.0, 1e12))


@dataclass(frozen=True)
class FastPathSettings:
    """Times in seconds, sizes in bytes."""

    # A WebSocket that leaves two pings in a row unanswered is closed. Pings are sent with heartbeats, and to the many whose
    # period has grown thirty times as rarely: each answer costs more than a heartbeat.
    ping: float = 20.0
    # After so long without an acknowledgement of what was sent, the kernel ends the connection: its client has vanished.
    # 0: when the kernel gives up by itself, after a quarter of an hour or so.
    unacknowledged: float = 60.0
    # How long a client may take to answer a close frame, and to take what was written before.
    close_patience: float = 5.0
    # How long a stopping process waits for connections to close before it aborts them.
    grace: float = 3.0

    def __post_init__(self) -> None:
        _check(self, "ping", (0.01, 1e9))
        for name in ("unacknowledged", "close_patience", "grace"):
            _check(self, name, (0.0, 86400.0))


@dataclass(frozen=True)
class VideoSettings:
    """Viewers of pictures. Times in seconds."""

    # A viewer that takes nothing for so long is cut: its lease would keep the camera running for nobody.
    stall: float = 30.0
    # How often an edge that has viewers publishes what they were delivered (`camera.<id>.delivery`).
    report: float = 5.0

    def __post_init__(self) -> None:
        _check(self, "stall", (1.0, 3600.0))
        _check(self, "report", (1.0, 3600.0))


@dataclass(frozen=True)
class FilterSettings:
    """The budget of one principal's filters on an event loop. Times in seconds."""

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

    def __post_init__(self) -> None:
        for name in ("burst", "slice"):
            _check(self, name, (0.0, 86400.0))
        _check(self, "share", (0.0, 1.0))
        for name in ("items", "steps"):
            _check(self, name, (1, 1_000_000_000))


@dataclass(frozen=True)
class WebRtcSettings:
    """Where peers of WebRTC are sent video from, with the extra `webrtc`."""

    # The address that UDP sockets are bound to; None: where the edge listens.
    host: str | None = None
    # The UDP ports that may be used, one for each peer and address; 0: those that the system chooses. A firewall, a `hostPort`
    # or a load balancer needs to know them.
    first_port: int = 0
    last_port: int = 0
    # The address that peers are told instead, where it is translated (NAT, 1:1).
    public_host: str | None = None
    # STUN and TURN servers that clients are told in `Link` headers (`stun:host:port`, `turn:host:port?transport=udp`). This
    # server asks none of them: clients reach it at its own address, by their TURN server where theirs allows nothing else.
    ice_servers: tuple[str, ...] = ()
    # For those of them that are TURN servers. Told to every client that may watch a camera.
    turn_username: str | None = None
    turn_password: str | None = None
    # Peers of one process: each costs a third of a core where it gets 30 pictures a second at full size.
    peers: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.peers <= 1000:
            raise ValueError("peers must be from 0 to 1000")
        if not 0 <= self.first_port <= self.last_port <= 65535 or (self.first_port == 0) != (self.last_port == 0):
            raise ValueError("first_port and last_port need two ports from 1 to 65535 in order, or 0 and 0")
        for each in self.ice_servers:
            if not _ICE_SERVER.fullmatch(each):
                raise ValueError("ice_servers needs addresses such as stun:host:3478 or turn:host:3478?transport=udp")
        if (self.turn_username is None) != (self.turn_password is None):
            raise ValueError("turn_username and turn_password need one another")
        if self.public_host is not None:
            try:
                ip_address(self.public_host)
            except ValueError:
                raise ValueError("public_host needs an IP address") from None

    @property
    def ports(self) -> range | None:
        """The UDP ports that may be used; None for those that the system chooses."""
        return range(self.first_port, self.last_port + 1) if self.first_port else None

    @property
    def links(self) -> list[str]:
        """The ICE servers as `Link` headers (RFC 9725 §4.6)."""
        secret = ""
        if self.turn_username is not None and self.turn_password is not None:
            name, password = (
                each.replace("\\", "\\\\").replace('"', '\\"') for each in (self.turn_username, self.turn_password)
            )
            secret = f'; username="{name}"; credential="{password}"; credential-type="password"'
        return [f'<{each}>; rel="ice-server"{secret if each.startswith("turn") else ""}' for each in self.ice_servers]


@dataclass(frozen=True)
class IdentitySettings:
    """Which tokens are accepted. Without any key authentication is off, and the edge listens on loopback only."""

    secret: str | None = None
    # Public keys: PEM, a JWK, or a JWKS; several files may hold the old key and the new one.
    keys: tuple[Path, ...] = ()
    jwks_url: str | None = None
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    # How far the clocks of issuer and edge may differ. Times in seconds.
    leeway: float = 10.0
    # A token that is valid for longer than this is refused; 0: no limit.
    max_lifetime: float = 0.0
    # The age of fetched keys at which the JWKS URL is asked again, and at which they are no longer used.
    jwks_max_age: float = 600.0
    jwks_max_stale: float = 86400.0
    # An unknown `kid` makes it ask at once, but not more often than this: anybody can send any `kid`.
    jwks_min_interval: float = 30.0
    token_in_query: bool = False
    ticket_ttl: float = 30.0
    # How long before its token expires a client is warned.
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
        """Whether there is any key, and so authentication."""
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
    """Rate limits and other limits per principal and per address, of one edge process. Rates are per second, with a burst;
    0: no limit. Without keys only addresses are limited; loopback addresses are not, unless `loopback` is set: behind a
    proxy that is not trusted all clients would have one address.
    """

    loopback: bool = False
    # Handshakes of streams, WebSockets and video: a thousand clients behind one address may reconnect at once.
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
    # Invalid tokens and tickets: more than this is guessing.
    failures_per_address: float = 2.0
    failures_per_address_burst: float = 50.0
    # How many addresses and principals each table holds; the least recently seen is evicted, and starts with a full
    # bucket again.
    remembered: int = 20_000
    # The timeout and the size of a request's head, and the timeout of its body.
    head_seconds: float = 10.0
    head_bytes: int = 32 * 1024
    body_seconds: float = 30.0
    # Levels of nesting in a body.
    depth: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.name != "loopback":
                _check(self, each.name, (1 if each.name in ("remembered", "head_bytes", "depth") else 0, 1 << 40))


@dataclass(frozen=True)
class BreakerSettings:
    """When the circuit breaker of an endpoint opens, and for how long. Times in seconds."""

    # It opens after this many failures in a row, or this share of at least `min_attempts` within the window.
    failures: int = 5
    failure_share: float = 0.5
    min_attempts: int = 10
    window: float = 60.0
    # The first pause, doubled each time the following probe fails: a receiver that restarts is back within seconds.
    pause: float = 1.0
    max_pause: float = 900.0
    # This many probes in a row must succeed before it closes.
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
    """Retries, circuit breaker and auto-disable of webhooks whose sessions do not set them. Times in seconds."""

    # The longest pause before each retry; without it that of the profile `guide`.
    retry_schedule: tuple[float, ...] = ()
    # Retries after the first attempt; without it as many as the schedule has pauses, or 3.
    retry_attempts: int | None = None
    # Statuses that are retried, such as 429 or 5xx; by default all but 410, 413 and 415.
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
    """Why a retry schedule is invalid, "" where it is valid."""
    pauses = list(schedule)
    if len(pauses) > MAX_RETRY_ATTEMPTS or not all(0 <= pause <= MAX_RETRY_PAUSE for pause in pauses):
        return f"needs at most {MAX_RETRY_ATTEMPTS} pauses, each from 0 to {MAX_RETRY_PAUSE:.0f} seconds"
    return ""


def statuses_fault(statuses: Iterable[str]) -> str:
    """Why a list of statuses is invalid, "" where it is valid."""
    given = list(statuses)
    if len(given) > MAX_RETRY_STATUSES or not all(_STATUS.match(text) and text != "410" for text in given):
        return f"needs at most {MAX_RETRY_STATUSES} statuses from 300 to 599 but 410, or 3xx, 4xx, 5xx"
    return ""


def _check(settings: object, name: str, bounds: tuple[float, float]) -> None:
    minimum, maximum = bounds
    if not minimum <= getattr(settings, name) <= maximum:
        low, high = (f"{bound:g}" if isinstance(bound, float) else str(bound) for bound in bounds)
        raise ValueError(f"{name} must be from {low} to {high}")


@dataclass(frozen=True)
class EdgeSettings:
    """Where the edge listens and what it accepts. Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    # Origins a browser page may come from besides this server itself and pages served from loopback; `*` for any.
    allowed_origins: tuple[str, ...] = ()
    # Origins whose pages may show an endpoint's page (`/portal/{session_id}`) in a frame; without any nobody's may.
    portal_origins: tuple[str, ...] = ()
    # Host names this server answers to, against DNS rebinding.
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    # Networks whose X-Forwarded-For and X-Forwarded-Proto headers are trusted, such as 10.0.0.0/8.
    trusted_proxies: tuple[str, ...] = ()
    limits: LimitSettings = field(default_factory=LimitSettings)
    max_body: int = 1024 * 1024
    max_batch: int = 1000
    drain: float = 2.0
    # The TTL of an idle session that does not set its own; 0: none.
    session_ttl: float = 86400.0
    # Sockets are handed over to a protocol of ours after the handshake; without it all is plain ASGI, and slower.
    lane: bool = True
    lanes: FastPathSettings = field(default_factory=FastPathSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    webhooks: PolicySettings = field(default_factory=PolicySettings)
    webrtc: WebRtcSettings = field(default_factory=WebRtcSettings)

    def __post_init__(self) -> None:
        _check(self, "port", (0, 65535))
        _check(self, "workers", (1, 1024))
        for name in ("max_body", "max_batch"):
            _check(self, name, (1, 1 << 40))
        for name in ("drain", "session_ttl"):
            _check(self, name, (0.0, 1e12))
        for origin in self.portal_origins:
            if not _FRAME_ORIGIN.fullmatch(origin):
                raise ValueError(f"portal_origins needs origins such as https://app.example, not {origin}")
        for network in self.trusted_proxies:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"trusted_proxies needs networks such as 10.0.0.0/8, not {network}") from None
