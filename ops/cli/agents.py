"""Finds the agents that a command line names, and serves them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from ops.process.logs import configure
from ops.settings import Mistakes, Settings
from router.sdk.agents import AgentFunction, serve


def find(targets: Sequence[str]) -> list[AgentFunction]:
    """The agents of `module` or `module:name`, each once. Raises Mistakes, and what a module raises as it is imported."""
    # As `python -m`: what is run is mostly a file in the folder where one stands.
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    found: dict[str, AgentFunction] = {}
    mistakes = []
    for target in targets:
        try:
            found |= {each.name: each for each in _named(target)}
        except LookupError as fault:
            mistakes.append(f"agents: {fault.args[0]}")
    if mistakes:
        raise Mistakes(mistakes)
    return list(found.values())


def _named(target: str) -> list[AgentFunction]:
    """Raises LookupError."""
    name, colon, attribute = target.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as fault:
        # A module that it imports is not the one that was named.
        if fault.name is None or not f"{name}.".startswith(f"{fault.name}."):
            raise
        raise LookupError(f"{target}: there is no module {name}") from None
    except (ValueError, TypeError):
        raise LookupError(f"{target}: give module:name, such as assistant:assistant") from None
    if not colon:
        every = [each for each in vars(module).values() if isinstance(each, AgentFunction)]
        if not every:
            raise LookupError(f"{target}: the module has no function with @agent(…)")
        return every
    one = getattr(module, attribute, None)
    if not isinstance(one, AgentFunction):
        raise LookupError(f"{target}: {attribute or 'nothing'} is no function with @agent(…)")
    return [one]


def run_agents(agents: Sequence[AgentFunction], settings: Settings, grace: float) -> int:
    """Serves until it is told to end. Raises BrokerError."""
    configure(settings.log)
    names = ", ".join(each.name for each in agents)
    serve(
        *agents, url=settings.broker, grace=grace, ready=lambda where: print(f"serving {names} at {where}", flush=True)
    )
    return 0
