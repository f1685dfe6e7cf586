"""`callboard health`: asks a process whether it is ready."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load


def declare(parser: Parser) -> None:
    """Adds the arguments."""


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.health import run_health

    return run_health(load(given, "edge"))


COMMAND = Command("Says whether the process on this machine is ready; exits 1 where it is not.", declare, run)
