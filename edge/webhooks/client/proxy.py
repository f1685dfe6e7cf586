"""Selects the forward proxy through which a webhook is sent."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from yarl import URL

from edge.sessions.endpoint.proxy import read_proxy


class Proxy(NamedTuple):
    """A forward proxy. `ours` says that it comes from the settings of this server; `resolves` that it looks names up itself."""

    url: URL
    authorization: str
    ours: bool = False
    resolves: bool = False


def goes_direct(host: str, no_proxy: Sequence[str]) -> bool:
    """Whether a host is reached without the proxy of the settings."""
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        address = None
    for each in no_proxy:
        entry = each.strip().lower()
        if entry == "*" or (address is None and (name == entry.lstrip(".") or name.endswith("." + entry.lstrip(".")))):
            return True
        if address is not None:
            try:
                if address in ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
    return False


def proxy_for(url: str, own: str, default: str, no_proxy: Sequence[str], resolves: bool) -> Proxy | None:
    """The proxy on the way to a receiver: the endpoint's own one, or that of the settings; None for none."""
    if own and own != default:
        return Proxy(*read_proxy(own), ours=False, resolves=resolves)
    if not own and (not default or goes_direct(urlsplit(url).hostname or "", no_proxy)):
        return None
    return Proxy(*read_proxy(default), ours=True, resolves=resolves)
