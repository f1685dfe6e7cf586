"""The frame parser: any split of the bytes gives the same messages, and whatever a client sends is taken or refused."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from edge.transports import frames
from edge.transports.frames import BadFrame, FrameParser, close_code, close_frame, frame


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = b"\x11\x22\x33\x44") -> bytes:
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def parse(*pieces: bytes) -> tuple[list[tuple[int, bytes]], int | None]:
    """The messages, and the code with which the client is cut off."""
    parser = FrameParser()
    found: list[tuple[int, bytes]] = []
    try:
        for piece in pieces:
            for message in parser.feed(piece):
                found.append(message)  # noqa: PERF402 - what came before the fault is kept
    except BadFrame as fault:
        return found, fault.code
    return found, None


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([0, 1, 124, 125, 126, 127, 65535, 65536]).map(lambda n: b"x" * n),
)
TEXTS = st.text(max_size=30).map(str.encode)
CONTROLS = st.tuples(st.sampled_from([frames.PING, frames.PONG]), st.binary(max_size=125))


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[tuple[int, bytes]], bytes]:
    """Messages and the bytes a client sends them in: fragmented at will, control frames in between."""
    sent: list[tuple[int, bytes]] = []
    data = b""
    for _ in range(draw(st.integers(0, 5))):
        opcode = draw(st.sampled_from([frames.TEXT, frames.BINARY]))
        payload = draw(TEXTS if opcode == frames.TEXT else PAYLOADS)
        parts = split(payload, draw(st.lists(st.integers(0, 1000), max_size=3))) or [b""]
        for place, part in enumerate(parts):
            if draw(st.booleans()):
                control = draw(CONTROLS)
                sent.append(control)
                data += client_frame(*control)
            mask = draw(st.binary(min_size=4, max_size=4))
            data += client_frame(opcode if place == 0 else 0, part, fin=place == len(parts) - 1, mask=mask)
        sent.append((opcode, payload))
    return sent, data


@given(messages(), st.lists(st.integers(0, 10**6), max_size=12))
def test_any_split_gives_the_same_messages(given: tuple[list[tuple[int, bytes]], bytes], cuts: list[int]) -> None:
    sent, data = given
    if any(opcode < frames.CLOSE and len(payload) > frames.MAX_MESSAGE for opcode, payload in sent):
        assert parse(data)[1] == 1009
    else:
        assert parse(*split(data, cuts)) == (sent, None)


@given(messages(), st.binary(max_size=40), st.lists(st.integers(0, 10**6), max_size=12))
def test_nonsense_is_refused_at_the_same_place_however_it_arrives(
    given: tuple[list[tuple[int, bytes]], bytes], nonsense: bytes, cuts: list[int]
) -> None:
    data = given[1] + nonsense
    found, code = parse(data)

    assert parse(*split(data, cuts)) == (found, code)
    assert code in (None, 1002, 1007, 1009)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_break_the_parser_and_little_is_kept(pieces: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for piece in pieces:
            for opcode, payload in parser.feed(piece):
                assert opcode in (1, 2, 8, 9, 10) and len(payload) <= frames.MAX_MESSAGE
    except BadFrame as fault:
        assert fault.code in (1002, 1007, 1009)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_payload_is_unmasked_as_another_library_masks_it(payload: bytes, mask: bytes) -> None:
    whole = Frame(Opcode.BINARY, payload).serialize(mask=True)

    assert parse(whole) == ([(frames.BINARY, payload)], None)
    assert parse(client_frame(frames.BINARY, payload, mask=mask)) == ([(frames.BINARY, payload)], None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_server_s_frame_is_what_another_library_would_send(size: int) -> None:
    payload = b"a" * size

    assert frame(frames.TEXT, payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_a_close_frame_carries_its_code_and_as_much_of_the_reason_as_fits() -> None:
    made = close_frame(4008, "ü" * 100)

    assert len(made) <= 2 + frames.MAX_CONTROL
    assert Close.parse(made[2:]).code == 4008
    assert Close.parse(made[2:]).reason == "ü" * 61


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (client_frame(frames.TEXT, b"\xff"), 1007),
        (client_frame(frames.TEXT, "é".encode()[:1], fin=False) + client_frame(0, b"x"), 1007),
        (client_frame(frames.BINARY, b"\xff"), None),
        (bytes([0x81, 0x01, 0x41]), 1002),  # not masked
        (bytes([0xC1, 0x80, 0, 0, 0, 0]), 1002),  # RSV1
        (bytes([0xA1, 0x80, 0, 0, 0, 0]), 1002),  # RSV2
        (bytes([0x91, 0x80, 0, 0, 0, 0]), 1002),  # RSV3
        *((client_frame(opcode), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (client_frame(0, b"x"), 1002),  # nothing to continue
        (client_frame(1, b"x", fin=False) + client_frame(1, b"y"), 1002),
        (client_frame(frames.PING, b"", fin=False), 1002),
        (client_frame(frames.PING, b"x" * 126), 1002),
        (client_frame(frames.PING, b"x" * 125), None),
        (bytes([0x82, 0xFE, 0, 5]) + b"mask" + b"x" * 5, 1002),  # not the shortest length
        (bytes([0x82, 0xFF]) + (5).to_bytes(8, "big") + b"mask" + b"x" * 5, 1002),
        (bytes([0x82, 0xFF]) + (1 << 63).to_bytes(8, "big") + b"mask", 1002),
        (client_frame(frames.BINARY, b"x" * 65536), None),
        (client_frame(frames.BINARY, b"x" * 65537)[:20], 1009),  # before it has come
        (client_frame(1, b"x" * 40000, fin=False) + client_frame(0, b"x" * 30000), 1009),
        (client_frame(1, b"", fin=False) * 1 + client_frame(0, b"", fin=False) * 1000 + client_frame(0, b""), None),
    ],
)
def test_the_rfc_s_rules_are_kept(sent: bytes, code: int | None) -> None:
    assert parse(sent)[1] == code
    assert parse(*(sent[at : at + 1] for at in range(len(sent))))[1] == code


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", None),
        ((1000).to_bytes(2, "big"), 1000),
        ((4999).to_bytes(2, "big") + b"bye", 4999),
        ((3000).to_bytes(2, "big"), 3000),
    ],
)
def test_a_client_s_close_code_is_read(payload: bytes, code: int | None) -> None:
    assert close_code(payload) == code


@pytest.mark.parametrize(
    "payload",
    [b"\x03", *(code.to_bytes(2, "big") for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535))],
)  # fmt: skip
def test_a_close_code_that_may_not_be_sent_is_refused(payload: bytes) -> None:
    with pytest.raises(BadFrame) as refused:
        close_code(payload)
    assert refused.value.code == 1002


def test_a_close_reason_must_be_text() -> None:
    with pytest.raises(BadFrame) as refused:
        close_code((1000).to_bytes(2, "big") + b"\xff")
    assert refused.value.code == 1007


def test_a_parser_with_nothing_half_said_is_idle() -> None:
    parser = FrameParser()
    assert list(parser.feed(client_frame(1, b"hello"))) == [(1, b"hello")] and parser.idle
    assert list(parser.feed(client_frame(1, b"hello", fin=False))) == [] and not parser.idle
    assert list(parser.feed(client_frame(0, b"")[:3])) == [] and not parser.idle


@given(st.lists(st.binary(max_size=300), max_size=4), st.lists(st.integers(0, 3000), max_size=6), st.booleans())
def test_compressed_messages_come_out_as_they_were(payloads: list[bytes], cuts: list[int], fragmented: bool) -> None:
    data = b""
    for payload in payloads:
        press = zlib.compressobj(wbits=-15)
        pressed = (press.compress(payload) + press.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
        half = len(pressed) // 2 if fragmented else len(pressed)
        first = client_frame(frames.BINARY, pressed[:half], fin=not fragmented)
        data += bytes([first[0] | 0x40]) + first[1:]
        if fragmented:
            data += client_frame(frames.PING) + client_frame(frames.CONTINUATION, pressed[half:])
    parser = FrameParser(inflates=True)
    found = [message for piece in split(data, cuts) for message in parser.feed(piece)]
    assert [payload for opcode, payload in found if opcode == frames.BINARY] == payloads
    assert parser.idle


@given(st.lists(st.binary(max_size=100), max_size=6))
def test_no_compressed_bytes_break_the_parser(pieces: list[bytes]) -> None:
    parser = FrameParser(inflates=True)
    try:
        for piece in pieces:
            data = client_frame(frames.TEXT, piece)
            for _ in parser.feed(bytes([data[0] | 0x40]) + data[1:]):
                pass
    except BadFrame as fault:
        assert fault.code in (1002, 1007, 1009)


@pytest.mark.parametrize("size", [100, 1024, 5000, 200_000])
def test_a_compressed_frame_is_read_by_another_library(size: int) -> None:
    payload = (b'{"word":"' + b"abcdefgh" * (size // 8) + b'"}')[:size]
    made = frames.deflated(frames.TEXT, payload)
    reader = StreamReader()
    reader.feed_data(made)
    extension = PerMessageDeflate(True, True, 15, 15)
    parsing = Frame.parse(reader.read_exact, mask=False, max_size=None, extensions=[extension])
    with pytest.raises(StopIteration) as done:
        while True:
            next(parsing)
    assert done.value.value.data == payload
    assert (len(made) < size) == (1024 <= size <= 128 * 1024)
