"""Serves `log_level`, a command of every actor: reads or changes how much its process logs."""

from __future__ import annotations

import json
import logging

from actors.system.caller import PRINCIPAL_HEADER
from router.errors import BadInput
from router.log_levels import LEVELS, BadLevel, levels, set_level
from router.nats.service import Request

log = logging.getLogger(__name__)

ABOUT = "Says how much its process logs, or changes it until the process ends."
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "level": {"enum": list(LEVELS), "description": "Without it nothing is changed."},
            "logger": {
                "type": "string",
                "default": "root",
                "description": "Of which logger, such as actors.camera; root is all of the process.",
            },
        },
        "required": [],
        "additionalProperties": False,
    },
    separators=(",", ":"),
)


def called(request: Request) -> None:
    """Answers `{"levels": {logger: level}}`; called by the read loop, so that a busy actor answers it, too."""
    try:
        given = request.arguments()
        level, logger = given.pop("level", None), given.pop("logger", "root")
        if given:
            raise BadInput(f"unknown argument {next(iter(given))[:40]!r}; it takes level, logger")
        if level is not None:
            set_level(str(logger), str(level))
            extra = {"of": logger, "to": level, "by": request.header(PRINCIPAL_HEADER)}
            log.warning("log level changed", extra=extra)
    except (BadInput, BadLevel) as fault:
        request.refuse(400, str(fault))
    else:
        request.answer({"levels": levels()})
