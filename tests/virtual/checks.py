"""Runs checks in the virtual machine, and reports each by name on its second serial port. Imports nothing of pytest."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Sequence

REPORT = "/dev/ttyS1"


def run_checks(checks: Sequence[Callable[[], object]]) -> None:
    """Runs all, and writes one line of JSON for each: its name, seconds, what it returned, and its traceback if it failed."""
    with open(REPORT, "w", encoding="utf-8") as report:
        for check in checks:
            began, fault, result = time.monotonic(), None, None
            try:
                result = check()
            except BaseException:  # noqa: BLE001 - not swallowed: it is reported, and the next check is run
                fault = traceback.format_exc()
            line = {
                "name": check.__name__,
                "seconds": round(time.monotonic() - began, 2),
                "result": result,
                "fault": fault,
            }
            report.write(json.dumps(line, default=str) + "\n")
            report.flush()
