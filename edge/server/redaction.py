"""This file is where what nobody may read in a log is taken out of it: tokens, tickets, cookies."""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"((?:^|[?&\s])(?:ticket|token|access_token)=)[^&\s\"']+", re.IGNORECASE)
_HEADER = re.compile(r"((?:authorization|cookie|sec-websocket-protocol)['\"]?\s*[:,]\s*).+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without what proves who asks."""
    return _HEADER.sub(r"\1***", _QUERY.sub(r"\1***", text))


class RedactionFilter(logging.Filter):
    """Rewrites records: uvicorn logs the address of each WebSocket, and the headers of its handshake where it debugs."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        shown = redact(said)
        if shown != said:
            record.msg, record.args = shown, None
        return True


_FILTER = RedactionFilter()


def install_log_redaction() -> None:
    """Keeps uvicorn's loggers from saying more than they should. Harmless the second time."""
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(_FILTER)
