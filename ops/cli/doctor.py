"""Runs all checks and prints what they find and how to mend it: what `callboard doctor` does.

A check never raises: every result, also that it could not be run, is a Finding.
"""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict

from ops.cli.checks.edge import examine_edge
from ops.cli.checks.findings import FAIL, INFO, OK, WARN, CheckResult
from ops.cli.checks.machine import examine_machine, examine_programs
from ops.cli.checks.nats import examine_nats
from ops.cli.interruptible import run_interruptibly
from ops.settings import Settings
from ops.terminal import Paint

_STYLES = {OK: "green", WARN: "yellow", FAIL: "red", INFO: "dim"}


def run_doctor(settings: Settings, *, json: bool) -> int:
    """Prints every finding; exit code 1 where one of them is a failure."""
    findings = run_interruptibly(_examine(settings, show=not json))
    failed = any(finding.verdict == FAIL for finding in findings)
    if json:
        print(jsonlib.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 1 if failed else 0


async def _examine(settings: Settings, show: bool) -> list[CheckResult]:
    paint = Paint.of(sys.stdout)
    findings: list[CheckResult] = []
    # Closed here and not by the garbage collector: the reader of our output may close the pipe at any finding.
    async with aclosing(examine(settings)) as found:
        async for finding in found:
            findings.append(finding)
            if show:
                mark = paint(f"{finding.verdict:<4}", _STYLES[finding.verdict])
                mend = f"\n{' ' * 22}{paint('→ ' + finding.mend, 'yellow')}" if finding.mend else ""
                print(f"{mark}  {finding.check:<14}  {finding.found}{mend}", flush=True)
    return findings


async def examine(settings: Settings) -> AsyncGenerator[CheckResult, None]:
    """Looks at everything, the nearest first."""
    for finding in examine_machine(settings):
        yield finding
    for examined in (examine_nats(settings), examine_edge(settings)):
        async with aclosing(examined) as found:
            async for finding in found:
                yield finding
    for finding in examine_programs():
        yield finding
