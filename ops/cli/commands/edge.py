"""`callboard edge`: serves HTTP beside a NATS that runs already."""

from __future__ import annotations

import argparse
import functools

from ops.cli.flags import Command, Parser, load
from ops.settings import KEYS, NATS

_EXAMPLES = """\
examples:
  callboard edge --nats-url nats://nats.internal:4222
  callboard edge --port 9000 --workers 4
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.setting("--host", "EDGE_HOST", "the address to listen on (127.0.0.1)")
    parser.setting("--port", "EDGE_PORT", "the port to listen on (8000)")
    parser.setting("--workers", "EDGE_WORKERS", "how many processes share the port (1)", "N")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.process.roles import run_role, serve_edge

    settings = load(given, "edge", "guard", "identity", adopt=(NATS, *KEYS))
    return run_role(functools.partial(serve_edge, settings), settings, "edge")


COMMAND = Command(
    "Serves HTTP: sessions, WebSocket, SSE, polling, webhooks, publishing, video.", declare, run, examples=_EXAMPLES
)
