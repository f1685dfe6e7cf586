"""Makes and reads the secrets that webhooks are signed with: the bytes of an HMAC, or an Ed25519 key."""

from __future__ import annotations

import base64
import binascii
import secrets
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Key = bytes | Ed25519PrivateKey
"""What a secret signs with: the bytes of an HMAC, or a private key."""

SECRET_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"

# Standard Webhooks says 24 to 64 random bytes; Svix takes up to 75.
SECRET_BYTES = (24, 75)

# A seed, or a seed with its public key behind it, as most libraries write it.
_SEED, _PAIR = 32, 64


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
