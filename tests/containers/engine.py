"""Starts containers on the Docker engine that answers, the product's own image among them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import docker
import pytest
from docker.errors import BuildError, DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from edge.auth.grants import Grants
from edge.auth.token import mint
from router.nats.embedded import free_port
from tests import parts
from tests.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
NATS_IMAGE = os.environ.get("CALLBOARD_TEST_NATS_IMAGE", "nats:2.15")
BASE_IMAGE = os.environ.get("CALLBOARD_TEST_BASE_IMAGE", "python:3.13-slim")
# Given, it is tried as it is; else one is built of the sources that lie here.
IMAGE = os.environ.get("CALLBOARD_TEST_IMAGE", "")
BUILT = "callboard:test"
SECRET = secrets.token_hex(32)
# Nobody that the image knows of.
SOMEBODY = "54321:54321"
# What a client that lost its connection may meet.
LOST = (aiohttp.ClientError, OSError, TimeoutError, EOFError)


def engine() -> docker.DockerClient:
    """The Docker engine; a machine without one skips the test with the reason, CI may not."""
    with warnings.catch_warnings():
        # docker-py leaves its socket open where nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        client, reason = _asked()
        gc.collect()
    if client is None:
        parts.missing(parts.DOCKER, f"none answers ({reason}); `.ci/engine start` may start one")
    return client


def _asked() -> tuple[docker.DockerClient | None, str]:
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except DockerException as fault:
        return None, str(fault).partition("\n")[0][:160]
    return client, ""


def image(client: docker.DockerClient) -> str:
    """The product's image, built of the sources unless CALLBOARD_TEST_IMAGE names one."""
    if IMAGE:
        return IMAGE
    # One at a time: pytest's processes would build the same layers beside one another.
    with open(Path(tempfile.gettempdir()) / f"callboard-image-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            client.images.build(
                path=str(ROOT), dockerfile="ops/Dockerfile", tag=BUILT, buildargs={"BASE": BASE_IMAGE}, rm=True
            )
        except BuildError as fault:
            said = "".join(str(line.get("stream") or line.get("error") or "") for line in fault.build_log)
            pytest.fail(f"the image cannot be built (without a network, `make wheels` first): {said[-2000:]}")
    return BUILT


def token(name: str = "tests") -> str:
    """A token that allows everything."""
    return mint(SECRET, name, Grants.of([">"], [">"], [">"], operate=True), 3600, None, None)


Places = Sequence[tuple[Network, Sequence[str]]]
"""Where a container is: networks, and the names that it has there."""


class Box(DockerContainer):
    """A container that can be hurt, and that is at the same address afterwards."""

    def __init__(self, image: str, networks: Places, *ports: int) -> None:
        super().__init__(image)
        self.networks = networks
        # Published ports chosen by the engine are others after a restart.
        self.published = {port: free_port() for port in ports}
        for port, published in self.published.items():
            self.with_bind_ports(port, published)
        if networks:
            network, names = networks[0]
            self.with_network(network).with_network_aliases(*names)

    def start(self) -> Self:
        super().start()
        for network, names in self.networks[1:]:
            network.connect(self.get_container_id(), list(names))
        return self

    def address(self, port: int) -> str:
        """Where one of its ports is reached from here."""
        return f"{self.get_container_host_ip()}:{self.published[port]}"

    @property
    def said(self) -> str:
        """All that it has written."""
        out, err = self.get_logs()
        return (out + err).decode(errors="replace")

    async def pause(self, seconds: float) -> None:
        """Holds all its processes for a while."""
        await asyncio.to_thread(self.get_wrapped_container().pause)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(self.get_wrapped_container().unpause)

    async def kill(self, seconds: float = 0.0) -> None:
        """Ends it as a machine ends that loses its power, and starts it again."""
        await asyncio.to_thread(self.get_wrapped_container().kill)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.get_wrapped_container().start)

    async def restart(self, grace: int = 20) -> None:
        """Ends it in order, and starts it again."""
        await asyncio.to_thread(self.get_wrapped_container().restart, timeout=grace)

    async def disconnect(self, seconds: float) -> None:
        """Takes it off its last network for a while."""
        network, names = self.networks[-1]
        unwrapped = network._unwrap_network
        await asyncio.to_thread(unwrapped.disconnect, self.get_container_id(), force=True)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(unwrapped.connect, self.get_container_id(), aliases=list(names))


class Server(Box):
    """A nats-server."""

    def __init__(self, networks: Places, *command: str) -> None:
        super().__init__(NATS_IMAGE, networks, 4222)
        self.with_command(list(command))
        self.waiting_for(LogMessageWaitStrategy("Server is ready").with_startup_timeout(30).with_poll_interval(0.1))


class Product(Box):
    """One role of Callboard, confined as its manifests confine it: somebody, a read-only root, no capability."""

    def __init__(self, image: str, networks: Places, *command: str, data: bool = False, **variables: str) -> None:
        super().__init__(image, networks, *((8000,) if command[:1] == ("edge",) else ()))
        self.with_command(list(command))
        self.with_kwargs(
            user=SOMEBODY,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
        )
        for folder in ("/tmp", "/data") if data else ("/tmp",):
            self.with_tmpfs_mount(folder, "mode=1777")
        self.with_envs(**{f"CALLBOARD_{name}": text for name, text in variables.items()})

    @property
    def health(self) -> str:
        """What the engine thinks of it, by the image's own health check."""
        state: dict[str, Any] = self.get_docker_client().client.api.inspect_container(self.get_container_id())["State"]
        return str(state["Health"]["Status"])


class Edge(Product):
    """A replica of the edge. Readers come by one network, NATS is on the other."""

    def __init__(self, image: str, front: Network, back: Network, name: str, **variables: str) -> None:
        shown = {
            "EDGE_HOST": "0.0.0.0",
            "EDGE_DRAIN": "2s",
            "EDGE_SESSION_HEARTBEAT": "2",
            "JWT_SECRET": SECRET,
            "INTERNAL_HOST": "0.0.0.0",
        }
        super().__init__(image, [(front, [name]), (back, [name])], "edge", **shown | variables)

    @property
    def base(self) -> str:
        return f"http://{self.address(8000)}"

    async def ready(self, within: float = PATIENCE) -> None:
        """Waits until it takes requests."""

        async def answers() -> bool:
            try:
                async with http.get(f"{self.base}/readyz", timeout=aiohttp.ClientTimeout(2)) as answer:
                    return answer.status == 200
            except LOST:
                return False

        async with aiohttp.ClientSession() as http:
            try:
                await eventually(answers, within)
            except AssertionError:
                raise AssertionError(f"the edge is not ready: {self.said[-3000:]}") from None


@contextlib.contextmanager
def networks() -> Iterator[tuple[Network, Network]]:
    """Two networks: where clients come from, and where NATS is."""
    with Network() as front, Network() as back:
        yield front, back
