"""`callboard up`: starts the whole system on this machine."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard up
  callboard up --port 9000 --data-dir ~/callboard
  callboard up --nats-url nats://nats.internal:4222
  callboard up --only edge,agent,alerts
  callboard up --camera bench=sim:card --camera door='v4l2:/dev/video0?size=1280x720'
  callboard up --octane main=127.0.0.1:51022 --octane left=10.0.0.5:51022
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.setting("--port", "EDGE_PORT", "the port to serve on (8000)")
    parser.setting("--host", "EDGE_HOST", "the address to listen on (127.0.0.1)")
    parser.setting("--data-dir", "DATA_DIR", "where everything is kept (.callboard)", "FOLDER")
    parser.setting("--nats-url", "NATS_URL", "use this NATS instead of an embedded one", "URL")
    parser.setting(
        "--only",
        "UP_ONLY",
        "start these only: edge, octane, camera, agent, alerts, metrics, simulator",
        "NAME",
        action="append",
    )
    parser.setting(
        "--octane",
        "OCTANES",
        "watch this Octane; several times for several of them",
        "NAME=HOST:PORT",
        action="append",
    )
    parser.setting(
        "--camera",
        "CAMERAS",
        "run this camera; several times for several of them; one with a password rather in the variable, which ps does not show",
        "NAME=ADDRESS",
        lines=True,
        action="append",
    )
    parser.setting("--no-demo", "UP_DEMO", "leave out the simulated Octane", action="store_const", const="false")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.process.up import run_up

    return run_up(load(given, "edge", "identity", adopt=()))


COMMAND = Command(
    "Starts NATS, the actors, a simulated Octane and the edge, watches over them, and ends them in order.",
    declare,
    run,
    examples=_EXAMPLES,
)
