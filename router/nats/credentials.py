"""Reads the credentials for NATS: TLS certificates, and a nonce signed by an nkey or a creds file.

The files are read anew for each connection, so that a key that was exchanged counts from the next reconnect on. Signed
here and not by nats-py, whose `nkeys` is one more dependency for what `cryptography` does.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router.errors import BadCredentials

# The first byte of a public user key, which makes its text begin with U; and what a seed of one begins with.
_USER = 20 << 3
_SEED = 18 << 3
_SEED_LINE = re.compile(r"BEGIN USER NKEY SEED-+\s+(\S+)")
_JWT_LINE = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)")


@dataclass(frozen=True)
class Nkey:
    """A user's key pair."""

    _private: Ed25519PrivateKey

    @classmethod
    def of(cls, seed: str) -> Nkey:
        """Reads a seed such as `SUAC…`; raises BadCredentials, which never shows it."""
        try:
            raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        except (binascii.Error, ValueError):
            raise BadCredentials("an nkey seed is written in base32 and begins with SU") from None
        body, check = raw[:-2], raw[-2:]
        kind = (raw[0] & 7) << 5 | raw[1] >> 3 if len(raw) == 36 else None
        if kind != _USER or raw[0] & 0xF8 != _SEED or binascii.crc_hqx(body, 0) != int.from_bytes(check, "little"):
            raise BadCredentials("the nkey seed is not a user's, or is damaged; it begins with SU")
        return cls(Ed25519PrivateKey.from_private_bytes(body[2:]))

    @property
    def public(self) -> str:
        """The key as the server's configuration names it: `U…`."""
        body = bytes([_USER]) + self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        check = binascii.crc_hqx(body, 0).to_bytes(2, "little")
        return base64.b32encode(body + check).decode().rstrip("=")

    def sign(self, nonce: str) -> bytes:
        """Signs the server's nonce, as it is sent."""
        return base64.b64encode(self._private.sign(nonce.encode()))


def read_seed(path: Path) -> Nkey:
    """Reads the file of an nkey: its seed and nothing else. Raises BadCredentials."""
    return Nkey.of(_text(path).strip())


def read_creds(path: Path) -> tuple[bytes, Nkey]:
    """Reads a creds file: the user's JWT and its key. Raises BadCredentials."""
    text = _text(path)
    token, seed = _JWT_LINE.search(text), _SEED_LINE.search(text)
    if token is None or seed is None:
        raise BadCredentials(f"{path} is not a creds file: it needs a user JWT and an nkey seed")
    return token[1].encode(), Nkey.of(seed[1])


def tls_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Makes what checks the server's certificate, and shows ours where there is one. Raises BadCredentials."""
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert:
            context.load_cert_chain(str(cert), str(key) if key else None)
    except (OSError, ValueError) as fault:
        named = ", ".join(str(path) for path in (ca, cert, key) if path)
        raise BadCredentials(f"TLS cannot be set up with {named}: {_reason(fault)}") from None
    return context


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadCredentials(f"{path}: {_reason(fault)}") from None


def _reason(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or getattr(fault, "reason", None) or "not a file of this kind"
