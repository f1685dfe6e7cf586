"""A small RTSP server that plays an H.264 film over and over, for tests: `python -m tests.actors.camera.sources.rtsp_server FILM PORT`.

It serves RTP inside the RTSP connection (interleaved) or over UDP (RFC 2326, RFC 6184), and wants a login where it is given
one. It is a program of its own, so that a test can stop it (SIGSTOP) and kill it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import random
import re
import socket
import threading
import time
from collections.abc import Iterator

import av

PAYLOAD = 1400
CLOCK = 90_000


def nal_units(data: bytes, length_size: int | None) -> list[bytes]:
    """Splits one access unit, in Annex B (no length size) or as MP4 keeps it."""
    if length_size is None:
        return [unit for unit in re.split(b"\x00\x00\x00?\x01", data) if unit]
    units, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + length_size])
        units.append(data[at + length_size : at + length_size + size])
        at += length_size + size
    return units


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Film:
    """The access units of a film, with their times."""

    def __init__(self, path: str) -> None:
        with av.open(path) as container:
            stream = container.streams.video[0]
            extra = bytes(stream.codec_context.extradata or b"")
            size = (extra[4] & 3) + 1 if extra[:1] == b"\x01" else None
            self.parameters = self._parameters(extra, size)
            self.units = [
                (float(packet.pts * packet.time_base), nal_units(bytes(packet), size))
                for packet in container.demux(stream)
                if packet.size and packet.pts is not None and packet.time_base is not None
            ]
            self.period = 1 / float(stream.average_rate or 25)

    @staticmethod
    def _parameters(extra: bytes, size: int | None) -> list[bytes]:
        if size is None:
            return nal_units(extra, None)
        found, at = [], 6
        for count in (extra[5] & 31, None):
            if count is None:
                count, at = extra[at], at + 1
            for _ in range(count):
                length = int.from_bytes(extra[at : at + 2])
                found.append(extra[at + 2 : at + 2 + length])
                at += 2 + length
        return found

    def played(self) -> Iterator[tuple[float, list[bytes]]]:
        """The units in real time, over and over: when each is due, and its parts."""
        first, last = self.units[0][0], self.units[-1][0]
        for turn in itertools.count():
            for at, units in self.units:
                yield turn * (last - first + self.period) + at - first, units

    def sdp(self) -> bytes:
        sets = ",".join(base64.b64encode(unit).decode() for unit in self.parameters)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\n"
            f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            "a=control:track0\r\n"
        ).encode()


class Client(threading.Thread):
    """One connection."""

    def __init__(self, connection: socket.socket, film: Film, login: str | None, digest: bool, lose: float) -> None:
        super().__init__(daemon=True)
        self.connection, self.film, self.login, self.digest = connection, film, login, digest
        self.lose, self.dice = lose, random.Random(17)
        self.sequence = 0
        self.udp: tuple[socket.socket, tuple[str, int]] | None = None
        self.sending = threading.Lock()

    def run(self) -> None:
        try:
            with self.connection, self.connection.makefile("rb") as reading:
                while request := self._request(reading):
                    self._answer(*request)
        except OSError:
            pass

    def _request(self, reading: object) -> tuple[str, str, dict[str, str]] | None:
        lines: list[str] = []
        while True:
            head = reading.read(1)  # type: ignore[attr-defined]
            if head == b"$":  # RTCP of the client
                header = reading.read(3)  # type: ignore[attr-defined]
                reading.read(int.from_bytes(header[1:]))  # type: ignore[attr-defined]
                continue
            line = (head + reading.readline()).decode().strip()  # type: ignore[attr-defined]
            if not head:
                return None
            if not line and lines:
                break
            lines.append(line)
        method, url, _ = lines[0].split(" ", 2)
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return method, url, {name.lower(): value for name, value in headers.items()}

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> None:
        code, more, body = "200 OK", "", b""
        if self.login and not self._is_let_in(method, headers.get("authorization", "")):
            asked = 'Digest realm="test", nonce="5ca1ab1e"' if self.digest else 'Basic realm="test"'
            code, more, method = "401 Unauthorized", f"WWW-Authenticate: {asked}\r\n", ""
        match method:
            case "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            case "DESCRIBE":
                body = self.film.sdp()
                more = f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n"
            case "SETUP":
                transport = headers["transport"]
                if ports := re.search(r"client_port=(\d+)", transport):
                    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    sender.bind(("127.0.0.1", 0))
                    self.udp = sender, (self.connection.getpeername()[0], int(ports[1]))
                    own = sender.getsockname()[1]
                    transport += f";server_port={own}-{own + 1}"
                more = f"Transport: {transport}\r\nSession: 1\r\n"
            case "PLAY":
                more = "Session: 1\r\nRange: npt=0.000-\r\n"
        size = f"Content-Length: {len(body)}\r\n" if body else ""
        with self.sending:
            self.connection.sendall(f"RTSP/1.0 {code}\r\nCSeq: {headers['cseq']}\r\n{more}{size}\r\n".encode() + body)
        if method == "PLAY":
            threading.Thread(target=self._play, daemon=True).start()

    def _is_let_in(self, method: str, said: str) -> bool:
        """Whether a login is right (RFC 7617, RFC 2617 without qop)."""
        assert self.login
        if not self.digest:
            return said == "Basic " + base64.b64encode(self.login.encode()).decode()
        given = dict(re.findall(r'(\w+)="([^"]*)"', said))
        user, password = self.login.split(":")
        own, asked = _md5(f"{user}:test:{password}"), _md5(f"{method}:{given.get('uri')}")
        return given.get("response") == _md5(f"{own}:5ca1ab1e:{asked}")

    def _play(self) -> None:
        begun = time.monotonic()
        try:
            for due, units in self.film.played():
                time.sleep(max(0.0, begun + due - time.monotonic()))
                for place, unit in enumerate(units):
                    self._send_unit(unit, int(due * CLOCK), last=place == len(units) - 1)
        except OSError:
            pass

    def _send_unit(self, unit: bytes, stamp: int, last: bool) -> None:
        if len(unit) <= PAYLOAD:
            self._send(unit, stamp, last)
            return
        pieces = [unit[at : at + PAYLOAD] for at in range(1, len(unit), PAYLOAD)]
        for place, piece in enumerate(pieces):
            marks = (0x80 if place == 0 else 0) | (0x40 if place == len(pieces) - 1 else 0)
            head = bytes((unit[0] & 0x60 | 28, marks | unit[0] & 0x1F))
            self._send(head + piece, stamp, last and place == len(pieces) - 1)

    def _send(self, payload: bytes, stamp: int, marked: bool) -> None:
        header = bytes((0x80, (0x80 if marked else 0) | 96)) + (self.sequence & 0xFFFF).to_bytes(2)
        packet = header + (stamp & 0xFFFFFFFF).to_bytes(4) + b"test" + payload
        self.sequence += 1
        if self.udp:
            if self.dice.random() < self.lose:
                return
            self.udp[0].sendto(packet, self.udp[1])
        else:
            with self.sending:
                self.connection.sendall(b"$\x00" + len(packet).to_bytes(2) + packet)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("film")
    arguments.add_argument("port", type=int)
    arguments.add_argument("--login")
    arguments.add_argument("--digest", action="store_true")
    arguments.add_argument("--lose", type=float, default=0.0, help="share of the RTP packets over UDP that are lost")
    given = arguments.parse_args()
    film = Film(given.film)
    with socket.create_server(("127.0.0.1", given.port)) as listening:
        print("ready", flush=True)
        while True:
            Client(listening.accept()[0], film, given.login, given.digest, given.lose).start()


if __name__ == "__main__":
    main()
