"""A message is one command, as the protocol has it; what would be read as something else is left to nats-py."""

from __future__ import annotations

import pytest

from router.nats import commands
from router.nats.commands import MAX_NAMES, command_of


def test_a_message_is_a_pub_and_one_with_headers_an_hpub() -> None:
    assert command_of("ev.a.b.c", "", b"data", None) == b"PUB ev.a.b.c  4\r\ndata\r\n"
    assert command_of("ev.a.b.c", "_INBOX.1", b"", {}) == b"PUB ev.a.b.c _INBOX.1 0\r\n\r\n"
    headed = command_of("ev.a.b.c", "_INBOX.1", b"data", {"Nats-Msg-Id": "7"})
    assert headed == b"HPUB ev.a.b.c _INBOX.1 28 32\r\nNATS/1.0\r\nNats-Msg-Id: 7\r\n\r\ndata\r\n"


@pytest.mark.parametrize(
    ("subject", "reply", "headers"),
    [
        ("a b", "", None),
        ("a\r\nPUB b", "", None),
        ("", "", None),
        ("a", "b c", None),
        ("", "b", None),
        ("a", "b\n", None),
        ("a b", "c", {"A": "b"}),
        ("a", "", {"A": "b\r\nC: d"}),
        ("a", "", {"A": "b\n"}),
        ("a", "", {"A b": "c"}),
        ("a", "", {"": "c"}),
    ],
)
def test_what_would_begin_another_line_or_word_is_no_command(
    subject: str, reply: str, headers: dict[str, str] | None
) -> None:
    assert command_of(subject, reply, b"", headers) is None


def test_the_names_of_headers_that_are_remembered_are_bounded() -> None:
    for number in range(MAX_NAMES * 2):
        assert command_of("a", "", b"", {f"X-{number}": "v"})

    assert len(commands._plain_names) <= MAX_NAMES
