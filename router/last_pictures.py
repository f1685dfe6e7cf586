"""Keeps the last picture of each track and of each run in the stream PICTURES, and signs links to those of runs.

`picture.of.<domain>.<entity>[.<track>]` is a frame (`router.frame`) whose header also says how it is kept; `picture.run.<domain>.<run>`
is the last picture of a run. A picture that does not fit into one message lies in parts, `picture.part.<slot>.…<number>`, and its
frame has no body. The two slots are written in turn, so that a writer that dies half-way leaves the picture before it whole.

A link is signed with a key of the run's own, which lies with its picture: it opens this picture, and nothing else, until it expires.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from router.broker import Broker
from router.errors import BadEvent, TooLarge
from router.frame import pack, unpack
from router.subject import escape
from router.topology import PICTURES

log = logging.getLogger(__name__)

# 16 kB of a message are left for the header of the frame and those of NATS.
ROOM = 16_384
# 64 MiB: larger than any JPEG that a browser shows.
MAX_BYTES = 64 << 20
# So many times a reader begins anew whose picture was replaced while it read the parts.
TRIES = 3
KEPT = "kept"


@dataclass(frozen=True, slots=True)
class PictureKey:
    """Whose picture: that of a track of an entity, or of a run."""

    kind: str  # `of` or `run`
    tokens: tuple[str, ...]

    @classmethod
    def of_track(cls, domain: str, entity: str, track: str) -> PictureKey:
        return cls("of", (domain, entity, track))

    @classmethod
    def of_run(cls, domain: str, run: str) -> PictureKey:
        return cls("run", (domain, run))

    @property
    def subject(self) -> str:
        return ".".join(("picture", self.kind, *map(escape, self.tokens)))

    def part(self, slot: int, number: int) -> str:
        """The subject of one part of a picture that is too large for one message."""
        return ".".join(("picture", "part", str(slot), self.kind, *map(escape, self.tokens), str(number)))


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture as it is kept: what its frame said, and the body, or where that is."""

    header: Mapping[str, Any]
    body: bytes
    id: str
    slot: int
    parts: int
    etag: str
    key: str  # signs the links to a run's picture

    @property
    def time(self) -> float:
        """When it was rendered, in seconds since the epoch."""
        said = self.header.get("time")
        return said / 1000 if isinstance(said, (int, float)) else 0.0


class PictureStore(Protocol):
    """Where last pictures are kept: PICTURES, or a fake in tests."""

    async def keep(self, key: PictureKey, frame: Mapping[str, Any], body: bytes) -> KeptPicture: ...

    async def find(self, key: PictureKey) -> KeptPicture | None: ...

    async def body(self, key: PictureKey, kept: KeptPicture) -> tuple[KeptPicture, bytes] | None: ...


class LastPictures:
    """The stream PICTURES. All methods raise BrokerError."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stream = broker.stream(PICTURES)

    async def keep(self, key: PictureKey, frame: Mapping[str, Any], body: bytes) -> KeptPicture:
        """Stores the last picture of a track or run in place of the one before. Raises TooLarge beyond 64 MiB."""
        if len(body) > MAX_BYTES:
            raise TooLarge(len(body), MAX_BYTES, "the picture")
        former = await self.find(key)
        most = max(1024, self._broker.connection.max_payload - ROOM)
        pieces = [body[at : at + most] for at in range(0, len(body), most)] if len(body) > most else []
        kept = KeptPicture(
            frame,
            b"" if pieces else body,
            id=secrets.token_hex(8),
            slot=1 - former.slot if former is not None else 0,
            parts=len(pieces),
            etag=hashlib.sha256(body).hexdigest()[:32],
            key=former.key if former is not None else secrets.token_hex(16),
        )
        mark = kept.id.encode()
        for number, piece in enumerate(pieces):
            await self._broker.store(key.part(kept.slot, number), mark + piece, {})
        said = {name: getattr(kept, name) for name in ("id", "slot", "parts", "etag", "key")}
        await self._broker.store(key.subject, pack({**frame, KEPT: said}, kept.body), {})
        return kept

    async def find(self, key: PictureKey) -> KeptPicture | None:
        """The last picture; None where none is kept. `body` reads what lies in parts."""
        reply = await self._stream.read_last(key.subject)
        if reply is None:
            return None
        try:
            frame, body = unpack(reply.payload)
            said = frame.pop(KEPT)
            return KeptPicture(
                frame,
                bytes(body),
                id=str(said["id"]),
                slot=int(said["slot"]),
                parts=int(said["parts"]),
                etag=str(said["etag"]),
                key=str(said["key"]),
            )
        except (BadEvent, KeyError, TypeError, ValueError) as fault:
            log.warning("kept picture cannot be read", extra={"subject": key.subject, "fault": str(fault)})
            return None

    async def body(self, key: PictureKey, kept: KeptPicture) -> tuple[KeptPicture, bytes] | None:
        """The whole body of a picture, or of the one that has replaced it meanwhile; None where parts are not kept any more."""
        for _ in range(TRIES):
            if not kept.parts:
                return kept, kept.body
            if (body := await self._joined(key, kept)) is not None:
                return kept, body
            newer = await self.find(key)
            if newer is None or newer.id == kept.id:
                return None
            kept = newer
        return None

    async def _joined(self, key: PictureKey, kept: KeptPicture) -> bytes | None:
        mark, pieces = kept.id.encode(), []
        for number in range(kept.parts):
            reply = await self._stream.read_last(key.part(kept.slot, number))
            if reply is None or reply.payload[: len(mark)] != mark:
                return None
            pieces.append(reply.payload[len(mark) :])
        return b"".join(pieces)


def link_to(domain: str, run: str, key: str, expires: int, base: str = "") -> str:
    """The signed link to the last picture of a run, valid until `expires` (seconds since the epoch).

    `base` is the address of the edge as readers know it; without one the link is a path.
    """
    signed = f"domain={quote(domain)}&expires={expires}&signature={_signature(domain, run, key, expires)}"
    return f"{base.rstrip('/')}/runs/{quote(run, safe='')}/picture?{signed}"


def is_signed(domain: str, run: str, key: str, expires: int, signature: str, now: float) -> bool:
    """Whether a link to the picture of a run was made by `link_to`, and has not expired."""
    wanted = _signature(domain, run, key, expires)
    return hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")) and now < expires


def _signature(domain: str, run: str, key: str, expires: int) -> str:
    said = f"{domain}\n{run}\n{expires}".encode()
    return hmac.new(key.encode(), said, hashlib.sha256).hexdigest()[:40]
