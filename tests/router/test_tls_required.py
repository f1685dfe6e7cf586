"""Where TLS is asked for, nothing is sent to a server without it: at the start, at a reconnect, and to announced servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.broker import Broker
from router.errors import Unsuitable
from router.nats.connection import Connection
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from tests.ops.command import callboard
from tests.router.nats.test_credentials import USER, nkey
from tests.servers import Authority, running_server
from tests.waiting import eventually


class PlainServer:
    """A socket that greets like a nats-server without TLS, and keeps all that it is sent."""

    def __init__(self, **info: Any) -> None:
        self.port = 0
        self.connections = 0
        self.received = b""
        self._info = {"server_id": "x", "version": "2.14.0", "headers": True, "max_payload": 1 << 20, **info}

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            writer.write(b"INFO " + json.dumps({"jetstream": True, **self._info}).encode() + b"\r\n")
            while data := await reader.read(4096):
                self.received += data
        writer.close()


@contextlib.asynccontextmanager
async def plain_server(port: int = 0, **info: Any) -> AsyncIterator[PlainServer]:
    """Runs one while the block runs."""
    plain = PlainServer(**info)
    server = await asyncio.start_server(plain.greet, "127.0.0.1", port)
    plain.port = server.sockets[0].getsockname()[1]
    try:
        yield plain
    finally:
        server.close()


def _config(folder: Path, port: int, *more: str) -> str:
    return "\n".join([f"listen: 127.0.0.1:{port}", f'jetstream {{ store_dir: "{folder / "data"}" }}', *more])


def _tls(authority: Authority) -> str:
    pair = authority.issue("server", "127.0.0.1")
    return f'tls {{ cert_file: "{pair.cert}", key_file: "{pair.key}" }}'


def _creds(folder: Path) -> Path:
    seed, _, _ = nkey(USER)
    file = folder / "edge.creds"
    file.write_text(
        "-----BEGIN NATS USER JWT-----\neyJ0.eyJ1.c2ln\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return file


@pytest.mark.parametrize(
    ("scheme", "given"),
    [
        ("tls", {"user": "me", "password": "s3cret"}),
        ("tls", {"token": "s3cret"}),
        ("tls", {"creds": True}),
        ("tls", {}),
        ("TLS", {"user": "me", "password": "s3cret"}),
        ("nats", {"user": "me", "password": "s3cret", "ca": True}),
        ("nats", {"user": "me", "password": "s3cret", "cert": True}),
        ("in the address", {}),
    ],
)
async def test_nothing_is_sent_to_a_server_that_offers_no_tls(
    tmp_path: Path, scheme: str, given: dict[str, Any]
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("callboard")
    files = {"creds": _creds(tmp_path), "ca": authority.cert, "cert": pair.cert}
    options = {name: files.get(name, value) for name, value in given.items()}
    if "cert" in options:
        options["key"] = pair.key
    async with plain_server(auth_required=True, nonce="abc") as plain:
        host = "tls://me:s3cret@127.0.0.1" if scheme == "in the address" else f"{scheme}://127.0.0.1"
        settings = BrokerSettings(f"{host}:{plain.port}", **options)

        with pytest.raises(Unsuitable, match="offers no TLS") as caught:
            await Broker(settings, "test").open()

        await eventually(lambda: plain.connections >= 2)  # the knock, and the connection that was refused
        assert plain.received == b""
        assert "s3cret" not in str(caught.value)
        assert "CALLBOARD_NATS_CA" in str(caught.value)


async def test_a_server_that_also_takes_clients_without_tls_is_spoken_to_over_tls(tmp_path: Path) -> None:
    authority, port, monitor = Authority(tmp_path), free_port(), free_port()
    users = 'authorization { user: "me", password: "s3cret" }'
    both = _tls(authority).replace("}", "}\nallow_non_tls: true")
    with running_server(tmp_path, _config(tmp_path, port, both, users, f"http: 127.0.0.1:{monitor}")):
        settings = BrokerSettings(f"tls://127.0.0.1:{port}", "me", "s3cret", ca=authority.cert)
        async with Broker(settings, "over tls"):
            seen = await asyncio.to_thread(_connections, monitor)

    assert [one.get("tls_version") for one in seen if one.get("name") == "over tls"] == ["1.3"]


async def test_one_server_without_tls_does_not_keep_us_from_the_others(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    with running_server(tmp_path, _config(tmp_path, port, _tls(authority))):
        async with plain_server() as plain:
            # Their order is nats-py's choice.
            url = ",".join(f"tls://me:s3cret@127.0.0.1:{each}" for each in (plain.port, port))
            for _ in range(4):
                async with Broker(BrokerSettings(url, ca=authority.cert), "test"):
                    pass

            assert plain.received == b""


async def test_nothing_is_sent_to_a_server_that_comes_back_without_tls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, port = Authority(tmp_path), free_port()
    config = _config(tmp_path, port, _tls(authority), 'authorization { user: "me", password: "s3cret" }')
    with running_server(tmp_path, config) as server:
        settings = BrokerSettings(f"tls://127.0.0.1:{port}", "me", "s3cret", ca=authority.cert)
        async with Broker(settings, "test") as broker:
            server.stop()
            await eventually(lambda: not broker.connection.connected)
            async with plain_server(port) as plain:
                await eventually(lambda: plain.connections >= 3)
                assert not broker.connection.connected
                assert plain.received == b""
            assert sum("no longer offers TLS" in record.message for record in caplog.records) == 1

            server.start()
            await eventually(lambda: broker.connection.connected)


async def test_nothing_is_sent_to_a_server_without_tls_that_a_cluster_announced(tmp_path: Path) -> None:
    authority, first, second = Authority(tmp_path), free_port(), free_port()
    routes = [free_port(), free_port()]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with_tls = f"server_name: one\nlisten: 127.0.0.1:{first}\n{_tls(authority)}\n"
    # The second one keeps what it is told in its log.
    without = f"server_name: two\nlisten: 127.0.0.1:{second}\ntrace: true\ndebug: true\n"
    first_joins, second_joins = (
        f'cluster {{ name: c, listen: "127.0.0.1:{here}", routes: ["nats://127.0.0.1:{there}"] }}'
        for here, there in (routes, routes[::-1])
    )
    stored = {name: f'jetstream {{ store_dir: "{tmp_path / name / "data"}" }}\n' for name in ("one", "two")}
    with (
        running_server(tmp_path / "two", without + stored["two"] + second_joins, ready="Listening for client") as two,
        running_server(tmp_path / "one", with_tls + stored["one"] + first_joins, ready="Listening for client") as one,
    ):
        await eventually(lambda: "Route connection created" in one.log.read_text())
        settings = BrokerSettings(f"tls://me:s3cret@127.0.0.1:{first}", ca=authority.cert)
        connection = Connection(settings, "test")
        await connection.open()
        try:
            await eventually(lambda: str(second) in str([one.uri for one in connection._wire._server_pool]))

            one.stop()

            await eventually(lambda: f"127.0.0.1:{second}" in connection._wire.plain)
        finally:
            await connection.close()
        assert "CONNECT {" not in "".join(line for line in two.log.read_text().splitlines() if "cid:" in line)


@pytest.mark.parametrize("command", ["up", "edge", "doctor"])
async def test_a_command_says_what_to_do_about_a_server_without_tls(tmp_path: Path, command: str) -> None:
    async with plain_server() as plain:
        done = await asyncio.to_thread(
            callboard, command, NATS_URL=f"tls://127.0.0.1:{plain.port}", NATS_USER="me", NATS_PASSWORD="s3cret",
            DATA_DIR=str(tmp_path / "data"), EDGE_PORT=str(free_port()),
        )  # fmt: skip

        assert done.returncode == 1
        assert "offers no TLS" in done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert plain.received == b""


def _connections(monitor: int) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/connz") as answer:
        found: list[dict[str, Any]] = json.load(answer)["connections"]
        return found
