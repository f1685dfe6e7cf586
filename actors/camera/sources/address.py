"""Reads the address of a camera's source: `sim:card?size=640x480`, `file:clip.mp4?loop=no`, `rtsp://…`, `v4l2:/dev/video0`, ….

An address may hold a password. Only `about` and `shown_address` are for events, logs, errors and pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

SIMULATED = "simulated"

# The smallest card on which the strip and the time still fit, the largest that anybody shows.
MIN_WIDTH, MIN_HEIGHT = 320, 240
MAX_WIDTH, MAX_HEIGHT = 7680, 4320
# What a device may be asked for; what it takes is its own matter.
_MAX_SIDE, _MAX_FPS = 65535, 1000.0

KINDS = "sim:card, file:PATH, rtsp://…, http(s)://…, v4l2:/dev/video0 and pixelink:SERIAL"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # one letter and a colon are a drive of Windows
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SourceSettings(Protocol):
    """What a source may ask of the camera's settings beside its own address."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def silence(self) -> float:
        """Seconds without a picture after which the source is opened anew."""


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """An address that was read and checked.

    `kind` is "sim", "file", "rtsp", "http", "v4l2" or "pixelink". `where` is the card, the path, the whole URL (with its
    password, without our options), the device or the serial number. `options` are those that were given, as text.
    """

    kind: str
    where: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> SourceAddress:
        """Reads an address or the bare path of a video file; raises ValueError with one line, without secrets."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"source must be one of {KINDS}, or the path of a video file")
        text = text.strip()
        if _CONTROL.search(text):
            raise ValueError("source must be one line without control characters")
        if text == SIMULATED:
            return cls("sim", "card")
        found = _SCHEME.match(text)
        if not found:
            return cls("file", text)
        scheme = found[1].lower()
        reader = _READERS.get(scheme)
        if reader is None:
            raise ValueError(f"source {scheme}: is of no known kind; there are {KINDS}; a file of that name is file:…")
        kind, where, options = reader(text[found.end() :], scheme)
        _check_options(kind, options)
        return cls(kind, where, options)

    @property
    def simulated(self) -> bool:
        """Whether the pictures show nothing real."""
        return self.kind == "sim"

    @property
    def size(self) -> tuple[int, int] | None:
        """The size that the option `size` asks for."""
        return _size(self.options["size"]) if "size" in self.options else None

    @property
    def fps(self) -> float | None:
        """The rate that the option `fps` asks for."""
        return _rate(self.options["fps"]) if "fps" in self.options else None

    def about(self) -> dict[str, Any]:
        """Describes the source for events and pages: no password, no path of a URL, no folder."""
        match self.kind:
            case "sim":
                return {"source": SIMULATED, "simulated": True}
            case "file":
                return {"source": "file", "simulated": False, "file": PurePath(self.where).name}
            case "rtsp" | "http":
                return {"source": self.kind, "simulated": False, "host": _host(urlsplit(self.where))}
            case "v4l2":
                return {"source": "v4l2", "simulated": False, "device": PurePath(self.where).name}
        return {"source": self.kind, "simulated": False, "serial": self.where}


def shown_address(text: str) -> str:
    """Writes an address, also a wrong one, without anything that may be secret: a URL keeps its scheme and host."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return text
    # Up to the last @: what is before it may be a password that was not escaped.
    behind = rest.rpartition("@")[2] if "@" in rest else rest
    host = re.split(r"[/?#]", behind, maxsplit=1)[0]
    login = "***@" if "@" in rest else ""
    return f"{scheme}://{login}{host}{'/…' if len(behind) > len(host) + 1 else ''}"


_Read = tuple[str, str, dict[str, str]]


def _sim(rest: str, scheme: str) -> _Read:
    where, options = _split_options(rest)
    if where != "card":
        raise ValueError("source sim: needs a card, as in sim:card?size=1280x720")
    return "sim", where, options


def _file(rest: str, scheme: str) -> _Read:
    where, options = _split_options(rest)
    where = unquote(where.removeprefix("//localhost") if where.startswith("//localhost/") else where)
    # file:///srv/clip.mp4 is /srv/clip.mp4.
    where = where.removeprefix("//") if where.startswith("///") else where
    if not where or where.startswith("//"):
        raise ValueError("source file: needs a path, as in file:clip.mp4 or file:///srv/clip.mp4")
    return "file", where, options


def _device(rest: str, scheme: str) -> _Read:
    where, options = _split_options(rest)
    if not where.startswith("/"):
        raise ValueError("source v4l2: needs the path of a device, as in v4l2:/dev/video0")
    return "v4l2", unquote(where), options


def _serial(rest: str, scheme: str) -> _Read:
    where, options = _split_options(rest)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", where):
        raise ValueError("source pixelink: needs the serial number of a camera, as in pixelink:776000123")
    return "pixelink", where, options


