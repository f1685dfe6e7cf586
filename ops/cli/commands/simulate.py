"""`callboard simulate`: serves a simulated Octane."""

from __future__ import annotations

import argparse
import functools

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard simulate octane
  callboard simulate octane --port 51023 --width 640 --height 360 --generation alpha-5
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("what", metavar="octane", choices=["octane"], help="what to simulate")
    parser.setting("--host", "SIMULATOR_HOST", "the address to listen on (127.0.0.1)")
    parser.setting("--port", "SIMULATOR_PORT", "the port to listen on (51022); 0 takes a free one")
    for flag, about in (
        ("width", "pixels in a row"),
        ("height", "rows"),
        ("pitch", "pixels of a row in memory"),
        ("max-samples", "samples a pixel, until a render is finished"),
        ("samples-per-second", "how fast it renders"),
        ("generation", "which wire it speaks: beta-2 or alpha-5"),
    ):
        parser.setting(
            f"--{flag}", f"SIMULATOR_{flag.upper().replace('-', '_')}", about, "N" if flag != "generation" else "NAME"
        )


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.process.roles import run_role, simulate_octane

    settings = load(given, "simulator")
    return run_role(functools.partial(simulate_octane, settings), settings)


COMMAND = Command(
    "Serves something that this machine does not have.",
    declare,
    run,
    usage="simulate octane [OPTIONS]",
    examples=_EXAMPLES,
)
