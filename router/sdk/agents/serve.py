"""Serves agents as a program: `serve(assistant)` connects to NATS and serves until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable

from router.broker import Broker
from router.errors import BadInput
from router.nats.dial import without_secrets
from router.nats.settings import BrokerSettings
from router.sdk.agents.agent import AgentFunction
from router.sdk.agents.server import GRACE_SECONDS, AgentServer
from router.sdk.connect import address, is_http
from router.sdk.over_nats import open_when_there
from router.sdk.values import RunSettings

log = logging.getLogger(__name__)


def serve(
    *agents: AgentFunction,
    url: str | BrokerSettings | None = None,
    grace: float = GRACE_SECONDS,
    settings: RunSettings | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves agents until Ctrl-C or SIGTERM, and then lets their runs end for `grace` seconds; a second Ctrl-C ends it at once.

    `url` is that of NATS, or a `BrokerSettings` with credentials; without it CALLBOARD_URL says so, as for `Run`. `ready` is called
    with the address once the agents are served; without it that is logged. Raises BadInput, and BrokerError where NATS refuses us.
    """
    if ready is None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    left = 0
    with asyncio.Runner() as runner:
        left = runner.run(_until_told(agents, url, grace, settings, ready or _tell(agents)))
        if left:
            # Neither a loop nor an interpreter that is closed in good order ends before what does not end.
            log.error("work of %d runs has not ended; the process ends without it", left)
            logging.shutdown()
            os._exit(1)


def _tell(agents: tuple[AgentFunction, ...]) -> Callable[[str], None]:
    return lambda where: log.info("serving %s at %s", ", ".join(each.name for each in agents), where)


async def _until_told(
    agents: tuple[AgentFunction, ...],
    url: str | BrokerSettings | None,
    grace: float,
    settings: RunSettings | None,
    ready: Callable[[str], None],
) -> int:
    """Returns how many pieces of work have not ended."""
    stop = asyncio.Event()

    def told(number: int) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Only the main thread hears signals, and Windows has none.
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            loop.add_signal_handler(number, told, number)
    return await serve_until(stop, *agents, url=url, grace=grace, settings=settings, ready=ready)


async def serve_until(
    stop: asyncio.Event,
    *agents: AgentFunction,
    url: str | BrokerSettings | None = None,
    grace: float = GRACE_SECONDS,
    settings: RunSettings | None = None,
    ready: Callable[[str], None] = lambda _where: None,
) -> int:
    """Serves agents on the running event loop until `stop` is set; returns how many pieces of work did not end when cancelled."""
    how = url if isinstance(url, BrokerSettings) else BrokerSettings(url=address(url))
    if is_http(how.url):
        raise BadInput(f"agents are served over NATS, and {without_secrets(how.url)} is an edge: use nats://…")
    broker = Broker(how, "callboard agents")
    server = AgentServer(agents, broker, grace=grace, settings=settings)
    opening = asyncio.create_task(open_when_there(broker), name="agents connect")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            return 0
        opening.result()
        await server.run(stop, lambda: ready(without_secrets(how.url)))
        return len(server.left)
    finally:
        for task in (opening, stopping):
            task.cancel()
        await asyncio.gather(opening, stopping, return_exceptions=True)
        await broker.close()
