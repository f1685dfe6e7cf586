"""Makes tokens that must be refused, each by one known attack."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

GRANTED = {"read": [">"], "publish": [">"], "command": [">"], "operate": True}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "mallory", "exp": time.time() + 600, "callboard": GRANTED, **more}


def forge(header: Any, payload: Any, key: bytes = b"", signature: bytes | None = None) -> str:
    """A token with any head and any claims, signed with HMAC by any bytes, or with any signature."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{b64(head)}.{b64(body)}"
    if signature is None:
        signature = hmac.digest(key, signed.encode(), hashlib.sha256)
    return f"{signed}.{b64(signature)}"


class Keys:
    """One pair of keys of each kind, and the public halves as files."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.stranger = rsa.generate_private_key(65537, 2048)

    @staticmethod
    def pem(private: Any) -> bytes:
        found: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return found

    @staticmethod
    def der(private: Any) -> bytes:
        found: bytes = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return found

    @staticmethod
    def private_pem(private: Any) -> bytes:
        found: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return found

    @staticmethod
    def jwk(private: Any, **more: Any) -> dict[str, Any]:
        from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

        public = private.public_key()
        make: Any = {"RSAPublicKey": RSAAlgorithm, "Ed25519PublicKey": OKPAlgorithm}.get(
            type(public).__name__, ECAlgorithm
        )
        return {**json.loads(make.to_jwk(public)), **more}

    def sign(self, private: Any, algorithm: str, payload: dict[str, Any] | None = None, **header: Any) -> str:
        return jwt.encode(payload or claims(), private, algorithm=algorithm, headers=header)


def attacks(keys: Keys, secret: str) -> Iterator[tuple[str, str]]:
    """Every trick by name. `secret` is the true one, for those that need a good signature."""
    true = secret.encode()
    good = {"alg": "HS256", "typ": "JWT"}
    for alg in ("none", "None", "NONE", "nOnE", "", None, 0, ["HS256"], {"a": 1}):
        yield f"alg {alg!r}", forge({"alg": alg, "typ": "JWT"}, claims(), signature=b"xx")
    yield "alg none without a signature", forge({"alg": "none"}, claims(), signature=b"")
    yield "no alg", forge({"typ": "JWT"}, claims(), true)
    for alg in ("HS384", "HS512", "RS384", "PS256", "ES384", "ES256K", "EdDSA ", "hs256"):
        yield f"alg {alg}", forge({**good, "alg": alg}, claims(), true)
    for kind, key in (("RSA", keys.rsa), ("EC", keys.ec), ("Ed25519", keys.ed)):
        for form, raw in (("PEM", keys.pem(key)), ("PEM stripped", keys.pem(key).strip()), ("DER", keys.der(key))):
            yield f"key confusion: HS256 with the {kind} public key as {form}", forge(good, claims(), raw)
    jwk = json.dumps(keys.jwk(keys.rsa)).encode()
    yield "key confusion: HS256 with the JWK's text", forge(good, claims(), jwk)
    yield "a stranger's RSA key", keys.sign(keys.stranger, "RS256")
    yield "a stranger's key under our kid", keys.sign(keys.stranger, "RS256", kid="rsa-1")
    yield "an EC signature that says RS256", _renamed(keys.sign(keys.ec, "ES256"), "RS256")
    yield "an RSA signature that says EdDSA", _renamed(keys.sign(keys.rsa, "RS256"), "EdDSA")
    for kid in (
        "../../../../dev/null", "/dev/null", "file:///etc/passwd", "http://127.0.0.1:1/key", "x' OR '1'='1",
        "'; DROP TABLE keys;--", "x' UNION SELECT 'secret", "$(id)", "rsa-1\x00", "\r\nSet-Cookie: a=b", "k" * 257, "",
    ):  # fmt: skip
        yield f"kid {kid[:24]!r}, signed with nothing", forge({**good, "kid": kid}, claims(), b"")
        yield f"kid {kid[:24]!r}, signed with its own text", forge({**good, "kid": kid}, claims(), kid.encode())
    for kid in (0, None, ["rsa-1"], {"a": "b"}, True):
        yield f"kid {kid!r}", forge({**good, "kid": kid}, claims(), b"")
    own = keys.jwk(keys.stranger, kid="mine")
    yield "embedded JWK", keys.sign(keys.stranger, "RS256", jwk=own, kid="mine")
    yield "embedded secret", forge({**good, "jwk": {"kty": "oct", "k": b64(b"k" * 32)}}, claims(), b"k" * 32)
    yield "embedded JWK beside a good signature", forge({**good, "jwk": own}, claims(), true)
    yield "jku", keys.sign(keys.stranger, "RS256", jku="http://127.0.0.1:1/jwks.json", kid="mine")
    yield "jku beside a good signature", forge({**good, "jku": "http://127.0.0.1:1/"}, claims(), true)
    yield "x5u", keys.sign(keys.stranger, "RS256", x5u="http://127.0.0.1:1/cert.pem")
    yield "x5c", keys.sign(keys.stranger, "RS256", x5c=[b64(keys.der(keys.stranger))])
    yield "crit", forge({**good, "crit": ["exp"], "exp": 1}, claims(), true)
    yield "crit, empty", forge({**good, "crit": []}, claims(), true)
    yield "b64 false", forge({**good, "b64": False, "crit": ["b64"]}, claims(), true)
    yield "typ of something else", forge({**good, "typ": "dpop+jwt"}, claims(), true)
    yield "typ that is no text", forge({**good, "typ": 7}, claims(), true)
    for head in (b"", b"{", b"[]", b"null", b'"HS256"', b"\xff\xfe", b"[" * 3000, b'{"a":' * 1500):
        yield f"header {head[:8]!r}", forge(head, claims(), true)
    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"[" * 3000,
        b'{"a":' * 900,
        b'{"exp":1e999,"sub":"x"}',
    ):
        yield f"payload {body[:8]!r}", forge(good, body, true)
    now = time.time()
    for what, wrong in (
        ("no exp", {"exp": None}), ("exp as text", {"exp": "9999999999"}), ("exp true", {"exp": True}),
        ("expired", {"exp": now - 3600}), ("exp 0", {"exp": 0}), ("exp negative", {"exp": -1e300}),
        ("exp list", {"exp": [now + 60]}), ("exp object", {"exp": {}}), ("nbf to come", {"nbf": now + 3600}),
        ("nbf as text", {"nbf": "0"}), ("iat to come", {"iat": now + 3600}), ("no sub", {"sub": None}),
        ("empty sub", {"sub": ""}), ("blank sub", {"sub": " "}), ("sub number", {"sub": 7}), ("sub list", {"sub": ["a"]}),
        ("sub with control characters", {"sub": "a\r\nb"}), ("huge sub", {"sub": "a" * 201}), ("iss list", {"iss": ["a"]}),
        ("iss with blanks", {"iss": "a b"}), ("aud number", {"aud": 7}), ("aud nested", {"aud": [["a"]]}),
        ("grants as text", {"callboard": "all"}), ("grants as list", {"callboard": [">"]}), ("grants null", {"callboard": None}),
        ("read as text", {"callboard": {"read": ">"}}), ("read of numbers", {"callboard": {"read": [1]}}),
        ("read no pattern", {"callboard": {"read": ["a..b"]}}), ("read injects", {"callboard": {"read": ["a.b c"]}}),
        ("read too many", {"callboard": {"read": ["a.b.c"] * 65}}), ("operate as text", {"callboard": {"operate": "true"}}),
        ("operate 1", {"callboard": {"operate": 1}}), ("huge pattern", {"callboard": {"read": ["a" * 256]}}),
    ):  # fmt: skip
        body_ = {name: value for name, value in claims(**wrong).items() if value is not None or name == "callboard"}
        yield what, forge(good, body_, true)
    token = forge(good, claims(), true)
    head, body, signature = token.split(".")
    yield "huge", forge(good, claims(padding="x" * 9000), true)
    yield "huge and of dots", "." * 9000
    yield "no signature", f"{head}.{body}."
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{token}.{signature}"
    yield "five parts, as a JWE", f"{head}.{body}.{signature}.{body}.{signature}"
    yield "cut signature", token[:-8]
    yield "signature of zeros", f"{head}.{body}.{b64(bytes(32))}"
    yield "changed claims", f"{head}.{b64(json.dumps(claims(sub='root')).encode())}.{signature}"
    yield "padded", f"{head}=.{body}.{signature}"
    yield "plus and slash", f"{head}.{body}.++//++//"
    yield "not ASCII", f"{head}.{body}.é"
    yield "percent", f"{head}.{body}.%2e"
    yield "ECDSA of zeros (psychic signature)", f"{_head('ES256')}.{body}.{b64(bytes(64))}"
    yield "EdDSA of zeros", f"{_head('EdDSA')}.{body}.{b64(bytes(64))}"
    yield "JSON serialisation", json.dumps({"payload": body, "protected": head, "signature": signature})
    yield "garbage", "x"
    yield "spaces", "a.b.c d"


def _renamed(token: str, algorithm: str) -> str:
    _, body, signature = token.split(".")
    return f"{_head(algorithm)}.{body}.{signature}"


def _head(algorithm: str) -> str:
    return b64(json.dumps({"alg": algorithm}).encode())
