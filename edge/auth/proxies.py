"""Finds a client's address behind trusted proxies (X-Forwarded-For), and whether it connected over TLS (X-Forwarded-Proto)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# A longer chain of proxies is not real but an attempt to make us parse it.
MAX_HOPS = 20


class Proxies:
    """The trusted proxies, by network. Forwarding headers from other peers are ignored."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises ValueError for an invalid network."""
        self._networks = [ip_network(network, strict=False) for network in networks]

    def trusts(self, peer: str) -> bool:
        """Whether the forwarding headers of this peer are believed."""
        if not self._networks:
            return False
        parsed = _parse(peer)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """The client's address: the last one in X-Forwarded-For that is not a trusted proxy; `peer` must be trusted."""
        found = peer
        # From the right: each proxy appends the address it saw, and the client may have invented those further left.
        for hop in reversed(",".join(forwarded_for).split(",")[-MAX_HOPS:]):
            address = _normalized(hop)
            if address is None:
                break
            found = address
            if not self.trusts(address):
                break
        return found


def _normalized(text: str) -> str | None:
    """An address from the header, perhaps with a port or in brackets; None for anything else."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return str(parsed) if (parsed := _parse(text)) is not None else None


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
