from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from edge.errors import Problem
from edge.webhooks.client.ssrf import Blocked, Guard, GuardSettings, admits, check_url, literal
from tests.edge.webhooks.stage import resolve_to

PRODUCTION = GuardSettings()

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "4000::1", "e000::1",
]  # fmt: skip

PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
          "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1"]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_admitted(address: str):
    assert not admits(ip_address(address), PRODUCTION)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_admitted(address: str):
    assert admits(ip_address(address), PRODUCTION)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_admitted_only_where_it_is_allowed(address: str):
    assert admits(ip_address(address), GuardSettings(allow_loopback=True))
    assert not admits(ip_address(address), PRODUCTION)


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "0.0.0.0", "fe80::1", "64:ff9b::7f00:1"])
def test_allowing_loopback_allows_nothing_else(address: str):
    assert not admits(ip_address(address), GuardSettings(allow_loopback=True))


def test_a_listed_network_is_admitted_and_its_neighbour_is_not():
    settings = GuardSettings(allow_cidrs=("10.1.0.0/16", "fd00:1::/32"))

    assert admits(ip_address("10.1.2.3"), settings)
    assert admits(ip_address("::ffff:10.1.2.3"), settings)
    assert admits(ip_address("fd00:1::5"), settings)
    assert not admits(ip_address("10.2.0.1"), settings)
    assert not admits(ip_address("fd00:2::5"), settings)


@pytest.mark.parametrize("address", PRIVATE)
def test_no_socket_is_made_for_a_private_address(address: str):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with pytest.raises(Blocked):
        Guard(PRODUCTION)((family, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_what_is_no_address_is_blocked():
    with pytest.raises(Blocked):
        Guard(PRODUCTION)((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/run/docker.sock",)))


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "0177.0.0.1", "127.1", "0x7f000001", "127.0.0.1"])
def test_an_address_is_known_in_every_notation(host: str):
    assert str(literal(host)) == "127.0.0.1"


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://[::1]/",
        "https://[::ffff:127.0.0.1]/", "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/", "https://0/",
        "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://100.64.0.1/",
        "https://[64:ff9b::7f00:1]/", "http://8.8.8.8/", "http://a.example/",
    ],
)  # fmt: skip
async def test_a_url_that_could_never_be_reached_is_refused_at_creation(url: str):
    with pytest.raises(Problem) as refused:
        await check_url(url, PRODUCTION)

    assert refused.value.code == "bad_webhook"


async def test_a_name_that_leads_to_a_private_address_is_refused_at_creation(monkeypatch: pytest.MonkeyPatch):
    resolve_to(monkeypatch, "10.0.0.1", "fd00::1")
    with pytest.raises(Problem):
        await check_url("https://inside.example/", PRODUCTION)

    # Where one of its addresses is public, the guard picks that one at each connection.
    resolve_to(monkeypatch, "10.0.0.1", "1.1.1.1")
    await check_url("https://outside.example/", PRODUCTION)


async def test_a_name_that_cannot_be_resolved_yet_is_let_through():
    await check_url("https://receiver.invalid/", PRODUCTION)


async def test_http_is_for_this_machine_only_where_loopback_is_allowed():
    await check_url("http://127.0.0.1:5000/callbacks", GuardSettings(allow_loopback=True))
    await check_url("http://localhost:5000/callbacks", GuardSettings(allow_loopback=True))
    with pytest.raises(Problem):
        await check_url("http://8.8.8.8/", GuardSettings(allow_loopback=True))
    await check_url("http://8.8.8.8/", GuardSettings(allow_http=True))
