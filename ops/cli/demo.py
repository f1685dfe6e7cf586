"""Runs the demonstration chat beside a running edge."""

from __future__ import annotations

import functools

from ops.cli.sessions import edge_of
from ops.demo.chat import ChatSettings, serve_chat
from ops.process.ports import url_of
from ops.process.roles import run_role
from ops.settings import Settings


def run_chat(settings: Settings, host: str, port: int) -> int:
    """Serves the chat until it is told to end. Raises Mistakes, RouterError."""
    edge = settings.command.edge_url or url_of(*edge_of(settings))
    chat = ChatSettings(edge, host, port, settings.command.token)
    say = functools.partial(_say, edge)
    return run_role(lambda stop: serve_chat(chat, say, stop), settings, "demo chat")


def _say(edge: str, url: str) -> None:
    ask = '{"message": "How do webhooks work?"}'
    print(
        f"a chat without a model at {url}; its callers read from {edge}; try: curl -s {url}/chat -d '{ask}'", flush=True
    )
