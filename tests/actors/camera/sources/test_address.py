"""Addresses of sources: what they name, what is wrong with a wrong one, and that none shows its secrets."""

from __future__ import annotations

import pytest

from actors.camera.sources.address import SourceAddress, shown_address


@pytest.mark.parametrize(
    ("text", "kind", "where", "options"),
    [
        ("simulated", "sim", "card", {}),
        ("sim:card?size=640x480&fps=25", "sim", "card", {"size": "640x480", "fps": "25"}),
        ("clip.mp4", "file", "clip.mp4", {}),
        ("what?.mp4", "file", "what?.mp4", {}),
        ("C:/clips/clip.mp4", "file", "C:/clips/clip.mp4", {}),
        ("file:clip.mp4?loop=no&pace=fast", "file", "clip.mp4", {"loop": "no", "pace": "fast"}),
        ("file:///srv/a%20clip%3F.mp4", "file", "/srv/a clip?.mp4", {}),
        ("file://localhost/srv/clip.mp4", "file", "/srv/clip.mp4", {}),
        ("v4l2:/dev/video0?size=1280x1024&format=mjpeg&fps=30", "v4l2", "/dev/video0", None),
        ("pixelink:776000123", "pixelink", "776000123", {}),
        ("RTSP://u:p%40w@cam.local:554/one?q=1", "rtsp", "rtsp://u:p%40w@cam.local:554/one?q=1", {}),
        ("rtsp://cam/one?transport=udp&q=1", "rtsp", "rtsp://cam/one?q=1", {"transport": "udp"}),
        ("https://cam/mjpg?res=1,2", "http", "https://cam/mjpg?res=1,2", {}),
        ("https://cam/mjpg?a=1&tls_ca=/srv/ca.pem", "http", "https://cam/mjpg?a=1", {"tls_ca": "/srv/ca.pem"}),
        ("rtsps://cam/one?tls_verify=no", "rtsp", "rtsps://cam/one", {"tls_verify": "no"}),
    ],
)
def test_an_address_says_kind_place_and_options(
    text: str, kind: str, where: str, options: dict[str, str] | None
) -> None:
    address = SourceAddress.parse(text)

    assert (address.kind, address.where) == (kind, where)
    if options is not None:
        assert address.options == options


def test_size_and_rate_are_read() -> None:
    address = SourceAddress.parse("v4l2:/dev/video0?size=1280x1024&fps=29.97")

    assert (address.size, address.fps) == ((1280, 1024), 29.97)
    assert SourceAddress.parse("simulated").size is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be one of sim:card"),
        ("clip.mp4\nclip.mp4", "must be one line"),
        ("rtmp://cam/one", "rtmp: is of no known kind; there are sim:card"),
        ("sim:cat", "needs a card"),
        ("sim:card?size=10x10", "size must lie between 320x240"),
        ("sim:card?size=wide", "size must be WIDTHxHEIGHT"),
        ("sim:card?colour=red", "has no option 'colour'; there are size, fps"),
        ("sim:card?fps=0", "fps must be a number"),
        ("file:?loop=no", "needs a path"),
        ("file:clip.mp4?loop=maybe", "loop must be yes or no, not 'maybe'"),
        ("file:clip.mp4?loop=no&loop=yes", "says loop twice"),
        ("file:clip.mp4?pace=slow", "pace must be real or fast"),
        ("v4l2:video0", "needs the path of a device"),
        ("v4l2:/dev/video0?format=a.b", "format must be a pixel format"),
        ("pixelink:", "needs the serial number"),
        ("rtsp:cam", "needs a host"),
        ("rtsp://", "needs a host"),
        ("rtsp://cam:70000/one", "needs a host and perhaps a port"),
        ("rtsp://u:hush@cam/one?transport=carrier", "transport must be tcp or udp"),
        ("rtsp://u:hu/sh@cam/one", "escaped, as %2F"),
        ("rtsp://u:hu@sh@cam/one", "escaped, as %2F"),
        ("http://u:hush@/one", "needs a host"),
        ("http://u:hush@cam/one?tls_verify=no", "http: has no tls_verify, which is for https://"),
        ("rtsps://u:hush@cam/one?tls_verify=perhaps", "tls_verify must be yes or no"),
        ("rtsps://u:hush@cam/one?tls_ca=ca.pem", "tls_ca must be the whole path"),
        ("rtsps://u:hush@cam/one?tls_ca=/ca.pem&tls_verify=no", "not both"),
        ("rtsps://u:hush@cam/one?transport=udp", "transport must be tcp"),
    ],
)
def test_a_wrong_address_is_told_in_one_line_without_secrets(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^source ") as refused:
        SourceAddress.parse(text)

    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "hu" not in str(refused.value)


SECRET = "rtsp://admin:hush@cam.local:8554/user=admin_password=hush2?token=hush3&transport=tcp"


def test_what_may_be_told_of_an_address_has_no_password_no_query_and_no_folder() -> None:
    assert SourceAddress.parse(SECRET).about() == {"source": "rtsp", "simulated": False, "host": "cam.local:8554"}
    assert SourceAddress.parse("http://u:hush@[::1]/x").about()["host"] == "[::1]"
    assert SourceAddress.parse("/home/somebody/film.mp4").about() == {
        "source": "file",
        "simulated": False,
        "file": "film.mp4",
    }
    assert SourceAddress.parse("simulated").about() == {"source": "simulated", "simulated": True}
    assert SourceAddress.parse("v4l2:/dev/video0").about() == {
        "source": "v4l2",
        "simulated": False,
        "device": "video0",
    }
    assert "hush" not in repr(SourceAddress.parse(SECRET))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SECRET, "rtsp://***@cam.local:8554/…"),
        ("rtsp://u:hu/s?h@cam/", "rtsp://***@cam"),
        ("door=http://cam/video?password=hush", "door=http://cam/…"),
        ("file:clip.mp4?loop=no", "file:clip.mp4?loop=no"),
        ("simulated", "simulated"),
    ],
)
def test_an_address_is_shown_without_secrets_also_when_it_is_wrong(text: str, shown: str) -> None:
    assert shown_address(text) == shown
