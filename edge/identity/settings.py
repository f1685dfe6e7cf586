"""This file is where the settings of identity and limits are; it imports nothing heavy, like the edge's own."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

# RFC 7518 §3.2: a key for HS256 has at least the size of its hash.
MIN_SECRET = 32


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
