"""Reads and changes how much the loggers of this process say, while it runs."""

from __future__ import annotations

import logging
import re

from router.errors import RouterError

LEVELS = ("debug", "info", "warning", "error")
# The loggers whose level may be set: ours, and those of our libraries. Any other name is a typing mistake.
_LOGGER = re.compile(
    r"(root|callback_manager|((actors|edge|ops|router|aiohttp|asyncio|nats|uvicorn)(\.[a-z_0-9]+)*))\Z"
)


class BadLevel(RouterError, ValueError):
    """a log level is debug, info, warning or error, and a logger one of ours, such as edge.hub"""


def set_level(logger: str, level: str) -> None:
    """Changes how much a logger and those below it say. Raises BadLevel."""
    if level not in LEVELS or not _LOGGER.match(logger):
        raise BadLevel
    logging.getLogger(None if logger == "root" else logger).setLevel(level.upper())


def levels() -> dict[str, str]:
    """Says which loggers have a level of their own, and the root's."""
    found = {"root": logging.getLogger().level}
    for name, logger in sorted(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level and _LOGGER.match(name):
            found[name] = logger.level
    return {name: logging.getLevelName(level).lower() for name, level in found.items()}
