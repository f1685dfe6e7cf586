"""This file is where the edge's own settings are; it imports nothing heavy, so that a command can ask for the port cheaply."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network

from edge.budget import FilterSettings
from edge.identity.settings import LimitSettings
from edge.webhooks.settings import PolicySettings


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
class LaneSettings:
    """Times in seconds, sizes in bytes."""

    # A WebSocket that has left two pings in a row unanswered is taken for gone. Pings travel with heartbeats.
    ping: float = 20.0
    # How long a client may take to answer a close frame, and to take what was written before.
    close_patience: float = 5.0
    # How long a stopping process waits for closed connections before it cuts them.
    grace: float = 3.0


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
    lanes: LaneSettings = field(default_factory=LaneSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    webhooks: PolicySettings = field(default_factory=PolicySettings)

    def __post_init__(self) -> None:
        for network in self.trusted_proxies:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"trusted_proxies needs networks such as 10.0.0.0/8, not {network}") from None


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
