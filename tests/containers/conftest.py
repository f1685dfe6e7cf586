"""Fixtures of the container tests: the engine and the product's image, both once per pytest process."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from tests.containers import engine


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    """The Docker engine; without one the test is skipped with the reason."""
    client = engine.engine()
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def callboard_image(docker_engine: docker.DockerClient) -> str:
    """The name of the product's image."""
    return engine.image(docker_engine)
