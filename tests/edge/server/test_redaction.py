"""Tests that credentials are removed from log records, and nothing else is."""

from __future__ import annotations

import logging

import pytest

from edge.server.redaction import RedactionFilter, install_log_redaction, redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('"WebSocket /callbacks/sessions/s/ws?ticket=abc" [accepted]', '"WebSocket /callbacks/sessions/s/ws?ticket=***" [accepted]'),
        ("/stats?x=1&token=abc&y=2", "/stats?x=1&token=***&y=2"),
        ("/stats?Access_Token=abc", "/stats?Access_Token=***"),
        ("< Authorization: Bearer abc", "< Authorization: ***"),
        ("cookie: callboard_pass=abc; other=1", "cookie: ***"),
        ("('sec-websocket-protocol', 'callboard.v1, bearer.abc')", "('sec-websocket-protocol', ***"),
        ("/cameras/main/ws?cursor=1-0-0", "/cameras/main/ws?cursor=1-0-0"),
    ],
)  # fmt: skip
def test_credentials_are_replaced(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_a_record_is_redacted_with_its_arguments() -> None:
    record = logging.LogRecord(
        "uvicorn.error", logging.INFO, "", 1, '%s - "WebSocket %s"', ("1.2.3.4", "/ws?token=abc"), None
    )

    assert RedactionFilter().filter(record)

    assert record.getMessage() == '1.2.3.4 - "WebSocket /ws?token=***"'


def test_a_record_without_credentials_keeps_its_arguments() -> None:
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 1, "%s closed", ("1.2.3.4",), None)

    RedactionFilter().filter(record)

    assert (record.msg, record.args) == ("%s closed", ("1.2.3.4",))


def test_it_is_installed_once_however_often_it_is_asked_for() -> None:
    install_log_redaction()
    install_log_redaction()

    for name in ("uvicorn.error", "uvicorn.access"):
        assert len([each for each in logging.getLogger(name).filters if isinstance(each, RedactionFilter)]) == 1
