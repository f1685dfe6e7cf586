"""`callboard demo`: serves a demonstration."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard demo chat
  callboard demo agents
  curl -s localhost:8100/chat -d '{"message": "How do webhooks work?", "callback_config": {"delivery_method": "sse"}}'
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "what",
        metavar="chat|agents",
        choices=["chat", "agents"],
        help="what to serve: a chat, or agents that the edge's addresses start; without a model",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address that the chat listens on (127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=8100, help="the port that the chat listens on (8100); 0 takes a free one"
    )
    parser.where_the_edge_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.demo import run_agents, run_chat

    if given.what == "agents":
        return run_agents(load(given, "edge", "otel"))
    return run_chat(load(given, "edge", "otel"), given.host, given.port)


COMMAND = Command(
    "Serves a chat that gives its callers callbacks, or agents that chat pages and streams start. They have no model, and say so.",
    declare,
    run,
    usage="demo chat|agents [OPTIONS]",
    examples=_EXAMPLES,
)
