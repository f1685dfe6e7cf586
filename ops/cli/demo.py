"""Runs the demonstrations beside a running edge: the chat, and the agents."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence

from ops.cli.sessions import edge_of
from ops.demo.agents import serve_demo
from ops.demo.chat import ChatSettings, serve_chat
from ops.process.ports import url_of
from ops.process.roles import connected_broker, run_role
from ops.settings import Settings
from router.sdk.agents import AgentFunction


def run_chat(settings: Settings, host: str, port: int) -> int:
    """Serves the chat until it is told to end. Raises Mistakes, RouterError."""
    edge = settings.command.edge_url or url_of(*edge_of(settings))
    chat = ChatSettings(edge, host, port, settings.command.token)
    say = functools.partial(_say, edge)
    return run_role(lambda stop: serve_chat(chat, say, stop), settings, "demo chat")


def run_agents(settings: Settings) -> int:
    """Serves the agents until it is told to end. Raises Mistakes, RouterError."""
    edge = settings.command.edge_url or url_of(*edge_of(settings))

    async def serve(stop: asyncio.Event) -> None:
        async with connected_broker(settings, "demo agents", stop) as broker:
            await serve_demo(broker, functools.partial(_say_agents, edge), stop)

    return run_role(serve, settings, "demo agents")


def _say_agents(edge: str, agents: Sequence[AgentFunction]) -> None:
    council = f"{edge}/api/stream/council-score?videoUrl=test&transcript=Do+you+want+3+new+ideas%3F"
    print(f'agents without a model: {", ".join(each.name for each in agents)}; try: curl -N "{council}"', flush=True)


def _say(edge: str, url: str) -> None:
    ask = '{"message": "How do webhooks work?"}'
    print(
        f"a chat without a model at {url}; its callers read from {edge}; try: curl -s {url}/chat -d '{ask}'", flush=True
    )
