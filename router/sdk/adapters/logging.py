"""Emits log records: `logging.getLogger().addHandler(RunLogHandler())`, and `with reporting_to(run):` around what logs.

Records up to WARNING become `output` of the stream `log`, those from ERROR on `error`. Records of the SDK itself are passed over,
so that what is logged about an event makes no event.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from router.sdk.adapters.context import current_port, reporting_to
from router.sdk.adapters.port import RunPort
from router.sdk.run import Run
from router.sdk.sync import SyncRun

__all__ = ["RunLogHandler", "reporting_to"]

# What the SDK logs, and what it is made of.
_OURS = ("router", "nats")
# 8,000 characters of a record: what is longer is a dump, which belongs in a file.
MAX_CHARACTERS = 8_000


class RunLogHandler(logging.Handler):
    """Reports each record to the run of its context, or all to one run; set a formatter as for any handler."""

    def __init__(self, run: Run | SyncRun | None = None, level: int | str = logging.INFO) -> None:
        super().__init__(level)
        self._port = RunPort(run) if run else None
        self._reporting = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        port = self._port or current_port()
        if port is None or record.name.partition(".")[0] in _OURS or getattr(self._reporting, "active", False):
            return
        self._reporting.active = True
        try:
            self._report(port, record)
        except Exception:  # noqa: BLE001 - as logging.Handler has it: what a record's arguments raise is printed
            self.handleError(record)
        finally:
            self._reporting.active = False

    def _report(self, port: RunPort, record: logging.LogRecord) -> None:
        more: dict[str, Any] = {"level": record.levelname.lower(), "logger": record.name}
        if record.levelno >= logging.ERROR:
            fault = record.exc_info[1] if record.exc_info else None
            kind = type(fault).__name__ if fault is not None else "log"
            text = record.getMessage()[:MAX_CHARACTERS]
            if fault is not None:
                more["traceback"] = self.format(record)[-MAX_CHARACTERS:]
            port.error(text, error_type=kind, **more)
        else:
            port.log(self.format(record)[:MAX_CHARACTERS], "log", **more)
