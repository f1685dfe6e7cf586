"""A JetStream cluster of three nodes, any of which a test may kill."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from router.errors import BrokerError, RouterError
from router.nats.connection import Connection
from router.nats.embedded import binary, free_port
from router.nats.settings import BrokerSettings
from tests.waiting import PATIENCE

START_SECONDS = PATIENCE


class Node:
    """One nats-server of the cluster."""

    def __init__(self, folder: Path, name: str, port: int, route: int) -> None:
        self.name = name
        self.port = port
        self.route = route
        self.folder = folder / name
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(binary(), "-c", str(self.folder / "nats-server.conf")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.returncode is None:
            os.kill(self.process.pid, how)
            await self.process.wait()


class Cluster:
    """Three nodes; `url` names them all."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [Node(folder, f"n{number}", free_port(), free_port()) for number in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{node.route}"' for node in self.nodes)
        for node in self.nodes:
            node.folder.mkdir(parents=True)
            (node.folder / "nats-server.conf").write_text(
                f"host: 127.0.0.1\nport: {node.port}\nserver_name: {node.name}\nmax_payload: 8388608\n"
                f'log_file: "{node.folder / "nats-server.log"}"\n'
                f'jetstream {{ store_dir: "{node.folder / "jetstream"}", max_memory_store: 256MB, max_file_store: 8GB }}\n'
                f"cluster {{ name: test, host: 127.0.0.1, port: {node.route}, routes: [{routes}] }}\n"
            )

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    async def start(self) -> None:
        """Starts all nodes and waits until they have a leader."""
        for node in self.nodes:
            await node.start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            connection = Connection(BrokerSettings(self.url), "cluster")
            try:
                await connection.open()
                if (await connection.api("INFO"))["streams"] >= 0:
                    return
            except RouterError:
                assert time.monotonic() < deadline, "the cluster does not come up"
                await asyncio.sleep(0.2)
            finally:
                await connection.close()

    async def leader(self, connection: Connection, stream: str) -> Node:
        """The node that leads a stream."""
        while True:
            try:
                name = (await connection.api(f"STREAM.INFO.{stream}"))["cluster"].get("leader")
            except BrokerError:
                name = None
            for node in self.nodes:
                if node.name == name:
                    return node
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        for node in self.nodes:
            await node.kill(signal.SIGTERM)
