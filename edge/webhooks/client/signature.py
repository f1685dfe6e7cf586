"""Signs webhooks as Standard Webhooks defines it: over id, time and body, with HMAC-SHA256 (`v1`) or Ed25519 (`v1a`)."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Sequence
from functools import lru_cache

from edge.sessions.endpoint.secret import Key
from router.clock import wall

_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


@lru_cache(maxsize=4096)
def _started(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """HMAC's two hashes (RFC 2104), as far as they depend on the key alone, which is half the work for a short body."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key = key.ljust(_BLOCK, b"\0")
    return hashlib.sha256(key.translate(_INNER)), hashlib.sha256(key.translate(_OUTER))


def _digest(key: bytes, content: bytes) -> bytes:
    started, ending = _started(key)
    inner, outer = started.copy(), ending.copy()
    inner.update(content)
    outer.update(inner.digest())
    return outer.digest()


def stamp_now() -> str:
    """The time of an attempt as it is signed: seconds since the epoch."""
    return str(int(wall.now()))


def sign(
    keys: Sequence[Key], message_id: str, body: bytes, at: int | None = None, compressed: bytes | None = None
) -> dict[str, str]:
    """Makes the three headers of one attempt: the id stays over retries, the time is that of the attempt.

    Several keys give several signatures, of which a receiver may check any: that is how a secret is rotated. A body that
    is sent `compressed` is signed both uncompressed, which is what most frameworks hand over, and as it is sent.
    """
    stamp = stamp_now() if at is None else str(at)
    prefix = f"{message_id}.{stamp}.".encode()
    content = prefix + body
    signature = _signature(keys[0], content) if len(keys) == 1 else " ".join([_signature(key, content) for key in keys])
    if compressed is not None:
        content = prefix + compressed
        signature = " ".join([signature, *(_signature(key, content) for key in keys)])
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}


def _signature(key: Key, content: bytes) -> str:
    if isinstance(key, bytes):
        return "v1," + binascii.b2a_base64(_digest(key, content), newline=False).decode("ascii")
    return "v1a," + binascii.b2a_base64(key.sign(content), newline=False).decode("ascii")
