"""Reads a plain request that publishes events, and writes its answer.

As in `edge.transports.fast.head`, only the plain case is read: one whole request in one packet, with a body of a known length and no
header twice, of a client that keeps its connection. Nothing is refused here: uvicorn's protocol and the application read again
what is not plain.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from edge.errors import Problem
from edge.problem import to_response
from edge.transports.fast.head import MAX_HEAD, RawHeaders

# Each part is told from the next by its first character, so that matching takes no longer than reading.
_HEAD = re.compile(rb"POST /events HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n")
# A request with one of these is not plain: pages of other origins, traced ones, and bodies that come in another way.
_OTHERS = frozenset({"transfer-encoding", "expect", "upgrade", "traceparent", "origin"})


# Heads that were read last: a client sends the same one again and again. Those with a key for one request are not kept, nor long
# ones: half a megabyte at most.
MAX_HEADS = 256
MAX_KEPT_HEAD = 1024
# Of a length: no body is longer, and `int` refuses thousands of digits.
MAX_DIGITS = 12


class PlainRequest(NamedTuple):
    """A request as it was sent: header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


class PlainAnswer(NamedTuple):
    """An answer with a length."""

    status: int
    headers: RawHeaders
    body: bytes


class PlainExchange(Protocol):
    """Takes the answer to one plain request: one of these is called, once."""

    def answer(self, answer: PlainAnswer) -> None:
        """Sends it."""

    def await_answer(self, coming: Coroutine[Any, Any, PlainAnswer]) -> None:
        """Sends what a coroutine returns, which runs in a task of the connection."""

    def fail(self) -> None:
        """Sends status 500, after a fault that is logged."""


class _PlainHead(NamedTuple):
    """The head of a plain request, and how long it says that the body is."""

    headers: Mapping[str, str]
    length: int


_heads: dict[bytes, _PlainHead] = {}


def read_request(data: bytes, most: int = MAX_HEAD) -> PlainRequest | None:
    """Reads a whole request; None where it does not publish events, is not plain, or has a head of more than `most` bytes."""
    end = data.find(b"\r\n\r\n") + 4
    if end > most:
        return None
    text = data[:end]
    head = _heads.get(text)
    if head is None:
        head = _read_head(text)
        if head is None:
            return None
        if end <= MAX_KEPT_HEAD and "idempotency-key" not in head.headers:
            if len(_heads) >= MAX_HEADS:
                _heads.clear()
            _heads[text] = head
    if end + head.length != len(data):
        return None
    return PlainRequest(head.headers, data[end:])


def _read_head(text: bytes) -> _PlainHead | None:
    found = _HEAD.fullmatch(text)
    if found is None:
        return None
    # No other characters than those of ASCII match.
    lines = found[1].decode("ascii").split("\r\n")[:-1]
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(lines) or not _OTHERS.isdisjoint(headers):
        return None
    length = headers.get("content-length", "")
    if not length.isdigit() or len(length) > MAX_DIGITS:
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return _PlainHead(headers, int(length))


def refusal_of(problem: Problem) -> PlainAnswer:
    """The answer that refuses a request; it is not counted."""
    response = to_response(problem)
    headers = [header for header in response.raw_headers if header[0] != b"content-length"]
    return PlainAnswer(response.status_code, headers, bytes(response.body))


def lines_of_answer(answer: PlainAnswer, common: bytes, keeps: bool) -> bytes:
    """An answer as it is written; `common` are the headers of every answer as lines."""
    lines = b"".join([b"%b: %b\r\n" % header for header in answer.headers])
    return b"%b%b%bcontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINE[answer.status],
        common,
        lines,
        len(answer.body),
        b"" if keeps else b"connection: close\r\n",
        answer.body,
    )
