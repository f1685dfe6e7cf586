"""This file is where it is decided which addresses a webhook may reach: on the concrete address, at connect time.

A name is judged by what it resolves to at the moment of the connection, so that neither a literal in an odd notation nor
a name that changes its mind (DNS rebinding) gets past. The lists are spelt out, because `ipaddress.is_global` calls
several ways into private networks global (64:ff9b::7f00:1, 2002:7f00:1::, 192.88.99.1).
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from edge.problem import Problem

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and metadata services of some clouds
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # unspecified, loopback, and v4 written in the old compatible form
        "::ffff:0:0:0/96",  # v4-translated
        "64:ff9b::/96",  # NAT64: a v4 address behind a translator
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",  # Teredo
        "2001:2::/48",
        "2001:10::/28",
        "2001:20::/28",
        "2001:db8::/32",
        "2002::/16",  # 6to4: a v4 address behind a relay
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
# Only this of v6 is given out as global unicast: what is not named above and lies outside is denied too.
_GLOBAL_V6 = IPv6Network("2000::/3")


# A creation does not wait longer for a name than this.
RESOLVE_SECONDS = 2.0


class Blocked(OSError):
    """the address is not one that webhooks may reach"""

    # The same text for every address: a connect that tried several reports the first only where all say the same.
    def __init__(self, address: str = "") -> None:
        super().__init__("the address is not one that webhooks may reach")
        self.address = address


@dataclass(frozen=True)
class GuardSettings:
    """Which addresses webhooks may reach beyond the public internet over https; all off in production."""

    allow_loopback: bool = False
    allow_http: bool = False
    allow_cidrs: tuple[str, ...] = ()


@lru_cache(maxsize=32)
def _networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(cidr) for cidr in cidrs)


def admits(address: Address, settings: GuardSettings) -> bool:
    """Says whether a webhook may be sent to an address."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in _networks(settings.allow_cidrs)):
        return True
    if address.is_loopback:
        return settings.allow_loopback
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return False
    return not any(address.version == network.version and address in network for network in DENIED)


class Guard:
    """Makes the sockets of outgoing webhooks, and refuses to where the address is not allowed."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings

    def __call__(self, info: tuple[Any, ...]) -> socket.socket:
        """aiohttp's `socket_factory`: called with each concrete address just before the connect. Raises Blocked."""
        family, kind, protocol, _, destination = info
        try:
            address = ip_address(destination[0])
        except ValueError:
            raise Blocked(str(destination[0])) from None
        if not admits(address, self.settings):
            raise Blocked(str(address))
        return socket.socket(family, kind, protocol)


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


def fault_of(url: str, settings: GuardSettings) -> str | None:
    """Says what is wrong with a webhook's address as far as its text tells; None where nothing is."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "webhook_url is no URL"
    address = literal(host)
    loopback = _local_name(host) or (address is not None and _unmapped(address).is_loopback)
    if parts.scheme == "http" and not settings.allow_http and not (loopback and settings.allow_loopback):
        return "webhook_url must be https"
    if _local_name(host) and not settings.allow_loopback:
        return "webhook_url may not point to this machine"
    if address is not None and not admits(address, settings):
        return "webhook_url may not point to a private, local or reserved address"
    return None


async def check_url(url: str, settings: GuardSettings) -> None:
    """Refuses at creation what would be refused at every delivery. Raises Problem `bad_webhook`.

    A name that cannot be resolved now is let through: what it resolves to is judged at each connection.
    """
    if fault := fault_of(url, settings):
        raise Problem("bad_webhook", fault)
    host = urlsplit(url).hostname or ""
    if literal(host) is not None:
        return
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        return
    addresses = {address for info in found if (address := literal(str(info[4][0]))) is not None}
    if addresses and not any(admits(address, settings) for address in addresses):
        raise Problem("bad_webhook", "webhook_url leads to a private, local or reserved address")


def _unmapped(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address
