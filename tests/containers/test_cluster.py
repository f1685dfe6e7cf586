"""Three NATS containers with the files of k8s/base/nats: TLS, one user for each component, and any of the three may go."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from testcontainers.core.network import Network

from router.broker import Broker
from router.errors import RouterError
from router.nats.connection import Connection
from router.nats.settings import BrokerSettings
from router.topology import EVENTS, TopologySettings
from tests.containers.audience import audience
from tests.containers.engine import Edge, Product, Server, networks
from tests.k8s.cast import NATS, USERS, environment, password
from tests.servers import Authority, Pair
from tests.waiting import eventually

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(1200)]

CA = "/etc/nats-ca/ca.crt"


class Cluster:
    """The servers as the StatefulSet has them: nats-0 to nats-2, each by its own name and all of them as `nats`."""

    def __init__(self, folder: Path, front: Network, back: Network) -> None:
        self.authority = Authority(folder)
        names = [f"nats-{number}" for number in range(3)]
        pair = self.authority.issue(
            "nats", "nats", *names, *(f"{name}.nats-headless" for name in names), "localhost", "127.0.0.1"
        )
        self.nodes = [self._node(name, pair, front, back) for name in names]

    def _node(self, name: str, pair: Pair, front: Network, back: Network) -> Server:
        node = Server([(front, []), (back, [name, f"{name}.nats-headless", "nats"])], "--config", "/etc/nats/nats.conf")
        for source, target in (
            (NATS / "nats.conf", "/etc/nats/nats.conf"),
            (NATS / "accounts.conf", "/etc/nats/accounts.conf"),
            (pair.cert, "/etc/nats-tls/tls.crt"),
            (pair.key, "/etc/nats-tls/tls.key"),
            (self.authority.cert, "/etc/nats-tls/ca.crt"),
        ):
            node.with_volume_mapping(source, target)
        node.with_kwargs(hostname=name)
        node.with_tmpfs_mount("/var/run/nats", "mode=1777")
        return node.with_envs(**environment() | {"POD_NAME": name})

    def settings(self, user: str, node: Server | None = None) -> BrokerSettings:
        """How to connect from here."""
        url = ",".join(f"tls://{each.address(4222)}" for each in self.nodes if node in (None, each))
        return BrokerSettings(url, user, password(user), ca=self.authority.cert, inbox=f"_INBOX_{user}")

    def env(self, user: str) -> dict[str, str]:
        """What a component's pod is given."""
        return {
            "NATS_URL": "tls://nats:4222",
            "NATS_USER": user,
            "NATS_PASSWORD": password(user),
            "NATS_INBOX": f"_INBOX_{user}",
            "NATS_CA": CA,
            "REPLICAS": "3",
            "APPLY_STREAMS": "false",
        }

    async def info(self) -> dict:
        """What the cluster says of the stream of events."""
        connection = Connection(self.settings("operator"), "test")
        await connection.open()
        try:
            return await connection.api(f"STREAM.INFO.{EVENTS}")
        finally:
            await connection.close()

    async def leader(self) -> Server:
        """Which of them leads the stream of events."""

        async def found() -> str | None:
            try:
                name: str | None = (await self.info())["cluster"].get("leader")
            except RouterError:
                return None
            return name

        name = await eventually(found)
        return next(node for node in self.nodes if node.networks[1][1][0] == name)

    async def whole(self) -> None:
        """Waits until every copy of the stream is up to date."""

        async def current() -> bool:
            try:
                cluster = (await self.info())["cluster"]
            except RouterError:
                return False
            replicas = cluster.get("replicas") or []
            return len(replicas) == 2 and all(each["current"] and not each.get("offline") for each in replicas)

        await eventually(current)


async def test_clients_lose_nothing_whichever_server_goes(callboard_image: str, tmp_path: Path) -> None:
    faults = 0
    with contextlib.ExitStack() as stack:
        front, back = stack.enter_context(networks())
        cluster = Cluster(tmp_path, front, back)
        # Together: the first is not ready before there is a second.
        for node in cluster.nodes:
            stack.callback(node.stop)
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in cluster.nodes))

        def part(user: str, *command: str) -> Product:
            made = Product(callboard_image, [(back, [user])], *command, **cluster.env(user) | {"APPLY_STREAMS": "true"})
            return made.with_volume_mapping(cluster.authority.cert, CA)

        job = stack.enter_context(part("streams", "streams", "apply", "--patience", "1m"))
        assert await asyncio.to_thread(job.wait) == 0, job.said
        edges = [
            Edge(callboard_image, front, back, name, **cluster.env("edge")).with_volume_mapping(
                cluster.authority.cert, CA
            )
            for name in ("edge-1", "edge-2")
        ]
        for edge in edges:
            stack.enter_context(edge)
        await asyncio.gather(*(edge.ready() for edge in edges))
        async with audience(edges) as held:
            await held.goes_on()
            for hurt in (
                lambda node: node.kill(1.0),
                lambda node: node.pause(5.0),
                lambda node: node.disconnect(5.0),
                lambda node: node.restart(),
            ):
                await hurt(await cluster.leader())
                faults += 1
                await held.goes_on()
                await cluster.whole()
            settings = TopologySettings(replicas=3, apply_streams=False)
            async with Broker(cluster.settings("operator"), "test", settings) as broker:
                figures = await held.compare(broker)
        told = "".join(node.said for node in cluster.nodes)

    print(f"\ncluster: {faults} times the leader of the stream went, {figures}")
    assert "Permissions Violation" not in told
    assert set(USERS) >= {"edge", "operator", "streams"}
