"""Writes messages as the commands that publish them over NATS, each in one piece."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import nats.errors

from router.limits import message_size

Outgoing = tuple[str, bytes, Mapping[str, str] | None, str]
"""A message to be sent: subject, payload, headers, and where an answer is wanted or ""."""

# Names of headers that may be sent as they are: those that this program uses, and a few of other people's.
_NAME = re.compile(r"[A-Za-z0-9-]+")
# A subject and where an answer is wanted: a space or a line's end in them would be the beginning of something else.
_ADDRESSES = re.compile(r"[!-~]+ [!-~]*")
# Bytes of a block of headers beside its lines.
_FRAME = len(b"NATS/1.0\r\n\r\n")
_plain_names: set[str] = set()
MAX_NAMES = 256


def _is_plain(headers: Mapping[str, Any], lines: str) -> bool:
    """Whether headers can be sent as they are: no name is odd, and no value begins another line."""
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        return False
    if not _plain_names.issuperset(headers):
        if not all(_NAME.fullmatch(name) for name in headers):
            return False
        if len(_plain_names) < MAX_NAMES:
            _plain_names.update(headers)
    return True


def command_of(subject: str, reply: str, payload: bytes, headers: Mapping[str, Any] | None) -> bytes | None:
    """A message as it goes over the wire; None for what nats-py has to put right first, or to refuse."""
    addresses = f"{subject} {reply}"
    if not _ADDRESSES.fullmatch(addresses):
        return None
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (addresses.encode(), len(payload), payload)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not _is_plain(headers, lines):
        return None
    block = lines.encode()
    size = len(block) + _FRAME
    return b"HPUB %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (
        addresses.encode(),
        size,
        size + len(payload),
        block,
        payload,
    )


def commands_of(messages: Sequence[Outgoing], limit: int) -> list[bytes | None]:
    """As `command_of` each. Raises MaxPayloadError where the server, which takes `limit` bytes, would not take one of them."""
    commands = [command_of(subject, reply, payload, headers) for subject, payload, headers, reply in messages]
    # A command is longer than what the server counts of it, which is not to be counted for each.
    if any(command is None or len(command) > limit for command in commands):
        for _, payload, headers, _ in messages:
            if message_size(payload, headers) > limit:
                raise nats.errors.MaxPayloadError
    return commands
