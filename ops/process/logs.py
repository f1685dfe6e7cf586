"""Formats log records as lines: text with the values behind it for people, JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from typing import Any, Literal, TextIO

from ops.sections import LogSettings
from ops.terminal import Paint
from router.tracing import bound

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}
_STYLES = {"DEBUG": "dim", "INFO": "", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


# These log at INFO what Callboard logs itself.
_TALKATIVE = ("uvicorn", "asyncio", "aiohttp", "PIL", "nats")
# Texts are constant, so there are few; past this all counts are reset.
MOST_TEXTS = 1000


class RepeatLimit(logging.Filter):
    """Rate-limits each log text with a token bucket; the next line says how many were left out."""

    def __init__(self, burst: int, per_second: float) -> None:
        super().__init__()
        self._burst = float(burst)
        self._rate = per_second
        # By logger and text: the tokens left, when they were counted, and how many lines were left out.
        self._left: dict[tuple[str, str], tuple[float, float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if self._burst <= 0:
            return True
        key = (record.name, str(record.msg))
        now = record.created
        left, since, silent = self._left.get(key, (self._burst, now, 0))
        left = min(self._burst, left + max(0.0, now - since) * self._rate)
        if left < 1:
            self._left[key] = (left, now, silent + 1)
            return False
        if key not in self._left and len(self._left) >= MOST_TEXTS:
            self._left.clear()
        self._left[key] = (left - 1, now, 0)
        if silent:
            record.left_out = silent
        return True


class BoundIds(logging.Filter):
    """Adds what the work in hand is bound to: the ids of its event, its session and its trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in bound().items():
            if value and not hasattr(record, name):
                setattr(record, name, value)
        return True


class TextLines(logging.Formatter):
    """Writes `03:42:07 warning actors.camera.actor: the source is silent seconds=3`."""

    def __init__(self, paint: Paint) -> None:
        super().__init__()
        self.paint = paint

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        values = "".join(f" {name}={_short(value)}" for name, value in _extra(record).items())
        line = (
            f"{self.paint(clock, 'dim')} {self.paint(level, _STYLES.get(record.levelname, ''))} "
            f"{self.paint(record.name + ':', 'dim')} {record.getMessage()}{self.paint(values, 'cyan')}"
        )
        if record.exc_info and record.exc_info[0]:
            # In the line itself too: a viewer that shows single lines shows the reason.
            why = f" ({record.exc_info[0].__name__}: {record.exc_info[1]})".replace("\n", " ")
            line += why + "\n" + self.formatException(record.exc_info)
        return line


class JsonLines(logging.Formatter):
    """Writes one JSON object a line, the values as members of their own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Sends the logs of this process to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextLines(Paint.of(stream)))
    handler.addFilter(RepeatLimit(settings.burst, settings.per_second))
    handler.addFilter(BoundIds())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def configure_quiet(settings: LogSettings) -> None:
    """Sets up logging for commands that people look at: only warnings and errors."""
    level: Literal["debug", "warning"] = "debug" if settings.level == "debug" else "warning"
    configure(dataclasses.replace(settings, level=level))


def level_of(line: str) -> str | None:
    """Reads the level of a line that some process of ours logged; None for a line that is no record (a traceback)."""
    if line.startswith('{"time"'):
        try:
            return str(json.loads(line).get("level", "info"))
        except ValueError:
            return None
    parts = line.split(" ", 2)
    if len(parts) == 3 and len(parts[0]) == 8 and parts[0][2] == ":" and parts[0][5] == ":":
        return parts[1]
    return None


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "\n') else text