def _url(rest: str, scheme: str) -> _Read:
    kind = "rtsp" if scheme in ("rtsp", "rtsps") else "http"
    example = f"{scheme}://user:password@camera.local/stream"
    # One @ at most, before the first / or ?: else a part of the password would be taken for the host, and shown as one.
    if rest.count("@") > re.split("[/?]", rest.removeprefix("//"), maxsplit=1)[0].count("@") or rest.count("@") > 1:
        raise ValueError(f"source {scheme}: needs /, ? and @ in a password or a path escaped, as %2F, %3F and %40")
    try:
        url = urlsplit(f"{scheme}:{rest}")
        named = bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        named = False
    else:
        named = named and not re.search(r"\s", rest)
    if not named or not rest.startswith("//"):
        raise ValueError(f"source {scheme}: needs a host and perhaps a port, as in {example}")
    own, others = {}, []
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name in _OPTIONS[kind]:
            own[name] = value
        else:
            others.append((name, value))
    # Without options of ours the query stays as it was written, since a camera may be particular about it.
    query = urlencode(others) if own else url.query
    _check_tls(scheme, own)
    return kind, url._replace(scheme=scheme, query=query, fragment="").geturl(), own


def _check_tls(scheme: str, options: Mapping[str, str]) -> None:
    if scheme not in ("rtsps", "https"):
        if found := next((name for name in _TLS if name in options), None):
            raise ValueError(f"source {scheme}: has no {found}, which is for {scheme}s://")
    elif options.get("transport") == "udp":
        raise ValueError("source rtsps: sends its pictures inside the connection; transport must be tcp")
    elif "tls_ca" in options and options.get("tls_verify") == "no":
        raise ValueError(f"source {scheme}: needs tls_ca or tls_verify=no, not both")


_READERS: Mapping[str, Callable[[str, str], _Read]] = {
    "sim": _sim,
    "file": _file,
    "v4l2": _device,
    "pixelink": _serial,
    **dict.fromkeys(("rtsp", "rtsps", "http", "https"), _url),
}


def _split_options(rest: str) -> tuple[str, dict[str, str]]:
    where, _, query = rest.partition("?")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise ValueError(f"source says {name[:40]} twice")
        options[name] = value
    return where, options


def _host(url: SplitResult) -> str:
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else str(url.hostname)
    return host if url.port is None else f"{host}:{url.port}"


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if not found or not (0 < int(found[1]) <= _MAX_SIDE and 0 < int(found[2]) <= _MAX_SIDE):
        raise ValueError("must be WIDTHxHEIGHT, as in 1280x720")
    return int(found[1]), int(found[2])


def _card_size(text: str) -> None:
    width, height = _size(text)
    if not (MIN_WIDTH <= width <= MAX_WIDTH and MIN_HEIGHT <= height <= MAX_HEIGHT):
        raise ValueError(f"must lie between {MIN_WIDTH}x{MIN_HEIGHT} and {MAX_WIDTH}x{MAX_HEIGHT}")


def _rate(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text) or not 0 < float(text) <= _MAX_FPS:
        raise ValueError(f"must be a number of pictures a second, up to {_MAX_FPS:g}")
    return float(text)


def _one_of(*words: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if text not in words:
            raise ValueError(f"must be {' or '.join(words)}")

    return check


def _format(text: str) -> None:
    # Whether the device has it is known when it is open, and then said with those that it has.
    if not re.fullmatch(r"[a-z0-9]{3,5}", text):
        raise ValueError("must be a pixel format, as mjpeg, h264, yuyv, nv12, rgb24 or grey")


def _input(text: str) -> None:
    if not re.fullmatch(r"[0-9]{1,2}", text):
        raise ValueError("must be the number of an input, as 0")


def _path(text: str) -> None:
    if not text.startswith("/"):
        raise ValueError("must be the whole path of a file of certificates in PEM")


# Whom a source over TLS believes: an authority of a file beside nobody else, or anybody.
_TLS: Mapping[str, Callable[[str], object]] = {"tls_ca": _path, "tls_verify": _one_of("yes", "no")}

# Of each kind: the options that there are, and what checks one; a check raises ValueError with what is needed.
_OPTIONS: Mapping[str, Mapping[str, Callable[[str], object]]] = {
    "sim": {"size": _card_size, "fps": _rate},
    "file": {"loop": _one_of("yes", "no"), "pace": _one_of("real", "fast")},
    "rtsp": {"transport": _one_of("tcp", "udp"), **_TLS},
    "http": _TLS,
    "v4l2": {"size": _size, "fps": _rate, "format": _format, "input": _input},
    "pixelink": {"size": _size, "fps": _rate},
}


def _check_options(kind: str, options: Mapping[str, str]) -> None:
    known = _OPTIONS[kind]
    for name, value in options.items():
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            raise ValueError(f"source {kind} has no option {name[:40]!r}; {there}")
        try:
            known[name](value)
        except ValueError as fault:
            raise ValueError(f"source {kind}: {name} {fault}, not {value[:40]!r}") from None
