"""This file is where log records become lines: text with the values behind it for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from ops.terminal import Paint

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}
_STYLES = {"DEBUG": "dim", "INFO": "", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


@dataclass(frozen=True)
class LogSettings:
    """How much is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


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
            # In the line itself too: whoever shows lines one by one shows the reason.
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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # These tell at INFO what we tell ourselves.
    for name in ("uvicorn", "asyncio", "aiohttp", "PIL", "nats"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def quietly(settings: LogSettings) -> None:
    """For commands that people look at: only what is serious."""
    level: Literal["debug", "warning"] = "debug" if settings.level == "debug" else "warning"
    configure(LogSettings(level, settings.format))


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
