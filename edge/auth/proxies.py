"""This file is where it is found out from which address somebody comes: through proxies, where those are trusted."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

# A chain of more proxies than this is no chain but an attack on who reads it.
MAX_HOPS = 20


class Proxies:
    """The proxies that are trusted, by network. What others say of where somebody comes from is not looked at."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises ValueError for what is no network."""
        self._networks = [ip_network(network, strict=False) for network in networks]

    def address(self, scope: Scope) -> str:
        """The address of who asks: the last one on the way that is no trusted proxy."""
        peer = _peer(scope)
        if not self._networks or not self._trusts(peer):
            return peer
        named = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        found = peer
        # From the right: each proxy adds the one it heard from, and what stands further left may be invented.
        for hop in reversed(named[-MAX_HOPS:]):
            address = _plain(hop)
            if address is None:
                break
            found = address
            if not self._trusts(address):
                break
        return found

    def secure(self, scope: Scope) -> bool:
        """Whether the client speaks TLS, with us or with a trusted proxy."""
        if scope.get("scheme") in ("https", "wss"):
            return True
        said = Headers(scope=scope).get("x-forwarded-proto", "")
        return bool(self._networks) and self._trusts(_peer(scope)) and said.strip().lower() in ("https", "wss")

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _peer(scope: Scope) -> str:
    client: Any = scope.get("client")
    return str(client[0]) if client else ""


def _plain(text: str) -> str | None:
    """An address as it stands in the header, perhaps with a port or in brackets; None for what is none."""
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
