"""Tests which peers' forwarding headers are believed, and the client address that is found in them."""

from __future__ import annotations

import pytest

from edge.auth.proxies import Proxies
from edge.settings import EdgeSettings


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ((), "10.1.2.3", False),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.7",), "10.0.0.7", True),
        (("2001:db8::/32",), "2001:db8::5%eth0", True),
        (("10.0.0.0/8", "::/0"), "", False),
        (("0.0.0.0/0",), "a name", False),
    ],
)
def test_only_peers_of_trusted_networks_are_believed(trusted: tuple[str, ...], peer: str, believed: bool) -> None:
    assert Proxies(trusted).trusts(peer) is believed


def test_several_headers_are_read_as_one_list() -> None:
    proxies = Proxies(("10.0.0.0/8",))

    assert proxies.client_address("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.2"]) == "198.51.100.1"
    assert proxies.client_address("10.0.0.1", []) == "10.0.0.1"


def test_an_invalid_network_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        EdgeSettings(trusted_proxies=("10.0.0.0/8", "the proxy"))
