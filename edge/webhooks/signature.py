"""Signs webhooks as Standard Webhooks has it: over id, time and body, with HMAC-SHA256 (`v1`) or Ed25519 (`v1a`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from router.clock import wall

Key = bytes | Ed25519PrivateKey
"""What a secret signs with: the bytes of an HMAC, or a private key."""

SECRET_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
# Standard Webhooks says 24 to 64 random bytes; Svix takes up to 75.
SECRET_BYTES = (24, 75)
# A seed, or a seed with its public key behind it, as most libraries write it.
_SEED, _PAIR = 32, 64

_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def new_secret(signing: str = "hmac-sha256") -> str:
    """Makes a signing secret, or a private key where `signing` is ed25519."""
    if signing != "ed25519":
        return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    key = Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return PRIVATE_PREFIX + base64.b64encode(seed + _public_bytes(key)).decode()


def signing_of(secret: str) -> str:
    """How a secret signs: hmac-sha256 or ed25519."""
    return "ed25519" if secret.startswith(PRIVATE_PREFIX) else "hmac-sha256"


@lru_cache(maxsize=4096)
def key_of(secret: str) -> Key:
    """The key that a secret holds. Raises ValueError saying what is wrong with it."""
    least, most = SECRET_BYTES
    try:
        if secret.startswith(SECRET_PREFIX):
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
            if least <= len(key) <= most:
                return key
        elif secret.startswith(PRIVATE_PREFIX):
            raw = base64.b64decode(secret.removeprefix(PRIVATE_PREFIX), validate=True)
            if len(raw) in (_SEED, _PAIR):
                private = Ed25519PrivateKey.from_private_bytes(raw[:_SEED])
                if len(raw) == _PAIR and _public_bytes(private) != raw[_SEED:]:
                    raise ValueError("secret's private and public key do not belong together")
                return private
    except binascii.Error:
        pass
    raise ValueError(
        f"secret must be base64 of {least} to {most} bytes, with {SECRET_PREFIX} before it or not, or {PRIVATE_PREFIX} and base64 of an "
        "Ed25519 key"
    )


def public_key_of(secret: str) -> str | None:
    """The public key to verify with, `whpk_…`; None for a secret that both sides share."""
    key = key_of(secret)
    return None if isinstance(key, bytes) else PUBLIC_PREFIX + base64.b64encode(_public_bytes(key)).decode()


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@lru_cache(maxsize=4096)
def _begun(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """HMAC's two hashes (RFC 2104), as far as they depend on the key alone, which is half the work for a short body."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key = key.ljust(_BLOCK, b"\0")
    return hashlib.sha256(key.translate(_INNER)), hashlib.sha256(key.translate(_OUTER))


def _digest(key: bytes, content: bytes) -> bytes:
    begun, ending = _begun(key)
    inner, outer = begun.copy(), ending.copy()
    inner.update(content)
    outer.update(inner.digest())
    return outer.digest()


def stamp_now() -> str:
    """The time of an attempt as it is signed: seconds since the epoch."""
    return str(int(wall.now()))


def sign(
    keys: Sequence[Key], message_id: str, body: bytes, at: int | None = None, packed: bytes | None = None
) -> dict[str, str]:
    """Makes the three headers of one attempt: the id stays over retries, the time is that of the attempt.

    Several keys give several signatures, of which a receiver may check any: that is how a secret is rotated. A body that
    travels `packed` is signed as it was before, which is what most frameworks hand over, and as it travels.
    """
    stamp = stamp_now() if at is None else str(at)
    prefix = f"{message_id}.{stamp}.".encode()
    content = prefix + body
    signature = _signature(keys[0], content) if len(keys) == 1 else " ".join([_signature(key, content) for key in keys])
    if packed is not None:
        content = prefix + packed
        signature = " ".join([signature, *(_signature(key, content) for key in keys)])
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}


def _signature(key: Key, content: bytes) -> str:
    if isinstance(key, bytes):
        return "v1," + binascii.b2a_base64(_digest(key, content), newline=False).decode("ascii")
    return "v1a," + binascii.b2a_base64(key.sign(content), newline=False).decode("ascii")
