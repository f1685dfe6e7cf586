"""Declares an agent: a name, the function that does its work, and how much of it a process does at once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from router.errors import BadInput
from router.sdk.agents.given import Reads, reader_for

# One token of a subject, as the edge takes it in an address.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class AgentFunction:
    """A function that is served under a name. It may still be called as the function that it is."""

    name: str
    function: Callable[..., Any]
    concurrency: int = 8
    backlog: int = 32
    stop_timeout: float = 10.0
    queue: int = 0
    reads: Reads = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadInput(f"{self.name[:80]!r} is no name of an agent: it has letters, digits, _ and -")
        if self.concurrency < 1 or min(self.backlog, self.stop_timeout, self.queue) < 0:
            raise BadInput("an agent has a concurrency from 1 up, and a backlog, a stop_timeout and a queue from 0 up")
        object.__setattr__(self, "reads", reader_for(self.function))

    @property
    def about(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0] or f"The agent {self.name}."

    @property
    def capacity(self) -> int:
        """How many runs a process takes at once, with those that wait for their turn."""
        return self.concurrency + self.backlog

    def __call__(self, *args: Any, **more: Any) -> Any:
        return self.function(*args, **more)


def agent(
    name: str, *, concurrency: int = 8, backlog: int = 32, stop_timeout: float = 10.0, queue: int = 0
) -> Callable[[Callable[..., Any]], AgentFunction]:
    """Makes a function the agent of a name: `@agent("assistant") async def assistant(run, input)`.

    The function is a coroutine function, or one without asyncio, which is run in a thread; either may `yield` texts and events
    (`{"type": …}`). What it returns is the run's result, what it raises fails the run. `concurrency` is how many runs a process
    works at; `backlog` more have begun and wait for their turn; what comes then is refused. A run that is stopped is cancelled,
    and its `finally` blocks get `stop_timeout` seconds. A start on a thread whose run goes on is refused, or waits in line with `queue`
    others at most, also while processes die. Raises BadInput for a name or a function that cannot be served.
    """

    def declare(function: Callable[..., Any]) -> AgentFunction:
        return AgentFunction(name, function, concurrency, backlog, stop_timeout, queue)

    return declare
