"""Protects against SSRF: decides which addresses a webhook may reach, on the concrete address, at connect time.

A name is judged by what it resolves to at the moment of the connection, so that neither a literal in an odd notation nor
a name that changes its mind (DNS rebinding) gets past. The lists are spelt out, because `ipaddress.is_global` calls
several ways into private networks global (64:ff9b::7f00:1, 2002:7f00:1::, 192.88.99.1).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from edge.errors import Problem
from edge.sessions.endpoint.proxy import read_proxy

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What no webhook may reach, and what it is.
KINDS: Mapping[str, tuple[str, ...]] = {
    # Linux connects 0.0.0.0 to itself.
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    # With the metadata services.
    "link_local": ("169.254.0.0/16", "fe80::/10"),
    # Carrier-grade NAT, and metadata services of some clouds.
    "shared": ("100.64.0.0/10",),
    # IPv4 embedded in IPv6: the deprecated forms, NAT64, Teredo and 6to4.
    "translated": (
        "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "192.88.99.0/24",
    ),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "reserved": (
        "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", "100::/64", "2001:2::/48", "2001:10::/28", "2001:20::/28", "5f00::/16",
    ),
}  # fmt: skip
DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind) for kind, texts in KINDS.items() for text in texts
)
# Only this of v6 is given out as global unicast: what is not named above and lies outside is denied too.
_GLOBAL_V6 = IPv6Network("2000::/3")


# How long the creation of a session waits for a name to be resolved.
RESOLVE_SECONDS = 2.0


class Blocked(OSError):
    """the address is not one that webhooks may reach"""

    # The same text for every address: a connect that tried several reports the first only where all say the same.
    def __init__(self, address: str = "", kind: str = "reserved") -> None:
        super().__init__("the address is not one that webhooks may reach")
        self.address = address
        self.kind = kind


@dataclass(frozen=True)
class GuardSettings:
    """Which addresses webhooks may reach beyond the public internet over https (all off in production), and how."""

    allow_loopback: bool = False
    allow_http: bool = False
    allow_cidrs: tuple[str, ...] = ()
    # Ports of this machine that no webhook may reach, whatever is allowed; the edge's own is always among them.
    closed_ports: tuple[int, ...] = ()
    # What this system is called where it asks a receiver for its consent (CloudEvents): a DNS name of its own.
    origin: str = "callboard"
    # Connections to receivers that a process may have open, the idle ones included; 0: half of its file descriptors.
    max_connections: int = 0
    # The forward proxy that webhooks leave through, such as http://user:password@proxy:3128; hosts that are reached without it
    # (names with all below them, networks, *). The names of receivers are looked up here, so that the proxy is sent to
    # addresses that were checked; with `proxy_resolves` it gets the names, and has to deny private networks itself.
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    proxy_resolves: bool = False

    def __post_init__(self) -> None:
        if self.max_connections < 0:
            raise ValueError("max_connections cannot be negative")
        if self.proxy:
            read_proxy(self.proxy)


@lru_cache(maxsize=32)
def _networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(cidr) for cidr in cidrs)


def kind_of(address: Address, settings: GuardSettings) -> str | None:
    """The kind as which an address is denied; None where a webhook may be sent to it."""
    address = _unmapped(address)
    if any(address.version == network.version and address in network for network in _networks(settings.allow_cidrs)):
        return None
    if address.is_loopback:
        return None if settings.allow_loopback else "loopback"
    for network, kind in DENIED:
        if address.version == network.version and address in network:
            return kind
    return "reserved" if isinstance(address, IPv6Address) and address not in _GLOBAL_V6 else None


def admits(address: Address, settings: GuardSettings) -> bool:
    """Whether a webhook may be sent to an address."""
    return kind_of(address, settings) is None


def _is_ours(address: Address, port: int, settings: GuardSettings) -> bool:
    """Whether an address is this server itself: a webhook to the edge could create events for ever."""
    if port not in settings.closed_ports:
        return False
    address = _unmapped(address)
    if address.is_loopback or address.is_unspecified:
        return True
    # The kernel picks the source address for that destination: for a local one, the same address. Nothing is sent.
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), port))
            return literal(str(probe.getsockname()[0])) == address
    except OSError:
        return False


class Guard:
    """Creates the sockets of outgoing webhooks, and refuses addresses that are not allowed."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings

    def __call__(self, info: tuple[Any, ...]) -> socket.socket:
        """aiohttp's `socket_factory`: called with each concrete address just before the connect. Raises Blocked."""
        family, type, protocol, _, destination = info
        try:
            address = ip_address(destination[0])
        except ValueError:
            raise Blocked(str(destination[0])) from None
        self.check(address, destination[1])
        return socket.socket(family, type, protocol)

    def check(self, address: Address, port: int) -> None:
        """Raises Blocked where no webhook may be sent to an address."""
        if kind := kind_of(address, self.settings):
            raise Blocked(str(address), kind)
        if _is_ours(address, port, self.settings):
            raise Blocked(str(address), "own")


def literal(host: str) -> Address | None:
    """Reads a host that is an address in any notation a resolver would take (`0x7f.1`, `2130706433`); None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _local_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def fault_of(url: str, settings: GuardSettings, field: str = "webhook_url") -> str | None:
    """What is wrong with the text of a webhook's address; None where nothing is."""
    fault = _fault(url, settings)
    return fault and f"{field} {fault[1]}"


def _fault(url: str, settings: GuardSettings, plain: bool = False) -> tuple[str, str] | None:
    """The kind of what is wrong with an address, and the rest of a sentence about it; `plain` allows http to anybody."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "url", "is no URL"
    address = literal(host)
    loopback = _local_name(host) or (address is not None and _unmapped(address).is_loopback)
    if parts.scheme == "http" and not (plain or settings.allow_http) and not (loopback and settings.allow_loopback):
        return "http", "must be https"
    if _local_name(host) and not settings.allow_loopback:
        return "loopback", "may not point to this machine"
    if address is not None and (kind := kind_of(address, settings)):
        return kind, f"may not point to a private, local or reserved address ({kind})"
    if _local_name(host) and port in settings.closed_ports:
        return "own", "may not point to this server itself"
    if address is not None and _is_ours(address, port, settings):
        return "own", "may not point to this server itself"
    return None


async def check_url(
    url: str, settings: GuardSettings, field: str = "webhook_url", *, plain: bool = False, resolve: bool = True
) -> None:
    """Refuses at creation an address that would be refused at every delivery. Raises Problem `bad_webhook`.

    A name that cannot be resolved now is accepted: its address is checked at each connection. `plain` allows http
    to anybody; without `resolve` a name is not looked up.
    """
    if fault := _fault(url, settings, plain):
        raise Problem("bad_webhook", f"{field} {fault[1]}", field=field, reason=fault[0])
    if not resolve:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    if literal(host) is not None:
        return
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = {address for info in found if (address := literal(str(info[4][0]))) is not None}
    kinds = {kind_of(each, settings) or ("own" if _is_ours(each, port, settings) else None) for each in addresses}
    if kinds and None not in kinds:
        kind = min(kind for kind in kinds if kind)
        raise Problem(
            "bad_webhook",
            f"{field} leads to a private, local or reserved address, or to this server itself",
            field=field,
            reason=kind,
        )


def _unmapped(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address
