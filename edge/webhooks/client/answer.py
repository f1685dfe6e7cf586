"""Parses HTTP/1.x answers as leniently as curl and Python's http.client do: a complete status line decides.

Everything behind the status line may be too long, malformed or missing without changing the outcome (ops/adr/0031); then
only the connection is not used again.
"""

from __future__ import annotations

import re

# More than any sensible head has; headers beyond that are ignored, and so is the rest of the answer.
MAX_HEAD = 256 * 1024
# A longer status line is invalid.
MAX_STATUS_LINE = 8 * 1024
# An answer is read up to here, so that its connection can be used again; behind that the connection is closed.
MAX_BODY = 64 * 1024
# The part of it that is kept, for the attempt log.
MAX_EXCERPT = 1024
# Chunk headers and trailers.
_MAX_LINE = 8 * 1024

_STATUS_LINE = re.compile(rb"HTTP/(\d(?:\.\d)?)[ \t]+([1-9]\d\d)(?:[ \t\r][^\n]*)?\n", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?\Z", re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_PREFIX = b"HTTP/"

# How the body ends.
_NONE, _LENGTH_KNOWN, _CHUNKED, _UNTIL_CLOSE = range(4)


class BadAnswer(Exception):
    """the receiver's answer is no HTTP/1.x answer"""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "")


