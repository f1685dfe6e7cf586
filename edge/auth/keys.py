"""Reads the keys that tokens are verified with (PEM, JWK, JWKS) and pins each to one algorithm.

A token names its key by `kid` only; it is never a URL to fetch, a file to open, or a key to believe.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from router.errors import RouterError

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
# NIST SP 800-131A.
MIN_RSA_BITS = 2048
MIN_SECRET = 32
# 256 KiB and 64 keys: far more than any issuer has, and little to hold.
MAX_FILE = 256 * 1024
MAX_KEYS = 64


class BadKey(RouterError):
    """a key cannot be used"""


@dataclass(frozen=True)
class Key:
    """One verification key: its material, its algorithm, and the `kid` by which tokens name it."""

    algorithm: str
    material: Any
    kid: str | None = None

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid!r})"


def secret_key(secret: str) -> Key:
    """Makes a key of a shared secret. Raises BadKey."""
    raw = secret.encode()
    if len(raw) < MIN_SECRET:
        raise BadKey(f"a secret for HS256 needs at least {MIN_SECRET} bytes")
    return Key("HS256", raw)


def load(paths: Iterable[Path]) -> list[Key]:
    """Reads keys from files. Raises BadKey, which names the file."""
    found: list[Key] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
        except OSError as fault:
            raise BadKey(f"{path}: {fault.strerror}") from None
        try:
            if len(content) > MAX_FILE:
                raise BadKey(f"a key file has at most {MAX_FILE} bytes")
            found += [_pem(content)] if content.lstrip().startswith(b"-----BEGIN") else jwks(_json(content))
        except BadKey as fault:
            raise BadKey(f"{path}: {fault}") from None
    return found


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise BadKey("needs a public key as PEM, a JWK or a JWKS") from None


def _pem(content: bytes) -> Key:
    if b"PRIVATE KEY" in content:
        raise BadKey("holds a private key, which belongs to the signer; give the public key")
    try:
        if b"BEGIN CERTIFICATE" in content:
            return of_public_key(x509.load_pem_x509_certificate(content).public_key())
        return of_public_key(load_pem_public_key(content))
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("is not a readable public key") from None


def of_public_key(public: Any, kid: str | None = None) -> Key:
    """Pins the algorithm of a public key by its kind. Raises BadKey."""
    match public:
        case RSAPublicKey():
            if public.key_size < MIN_RSA_BITS:
                raise BadKey(f"an RSA key needs at least {MIN_RSA_BITS} bits")
            return Key("RS256", public, kid)
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return Key("ES256", public, kid)
        case Ed25519PublicKey():
            return Key("EdDSA", public, kid)
    raise BadKey("keys are RSA, P-256 or Ed25519")


def jwks(document: Any, symmetric: bool = True, strict: bool = True) -> list[Key]:
    """Reads a JWK or a JWKS; `symmetric` says whether it may hold secrets. Raises BadKey.

    Unless `strict`, keys that cannot be used are skipped: an issuer may have others.
    """
    entries = document.get("keys", [document]) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or len(entries) > MAX_KEYS:
        raise BadKey(f"needs a JWK, or a JWKS with 1 to {MAX_KEYS} keys")
    found: list[Key] = []
    for entry in entries:
        try:
            found.append(_jwk(entry, symmetric))
        except BadKey:
            if strict:
                raise
    if not found:
        raise BadKey("has no key for HS256, RS256, ES256 or EdDSA" if symmetric else "has no usable public key")
    return found


# By `kty` and `crv`.
_PINNED = {
    ("oct", None): "HS256", ("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"
}  # fmt: skip


def _jwk(entry: Any, symmetric: bool) -> Key:
    if not isinstance(entry, dict):
        raise BadKey("a JWK is an object")
    kind = entry.get("kty")
    curve = entry.get("crv") if kind in ("EC", "OKP") else None
    algorithm = _PINNED.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if algorithm is None:
        raise BadKey("keys are oct, RSA, EC with P-256, or OKP with Ed25519")
    if entry.get("alg", algorithm) != algorithm:
        raise BadKey(f"a key of this type is for {algorithm}, not for {str(entry['alg'])[:20]}")
    if entry.get("use", "sig") != "sig":
        raise BadKey("the key is not for signatures")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise BadKey("the key is not for verifying")
    kid = entry.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= 256):
        raise BadKey("kid needs 1 to 256 characters")
    if kind == "oct" and not symmetric:
        raise BadKey("a secret must not be published in a JWKS")
    if kind != "oct" and "d" in entry:
        raise BadKey("holds a private key, which belongs to the signer; give the public key")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            material = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        raise BadKey("is not a readable JWK") from None
    if kind == "oct":
        if len(material) < MIN_SECRET:
            raise BadKey(f"a secret for HS256 needs at least {MIN_SECRET} bytes")
        return Key("HS256", material, kid)
    key = of_public_key(material, kid)
    if key.algorithm != algorithm:
        raise BadKey("is not of the key type that it states")
    return key
