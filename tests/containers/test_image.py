"""The product's own image: as anybody, with a read-only root, without what only builders need."""

from __future__ import annotations

import time

import docker
import pytest

from tests.containers.engine import Product, networks
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(900)]

# 700 MB: a third of it is Python and its base, a third ffmpeg and numpy for the camera, the rest gRPC and nats-server.
LARGEST = 700_000_000
# What the health check needs to say so is not counted in seconds but in its own intervals; this is the system itself.
SLOWEST_START = 4 * PATIENCE


async def test_the_whole_system_runs_as_somebody_on_a_read_only_root(
    docker_engine: docker.DockerClient, callboard_image: str
) -> None:
    size = docker_engine.images.get(callboard_image).attrs["Size"]
    begun = time.monotonic()
    with Product(callboard_image, [], "up", data=True) as callboard:
        await eventually(lambda: "Callboard is ready" in callboard.said, within=SLOWEST_START)
        started = time.monotonic() - begun
        health = callboard.exec(["callboard", "health"])
        published = callboard.exec(["callboard", "publish", "job.try.output", '{"n": 1}'])
        who = callboard.exec(["id", "-u"]).output.decode().strip()
        written = callboard.exec(["sh", "-c", "echo x >/callboard/x || echo x >/usr/x || echo x >/etc/x"])
        await eventually(lambda: callboard.health == "healthy")
        container = callboard.get_wrapped_container()
        container.stop(timeout=20)
        code = container.wait()["StatusCode"]

    print(f"\nimage: {size / 1e6:.0f} MB, ready {started:.1f} s after `docker run`, as user {who}, read-only")
    assert (health.exit_code, published.exit_code) == (0, 0), (health, published)
    assert who == "54321"
    assert written.exit_code != 0
    assert code == 0
    assert size < LARGEST


def test_nothing_that_builds_is_in_the_image(callboard_image: str) -> None:
    with Product(callboard_image, [], "simulate", "octane") as simulator:
        for name in ("pip", "pip3", "gcc", "cc", "g++", "make", "git", "curl"):
            assert simulator.exec(["sh", "-c", f"command -v {name}"]).exit_code != 0, name
        for module in ("pip", "setuptools", "ensurepip", "pytest"):
            assert simulator.exec(["python", "-c", f"import {module}"]).exit_code != 0, module
        written = simulator.exec(["sh", "-c", "find /callboard -writable -not -type l | head -3"]).output

    assert written == b""


def test_an_edge_without_keys_refuses_to_be_seen(callboard_image: str) -> None:
    with networks() as (front, _), Product(callboard_image, [(front, ["edge"])], "edge", EDGE_HOST="0.0.0.0") as edge:
        code = edge.wait()
        said = edge.said

    assert code != 0
    assert "will not listen on 0.0.0.0 without authentication" in said


async def test_health_says_what_is_missing(callboard_image: str) -> None:
    with networks() as (_, back):
        nowhere = {"NATS_URL": "nats://nobody:4222", "INTERNAL_PORT": "9090"}
        with Product(callboard_image, [(back, ["agent"])], "actor", "agent", **nowhere) as actor:
            health = await eventually(lambda: actor.exec(["callboard", "health"]))

    assert health.exit_code == 1
    assert b"not ready: started" in health.output or b"refused" in health.output
