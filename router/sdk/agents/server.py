"""Serves agents over one connection: a micro service each, whose command `start` any replica takes; drains when it is to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from router.broker import Broker
from router.errors import BadInput
from router.nats.service import Endpoint, Request, Service
from router.sdk.agents.agent import AgentFunction
from router.sdk.agents.order import StartOrder
from router.sdk.agents.queue import StartQueue
from router.sdk.agents.threads import ThreadOwners
from router.sdk.agents.turn import AgentHost, AgentTurn, for_agents
from router.sdk.values import RunSettings

log = logging.getLogger(__name__)

# 20 s of the 30 that Kubernetes gives a pod; the rest is for the ends of runs.
GRACE_SECONDS = 20.0
SHUTDOWN = "the agent was shut down before the run had ended"


class AgentServer:
    """The agents of one process."""

    def __init__(
        self,
        agents: Sequence[AgentFunction],
        broker: Broker,
        *,
        grace: float = GRACE_SECONDS,
        settings: RunSettings | None = None,
    ) -> None:
        """`grace` is how many seconds running work has once it is to stop. Raises BadInput."""
        if not agents:
            raise BadInput("there is no agent to serve")
        if len({each.name for each in agents}) < len(agents):
            raise BadInput("two agents have the same name")
        owners, how = ThreadOwners(broker), for_agents(settings)
        self._hosted = [_Hosted(_host_of(each, broker, owners, how)) for each in agents]
        self._grace = grace
        # Work that did not end when it was cancelled.
        self.left: list[asyncio.Task[Any]] = []

    async def run(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until `stop`; then takes no more runs, lets those that go on end for `grace` seconds, and fails the others."""
        async with asyncio.TaskGroup() as group:
            for hosted in self._hosted:
                hosted.group = group
            serving = [group.create_task(each.service.run(), name=f"agent {each.name}") for each in self._hosted]
            queues = [group.create_task(each) for hosted in self._hosted for each in hosted.queue()]
            for each in self._hosted:
                await each.service.serving.wait()
            ready()
            await stop.wait()
            for each in self._hosted:
                each.service.close()
            for task in queues:
                task.cancel()
            await asyncio.gather(*queues, return_exceptions=True)
            await self._drain()
            for task in serving:
                task.cancel()
        self.left = [task for each in self._hosted for task in each.left if not task.done()]

    async def _drain(self) -> None:
        playing = {task for each in self._hosted for task in each.turns}
        if not playing:
            return
        log.info("waiting for runs to end", extra={"runs": len(playing), "seconds": self._grace})
        _, late = await asyncio.wait(playing, timeout=self._grace)
        if not late:
            return
        log.warning("runs did not end in time; they are failed", extra={"runs": len(late)})
        for each in self._hosted:
            for turn in each.turns.values():
                turn.interrupt(SHUTDOWN)
        # Each ends within the agent's `stop_timeout` and the settings' `drain`.
        await asyncio.wait(late)


def _host_of(agent: AgentFunction, broker: Broker, owners: ThreadOwners, settings: RunSettings) -> AgentHost:
    queue = StartQueue(agent.name, agent.queue, broker, owners, settings.ttl) if agent.queue else None
    return AgentHost(agent, broker, owners, settings, asyncio.Semaphore(agent.concurrency), queue)


class _Hosted:
    """One agent in this process: its service and its runs."""

    def __init__(self, host: AgentHost) -> None:
        self.name = host.agent.name
        self.group: asyncio.TaskGroup
        self.turns: dict[asyncio.Task[None], AgentTurn] = {}
        self.left: list[asyncio.Task[Any]] = []
        self._host = host
        self.service = Service(
            host.broker.connection,
            self.name,
            "1.0.0",
            description=host.agent.about,
            endpoints=[Endpoint("start", f"cmd.{self.name}.main.start", self._start)],
            metadata={"kind": "agent"},
            stats=self._stats,
        )

    def queue(self) -> list[Coroutine[Any, Any, None]]:
        """What keeps the lines of starts that wait for their threads."""
        queue = self._host.queue
        if queue is None:
            return []
        return [queue.watch(), queue.keep(lambda: len(self.turns) < self._host.agent.capacity, self._begin)]

    def _begin(self, order: StartOrder) -> None:
        """Begins the first of a line, whose thread was taken."""
        try:
            input = self._host.agent.reads(order.input)
        except BadInput as fault:
            # Another version of the agent took it. Its lease runs out, and the run is failed.
            log.error("start in a line cannot be carried out", extra={"run": order.run, "fault": str(fault)})
            return
        self._spawn(AgentTurn(self._host, order, input), order, None)

    def _start(self, request: Request) -> None:
        agent = self._host.agent
        try:
            order = StartOrder.read(request.arguments())
            input = agent.reads(order.input)
        except BadInput as fault:
            request.refuse(422, str(fault))
            return
        if len(self.turns) >= agent.capacity:
            request.refuse(503, f"{len(self.turns)} runs of {agent.name} go on or wait here, and no more are taken")
            return
        self._spawn(AgentTurn(self._host, order, input), order, request)

    def _spawn(self, turn: AgentTurn, order: StartOrder, request: Request | None) -> None:
        task = self.group.create_task(self._play(turn, request), name=f"run {order.run}")
        self.turns[task] = turn
        task.add_done_callback(self._done)

    async def _play(self, turn: AgentTurn, request: Request | None) -> None:
        try:
            await (turn.carry_out(None) if request is None else turn.play(request))
        except Exception:
            # One run that cannot be carried out must not end the others.
            log.exception("run of an agent could not be carried out", extra={"agent": self.name})
            if request is not None:
                await request.fail(500, "the run could not be carried out")

    def _done(self, task: asyncio.Task[None]) -> None:
        left = self.turns.pop(task).left
        self.left = [each for each in self.left if not each.done()]
        if left is not None:
            self.left.append(left)

    def _stats(self) -> dict[str, Any]:
        agent = self._host.agent
        waiting = max(0, len(self.turns) - agent.concurrency)
        return {"running": len(self.turns) - waiting, "waiting": waiting, "concurrency": agent.concurrency}
