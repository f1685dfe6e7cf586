"""Log redaction: removes tokens, tickets and cookies from what uvicorn logs of requests."""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"((?:^|[?&\s])(?:ticket|token|access_token)=)[^&\s\"']+", re.IGNORECASE)
_HEADER = re.compile(r"((?:authorization|cookie|sec-websocket-protocol)['\"]?\s*[:,]\s*).+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with credentials replaced by `***`."""
    return _HEADER.sub(r"\1***", _QUERY.sub(r"\1***", text))


class RedactionFilter(logging.Filter):
    """Redacts log records: uvicorn logs the URL of each WebSocket and, at debug level, the headers of its handshake."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        redacted = redact(text)
        if redacted != text:
            record.msg, record.args = redacted, None
        return True


_FILTER = RedactionFilter()


def install_log_redaction() -> None:
    """Adds the filter to uvicorn's loggers; idempotent."""
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(_FILTER)