class Headers(dict[str, str]):
    """Headers by their names in lower case. Of a name that came more than once the first is kept."""

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value of a header, whatever the case of its name."""
        return super().get(name.lower(), default)


class ResponseReader:
    """One answer, fed with the bytes of a connection as they come.

    `status` is 0 until a whole status line of a final answer has come. `reusable` says that the answer has ended where it
    said it would, and that another request may follow on the connection.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_connect",
        "_head_size",
        "_left",
        "_length",
        "_max_excerpt",
        "excerpt",
        "headers",
        "reusable",
        "status",
        "surplus",
        "whole",
    )

    def __init__(self, connect: bool = False, keep: int = MAX_EXCERPT) -> None:
        """`connect` says that the request is a CONNECT, of which a 2xx has no body; of a body so much is kept."""
        self.status = 0
        self.headers = Headers()
        self.excerpt = b""
        self.reusable = False
        # Whether the body has ended where it should, and whether something came behind that.
        self.whole = False
        self.surplus = False
        self._connect = connect
        self._max_excerpt = keep
        self._buffer = b""
        self._head_size = 0
        self._body: int | None = None
        # Bytes left of the body, or of the chunk; -1 where the size of a chunk comes next, -2 within the trailers.
        self._left = 0
        self._length = 0

    @property
    def has_head(self) -> bool:
        """Whether the headers of the final answer have come."""
        return self._body is not None

    def feed(self, data: bytes) -> bool:
        """Takes some bytes; says whether nothing more is needed. Raises BadAnswer."""
        if self._body is None:
            self._buffer += data
            return self._read_head(max(0, len(self._buffer) - len(data) - 3))
        return self._read_body(data)

    def end(self) -> bool:
        """Says whether an answer came, now that the connection has ended or nothing more is waited for."""
        self.reusable = False
        if self._body is None:
            self._read_status_line()
        elif self._body == _UNTIL_CLOSE:
            self.whole = True
        return self.status > 0

    # The head

    def _read_head(self, searched: int) -> bool:
        while True:
            buffer = self._buffer
            if buffer[:1] in (b"\r", b"\n"):
                # Left over from the answer before, as RFC 9112 (2.2) has it for requests; some servers do it.
                buffer = self._buffer = buffer.lstrip(b"\r\n")
                searched = 0
            bare = buffer.find(b"\n\n", searched)
            end = buffer.find(b"\n\r\n", searched, bare if bare >= 0 else len(buffer))
            stop = end + 3 if end >= 0 else bare + 2 if bare >= 0 else 0
            if not stop:
                return self._wait_for_head()
            matched = _STATUS_LINE.match(buffer)
            if matched is None:
                raise BadAnswer
            head, self._buffer = buffer[matched.end() : stop], buffer[stop:]
            self._head_size += stop
            status = int(matched[2])
            if 100 <= status < 200 and status != 101:
                # An interim answer, such as 103; the one that counts follows.
                if self._head_size > MAX_HEAD:
                    raise BadAnswer("the receiver sends interim answers without end")
                searched = 0
                continue
            self.status = status
            self._begin_body(matched[1], head)
            rest, self._buffer = self._buffer, b""
            return self._read_body(rest)

    def _wait_for_head(self) -> bool:
        """Whether the answer is decided, although its head has not ended."""
        buffer = self._buffer
        if b"\n" not in buffer:
            if len(buffer) > MAX_STATUS_LINE or buffer[:5].upper() != _PREFIX[: len(buffer)]:
                raise BadAnswer
            return False
        if _STATUS_LINE.match(buffer) is None:
            raise BadAnswer
        if len(buffer) <= MAX_HEAD:
            return False
        self._read_status_line()
        return self.status > 0

    def _read_status_line(self) -> None:
        """Takes the status of a head that is cut off or too long, and the headers that came whole."""
        matched = _STATUS_LINE.match(self._buffer)
        if matched is None:
            return
        status = int(matched[2])
        if status >= 200 or status == 101:
            self.status = status
            self.headers, _ = _parse(self._buffer[matched.end() : self._buffer.rfind(b"\n") + 1])

    def _begin_body(self, version: bytes, head: bytes) -> None:
        self.headers, lengths = _parse(head)
        connection = self.headers.get("connection", "") or ""
        tokens = {token.strip().lower() for token in connection.split(",")}
        self.reusable = "close" not in tokens and (version == b"1.1" or (version == b"1.0" and "keep-alive" in tokens))
        codings = self.headers.get("transfer-encoding")
        if self.status in (101, 204, 304) or (self._connect and 200 <= self.status < 300):
            self._body = _NONE
            self.reusable = self.reusable and self.status != 101
        elif codings is not None:
            self._body, self._left = _UNTIL_CLOSE, 0
            if codings.rpartition(",")[2].strip().lower() == "chunked":
                self._body, self._left = _CHUNKED, -1
            # With both, one of them is wrong, and a proxy on the way may use the other.
            self.reusable = self.reusable and self._body == _CHUNKED and not lengths
        elif len(lengths) == 1 and _LENGTH.match(length := lengths.pop()):
            self._body, self._left = _LENGTH_KNOWN, int(length)
        else:
            self._body = _UNTIL_CLOSE

    # The body

    def _read_body(self, data: bytes) -> bool:
        if self._body == _CHUNKED:
            return self._read_chunks(data)
        if self._body == _UNTIL_CLOSE:
            self._keep(data)
            self.reusable = False
            return self._length > MAX_BODY
        taken = len(data) if self._body == _LENGTH_KNOWN and len(data) <= self._left else self._left
        if data:
            self._keep(data[:taken] if taken < len(data) else data)
            self._left -= taken
        if self._left and self._length <= MAX_BODY:
            return False
        # What comes behind the end would be taken for the next answer.
        return self._finish(not self._left, len(data) == taken)

    def _finish(self, whole: bool, clean: bool = True) -> bool:
        self.whole = whole
        self.surplus = not clean
        self.reusable = self.reusable and whole and clean
        return True

    def _keep(self, data: bytes) -> None:
        self._length += len(data)
        if len(self.excerpt) < self._max_excerpt:
            self.excerpt = (self.excerpt + data)[: self._max_excerpt]

    def _read_chunks(self, data: bytes) -> bool:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while True:
            if self._left > 0:
                piece = buffer[at : at + self._left]
                self._keep(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._length > MAX_BODY:
                    return self._finish(False)
                if self._left:
                    self._buffer = b""
                    return False
            newline = buffer.find(b"\n", at)
            if newline < 0:
                self._buffer = buffer[at:]
                return self._finish(False) if len(self._buffer) > _MAX_LINE else False
            line = buffer[at:newline].rstrip(b"\r")
            at = newline + 1
            if self._left == 0:
                # The end of the line behind a chunk.
                if line:
                    return self._finish(False)
                self._left = -1
            elif self._left == -2:
                self._length += len(line)
                if not line:
                    return self._finish(True, at == len(buffer))
                if self._length > MAX_BODY:
                    return self._finish(False)
            else:
                matched = _CHUNK_SIZE.match(line)
                if matched is None:
                    return self._finish(False)
                self._left = int(matched[1], 16) or -2


def _parse(head: bytes) -> tuple[Headers, set[str]]:
    """The headers of a head, and the lengths of the body that they name. Lines that are no headers are skipped."""
    headers = Headers()
    lengths: set[str] = set()
    last = ""
    for line in head.decode("latin-1").split("\n"):
        if line[:1] in (" ", "\t"):
            # A folded line goes on with the header before it.
            if last and len(text := line.strip()):
                headers[last] = f"{headers[last]} {text}"
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            last = ""
            continue
        value = value.strip()
        if name == "content-length":
            lengths.update(each.strip() for each in value.split(","))
        if name in headers and name in ("transfer-encoding", "connection"):
            headers[name] += f",{value}"
        else:
            headers.setdefault(name, value)
        last = name
    return headers, lengths
