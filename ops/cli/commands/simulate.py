"""`callboard simulate`: serves a simulated Octane."""

from __future__ import annotations

import argparse
import functools

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard simulate octane
  callboard simulate octane --port 51023 --width 640 --height 360 --generation alpha-5
  callboard simulate octane --passes 4 --chaos slot,stream,hang,restart --chaos-every 15
"""

# As OctaneFault names them; what that comes with is not worth loading for each command.
FAULTS = (
    "slot, stream, restart, late, hang, short, duplicate, unknown-status, refused-callbacks, shared-surface, "
    "compressed, wide, huge, held, pending"
)


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
        ("images-per-second", "how many images it announces"),
        ("passes", "render passes of its target, of which only beauty is sent until a client asks for more (1)"),
        ("devices", "how many it has (1)"),
        ("chaos-every", "seconds between faults (20)"),
        ("chaos-lasts", "seconds that a fault goes on which does not pass at once (8)"),
        ("chaos-seed", "decides the order of the faults (0)"),
    ):
        parser.setting(f"--{flag}", _variable(flag), about, "N")
    for flag, about in (
        ("hdr", "pictures of 32-bit floats, whatever a client asks for"),
        ("half", "pictures of 16-bit floats, whatever a client asks for"),
        ("mono", "grey pictures"),
        ("alpha", "a transparent sky"),
        ("pass-ids", "images say which pass they are of; Octane's own do not"),
    ):
        parser.setting(f"--{flag}", _variable(flag), about, action="store_const", const="true")
    parser.setting("--generation", _variable("generation"), "which wire it speaks: beta-2, alpha-5 or alpha-3", "NAME")
    parser.setting(
        "--save-directory", _variable("save-directory"), "where it saves images; without it nowhere", "FOLDER"
    )
    parser.setting("--chaos", _variable("chaos"), f"faults to show now and then: {FAULTS}", "FAULT,…")


def _variable(flag: str) -> str:
    return f"SIMULATOR_{flag.upper().replace('-', '_')}"


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
