from __future__ import annotations

from actors.camera.renditions.given import GivenStream
from actors.camera.sources.source import Packet
from router.rungs import Rung

RUNG = Rung("h264")
KEY = b"\x00\x00\x00\x01\x67\x42\xc0\x1e\x00\x00\x00\x00\x01\x65"


def packet(key: bool) -> Packet:
    return Packet("h264", KEY if key else b"\x00\x00\x01\x41\x00", 0.0, 64, 48, key)


def passed(stream: GivenStream, *keys: bool) -> list[bool]:
    return [stream.encoded(RUNG, packet(key)) is not None for key in keys]


def test_a_rung_begins_with_a_key_of_the_source_and_after_a_loss_with_the_next() -> None:
    stream = GivenStream()
    stream.keep_to({RUNG})

    assert passed(stream, False, True, False) == [False, True, True]
    stream.lose(RUNG)
    assert passed(stream, False, True, False) == [False, True, True]


def test_a_rung_that_nobody_watched_for_a_while_waits_for_a_key() -> None:
    stream = GivenStream()
    stream.keep_to({RUNG})
    passed(stream, True)
    stream.keep_to(set())
    stream.keep_to({RUNG})

    assert passed(stream, False, True) == [False, True]
    assert stream.has(RUNG) and not stream.has(Rung())


def test_a_packet_is_passed_as_it_is_and_named_by_the_last_sps() -> None:
    stream = GivenStream()
    first, second = stream.encoded(RUNG, packet(True)), stream.encoded(RUNG, packet(False))

    assert first is not None and second is not None
    assert (first.body, first.key, first.codec, first.given) == (KEY, True, "avc1.42c01e", True)
    assert (second.key, second.codec, second.width, second.height) == (False, "avc1.42c01e", 64, 48)
