"""Serves Python functions as agents: `@agent("assistant")` on a function, which `callboard agents` or `serve` then runs.

A chat UI starts, reads and stops its runs at the edge; what the function says are the events of a run, which is a life of a thread.
"""

from router.sdk.agents.agent import AgentFunction, agent
from router.sdk.agents.given import AgentInput, AgentMessage
from router.sdk.agents.serve import serve
from router.sdk.agents.work import BlockingRun

__all__ = ["AgentFunction", "AgentInput", "AgentMessage", "BlockingRun", "agent", "serve"]
