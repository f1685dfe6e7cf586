"""Only a whole, plain request that publishes events is read; its answer is written as uvicorn writes it."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import Problem
from edge.transports.fast import plain_request
from edge.transports.fast.head import MAX_HEAD
from edge.transports.fast.plain_request import PlainAnswer, lines_of_answer, read_request, refusal_of

BODY = b'{"subject":"job.1.started"}'
HEADERS = {"host": "localhost", "x-a": "again"}


def request(*headers: str, line: str = "POST /events HTTP/1.1", body: bytes = BODY, length: str | None = None) -> bytes:
    lines = [line, "Host: localhost", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_plain_request_is_read_whole() -> None:
    found = read_request(
        request("Content-Type:  application/json ", "Connection: Keep-Alive", "X-A: ü".replace("ü", "u"))
    )

    assert found is not None and found.body == BODY
    assert found.headers["content-type"] == "application/json" and found.headers["host"] == "localhost"
    assert "authorization" not in found.headers


@pytest.mark.parametrize(
    "data",
    [
        request(line="GET /events HTTP/1.1"),
        request(line="POST /events/ HTTP/1.1"),
        request(line="POST /events?a=1 HTTP/1.1"),
        request(line="POST /events HTTP/1.0"),
        request(line="POST  /events HTTP/1.1"),
        request("Connection: close"),
        request("Connection: keep-alive, upgrade"),
        request("Transfer-Encoding: chunked"),
        request("Expect: 100-continue"),
        request("Upgrade: websocket"),
        request("Origin: https://board.example"),
        request("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        request("Host: other"),
        request("Content-Length: 3"),
        request("X-Odd : a"),
        request("X Odd: a"),
        request(" folded"),
        request("X-Odd: \x7f"),
        request("X-Odd: \x00"),
        request(length=str(len(BODY) + 1)),
        request(length=str(len(BODY) - 1)),
        request(length=f"+{len(BODY)}"),
        request(length="-1"),
        request(length="9" * 5000),
        request(length="0" * 5000 + str(len(BODY))),
        request(length=""),
        request() + request(),
        request()[:-1],
        request()[:20],
        request(f"X-Long: {'a' * MAX_HEAD}"),
        request().replace(b"\r\n", b"\n"),
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_uvicorn(data: bytes) -> None:
    assert read_request(data) is None


class Parsed:
    """What uvicorn's parser reads."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[str, str]] = []
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode().lower(), value.decode().strip(" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


_VALUES = st.text(' \t!~azAZ09:;,="/', max_size=20) | st.text(
    st.characters(min_codepoint=9, max_codepoint=255), max_size=8
)
_FIELDS = st.lists(st.tuples(st.text("abcXYZ-_!~09", min_size=1, max_size=12), _VALUES), max_size=4)
_PIECES = st.sampled_from(["\r\n", "\n", "\r", " ", "\t", ":", "\0", "0", "9" * 30, "Content-Length: 3", "x: y"])


@settings(max_examples=1000)
@given(_FIELDS, st.sampled_from(["", "close", "Keep-Alive", "upgrade, keep-alive"]), st.data())
def test_whatever_is_read_the_parser_reads_too_and_alike(
    fields: list[tuple[str, str]], connection: str, data: st.DataObject
) -> None:
    fields = [*fields, *([("Connection", connection)] if connection else [])]
    text = request(*(f"{name}: {value}" for name, value in fields)).decode("latin-1")
    for place, piece in data.draw(st.lists(st.tuples(st.integers(0, len(text)), _PIECES), max_size=2)):
        text = text[:place] + piece + text[place:]
    sent = text.encode("latin-1")

    found = read_request(sent)

    if found is not None:
        parsed = Parsed(sent)
        assert (parsed.parser.get_method(), parsed.url, parsed.complete) == (b"POST", b"/events", 1)
        assert parsed.parser.should_keep_alive() and parsed.body == found.body
        assert dict(parsed.headers) == found.headers and len(parsed.headers) == len(found.headers)


def test_a_head_that_is_longer_than_allowed_is_left_to_uvicorn() -> None:
    data = request()

    assert read_request(data, len(data) - len(BODY)) is not None
    assert read_request(data, len(data) - len(BODY) - 1) is None


def test_an_answer_has_its_length_and_says_where_the_connection_ends() -> None:
    answer = PlainAnswer(201, ((b"content-type", b"application/json"),), b"{}")

    assert lines_of_answer(answer, b"date: today\r\n", True) == (
        b"HTTP/1.1 201 Created\r\ndate: today\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert b"connection: close\r\n\r\n{}" in lines_of_answer(answer, b"", False)


def test_a_refusal_is_a_problem_with_its_headers() -> None:
    refused = refusal_of(Problem("rate_limited", "wait", headers={"Retry-After": "3"}))

    assert refused.status == 429 and b'"code":"rate_limited"' in refused.body
    assert dict(refused.headers) == {
        b"cache-control": b"no-store", b"retry-after": b"3", b"content-type": b"application/problem+json",
    }  # fmt: skip


def test_a_head_that_came_before_is_read_with_another_body() -> None:
    for body in (b"{}", b"[]", b"{}\r\n\r\n{}"):
        assert read_request(request("X-A: again", body=body)) == (
            {**HEADERS, "content-length": str(len(body))},
            body,
        )
    # Of the same head, a body that is cut or followed by more is no plain request.
    assert read_request(request("X-A: again", body=b"{}")[:-1]) is None
    assert read_request(request("X-A: again", body=b"{}") + b"P") is None
    assert read_request(request("X-A: again", body=b"{}"), 20) is None


def test_heads_are_kept_within_bounds_and_not_with_the_key_of_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: dict[bytes, object] = {}
    monkeypatch.setattr(plain_request, "_heads", heads)
    monkeypatch.setattr(plain_request, "MAX_HEADS", 4)

    for number in range(10):
        assert read_request(request(f"X-A: {number}")) is not None
        assert 1 <= len(heads) <= 4
    heads.clear()
    assert read_request(request("Idempotency-Key: one")) is not None
    assert read_request(request(f"X-Long: {'a' * plain_request.MAX_KEPT_HEAD}")) is not None
    assert not heads
