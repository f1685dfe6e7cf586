"""Fixtures of all tests: a nats-server of their own, and a broker that is connected to it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ops.process.logs import TextLines
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, binary, free_port
from router.nats.settings import BrokerSettings
from tests import last_words, parts, trust
from tests.e2e.tree import RunningCallboard, running_tree
from tests.npm import Libraries
from tests.servers import Authority
from tests.waiting import PATIENCE, unhurried

# What no property test may depend on: how fast the machine is, and how much of what was drawn had to be drawn again.
_PACE = (
    HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example,
)  # fmt: skip

# Each run tries the same examples, so that a run tells something about a change and nothing about luck. New examples:
# `make test ARGS='--hypothesis-profile=explore'`, which prints what reproduces a failure.
settings.register_profile(
    "callboard", deadline=None, suppress_health_check=_PACE, derandomize=True, database=None, print_blob=True
)
settings.register_profile("explore", settings.get_profile("callboard"), derandomize=False)
settings.load_profile("callboard")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Behind pytest's own use of faulthandler."""
    last_words.register(config)
    # A report shows log lines as an operator sees them, with the values behind the text.
    logged = config.pluginmanager.get_plugin("logging-plugin")
    if handler := getattr(logged, "report_handler", None):
        handler.setFormatter(TextLines(lambda text, _style: text))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, object, object]:
    """Says behind all else what was skipped for want of which program, and what would run it."""
    result = yield
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    if line := parts.closing_line(reasons):
        terminalreporter.write_line(line, yellow=True)
    return result


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there before the first test stays: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the product runs on: what it does otherwise than asyncio's own would else be found by users."""
    if sys.platform == "win32":
        return {"asyncio": asyncio.new_event_loop}
    from tests.loops import StrictLoop

    return {"uvloop": StrictLoop}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    """The libraries of chat UIs, installed once for all processes that run tests."""
    mine = tmp_path_factory.getbasetemp()
    return Libraries((mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "libraries")


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running nats-server with JetStream; one per pytest process, or the one CALLBOARD_NATS_URL names.

    Tests share it, so each uses entities and actor names of its own (`entity`). Nobody may kill it: a test that needs a
    server to die starts an EmbeddedServer.
    """
    if given := os.environ.get("CALLBOARD_NATS_URL"):
        yield given
        return
    with _serving(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def _no_spools_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs of tests and of their child processes leave unsent goes to a folder of the tests'."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CALLBOARD_SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _unhurried_starts() -> Iterator[None]:
    """A nats-server may take as long to start as a busy machine takes, and so may the answer of an actor under test."""
    with pytest.MonkeyPatch.context() as limits:
        limits.setattr("router.nats.embedded.START_SECONDS", PATIENCE)
        limits.setattr("actors.system.probe.ANSWER_TIMEOUT", PATIENCE)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TLS contexts are made quickly, here and in child processes."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(trust.STORE, str(authority.cert))
        yield


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    server = EmbeddedServer(EmbeddedSettings(data_dir=folder, port=free_port()))
    server.prepare()
    # A plain child, not asyncio's: it outlives the event loop of a single test.
    with subprocess.Popen([binary(), "-c", str(folder / "nats-server.conf")], stdin=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not _answers(server.port):
                assert process.poll() is None, (folder / "nats-server.log").read_text()
                assert time.monotonic() < deadline, "nats-server does not answer"
            yield server.url
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[str]:
    """The address of a nats-server that nobody else uses: for who needs that an edge has nothing to catch up with."""
    with _serving(tmp_path / "own-nats") as url:
        yield url


@pytest.fixture
def broker_settings(nats_server: str) -> BrokerSettings:
    """How to reach the tests' nats-server."""
    return unhurried(nats_server)


@pytest.fixture
async def broker(broker_settings: BrokerSettings) -> AsyncIterator[Broker]:
    """A broker that is open, its streams made."""
    async with Broker(broker_settings, "test") as opened:
        yield opened


@pytest.fixture
def entity() -> str:
    """A name that no other test has."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def running_callboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCallboard]:
    """The whole system as `callboard up` starts it, ready; one tree of processes per pytest process.

    Tests share it, so each uses entities of its own (`entity`), and nobody kills in it: who must runs a `running_tree`.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("looks into /proc")
    with running_tree(tmp_path_factory.mktemp("callboard")) as tree:
        yield tree
