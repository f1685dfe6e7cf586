from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.webhooks.client.answer import MAX_BODY, MAX_HEAD, BadAnswer, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n\r\n"

# What each of curl, Go, Node, requests and httpx, or at least one of them, takes for a 200 (measured for ops/adr/0031), and
# whether the connection can be used for the next request.
TAKEN: dict[str, tuple[bytes, bool]] = {
    "plain": (OK + LENGTH + b"ok", True),
    "9 kB content security policy": (OK + b"Content-Security-Policy: " + b"a" * 9000 + b"\r\n" + LENGTH + b"ok", True),
    "90 kB header": (OK + b"X-A: " + b"a" * 90_000 + b"\r\n" + LENGTH + b"ok", True),
    "250 headers": (OK + b"".join(b"X-%d: a\r\n" % n for n in range(250)) + LENGTH + b"ok", True),
    "length too long": (OK + b"Content-Length: 10\r\n\r\nok", False),
    "length too short": (OK + LENGTH + b"ok and more", False),
    "length no number": (OK + b"Content-Length: abc\r\n\r\nok", False),
    "length negative": (OK + b"Content-Length: -1\r\n\r\nok", False),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", False),
    "same length twice": (OK + b"Content-Length: 2\r\n" + LENGTH + b"ok", True),
    "length and chunked": (
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        False,
    ),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nX-T: 1\r\n\r\n", True),
    "unknown coding": (OK + b"Transfer-Encoding: gzip\r\n\r\nok", False),
    "chunks cut off": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False),
    "chunks garbage": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\n", False),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", True),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH + b"ok", True),
    "blank instead of a reason": (b"HTTP/1.1 200 \r\n" + LENGTH + b"ok", True),
    "line without a colon": (OK + b"garbage\r\n" + LENGTH + b"ok", True),
    "blank before the colon": (OK + b"X-A : b\r\n" + LENGTH + b"ok", True),
    "bytes that are no text": (OK + b"X-A: \xe4\x01\0\r\n" + LENGTH + b"ok", True),
    "folded header": (OK + b"X-A: a\r\n  b\r\n" + LENGTH + b"ok", True),
    "blank line first": (b"\r\n" + OK + LENGTH + b"ok", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + LENGTH + b"ok", False),
    "HTTP/2 on a connection of HTTP/1.1": (b"HTTP/2 200 OK\r\n" + LENGTH + b"ok", False),
    "lower case": (b"http/1.1 200 OK\r\n" + LENGTH + b"ok", True),
    "two blanks": (b"HTTP/1.1  200 OK\r\n" + LENGTH + b"ok", True),
    "many interim answers": (b"HTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\n" * 12 + OK + LENGTH + b"ok", True),
    "closing": (OK + b"Connection: keep-alive, Close\r\n" + LENGTH + b"ok", False),
    "no length": (OK + b"\r\nok", False),
}
# Heads that end before their blank line: curl and requests take them.
CUT = {
    "behind the status line": OK,
    "within a header": OK + b"X-A: b\r\nX-B",
    "behind the headers": OK + b"X-A: b\r\n",
}


def read(*pieces: bytes) -> ResponseReader:
    answer = ResponseReader()
    for piece in pieces:
        if answer.feed(piece):
            return answer
    assert answer.end()
    return answer


@pytest.mark.parametrize("name", TAKEN)
def test_a_200_is_a_200_whatever_the_rest_looks_like(name: str) -> None:
    data, reusable = TAKEN[name]

    answer = read(data)

    assert (answer.status, answer.reusable) == (200, reusable)
    assert answer.excerpt[:2] == b"ok" or name == "length negative"


@pytest.mark.parametrize("name", CUT)
def test_a_head_that_is_cut_off_behind_its_status_line_has_a_status(name: str) -> None:
    answer = read(CUT[name])

    assert (answer.status, answer.reusable) == (200, False)
    assert answer.headers.get("X-A") == (None if name == "behind the status line" else "b")


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 OK\r\n", b"\x15\x03\x01", b"HTTP/" + b"1" * 9000],
)
def test_what_has_no_status_line_is_no_answer(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        ResponseReader().feed(data)


@pytest.mark.parametrize(
    "data", [b"", b"HTT", b"HTTP/1.1 200", b"HTTP/1.1 103 Early\r\n", b"HTTP/1.1 103 Early\r\n\r\n"]
)
def test_what_ends_before_a_whole_final_status_line_is_no_answer(data: bytes) -> None:
    answer = ResponseReader()
    assert not answer.feed(data)

    assert not answer.end() and answer.status == 0


@pytest.mark.parametrize("status", [204, 304, 101])
def test_a_status_without_a_body_ends_with_its_head(status: int) -> None:
    answer = ResponseReader()

    assert answer.feed(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n" % status)
    assert (answer.status, answer.reusable) == (status, status != 101)


def test_headers_without_end_are_left_where_they_are_too_long() -> None:
    answer = ResponseReader()
    assert not answer.feed(OK + b"X-A: b\r\nX-B: ")

    fed = 0
    while not answer.feed(b"x" * 65536):
        fed += 65536

    assert fed <= MAX_HEAD and (answer.status, answer.reusable, answer.headers.get("x-a")) == (200, False, "b")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Length: 1000000000\r\n\r\n", b"x" * 4096),
        (b"\r\n", b"x" * 4096),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-T: 1\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 4096),
    ],
)
def test_no_more_than_is_needed_is_read_of_a_body(head: bytes, piece: bytes) -> None:
    answer = ResponseReader()
    fed, done = 0, answer.feed(OK + head)
    while not done:
        done = answer.feed(piece)
        fed += len(piece)

    assert fed <= 2 * MAX_BODY and (answer.status, answer.reusable) == (200, False)


def test_interim_answers_without_end_are_no_answer() -> None:
    answer = ResponseReader()
    with pytest.raises(BadAnswer):
        while not answer.feed(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100):
            pass


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([data for data, _ in TAKEN.values() if len(data) < 2000] + list(CUT.values())), st.data())
def test_an_answer_is_the_same_however_it_is_cut_into_pieces(whole: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))

    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    cut, plain = read(*pieces), read(whole)

    assert (cut.status, cut.headers, cut.excerpt) == (plain.status, plain.headers, plain.excerpt)
    # Surplus bytes that come later are the connection's to notice: see test_webhook_link.
    assert cut.reusable == plain.reusable or whole == TAKEN["length too short"][0]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12))
def test_whatever_comes_is_either_an_answer_or_none(pieces: list[bytes]) -> None:
    answer = ResponseReader()
    try:
        for piece in (OK, *pieces):
            if answer.feed(piece):
                break
    except BadAnswer:
        raise AssertionError("a whole status line had come") from None

    assert answer.end() and answer.status == 200


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12))
def test_noise_is_refused_or_waits_for_more(pieces: list[bytes]) -> None:
    answer = ResponseReader()
    try:
        for piece in pieces:
            if answer.feed(piece):
                break
    except BadAnswer:
        return

    assert answer.status == 0 or b"HTTP/" in b"".join(pieces).upper()
