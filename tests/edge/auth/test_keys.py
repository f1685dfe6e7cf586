"""Tests which keys are read, and that each is pinned to one algorithm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edge.auth.keys import BadKey, jwks, load, secret_key
from tests.edge.auth.attacks import Keys


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def test_a_public_key_is_pinned_to_the_algorithm_of_its_type(keys: Keys, tmp_path: Path) -> None:
    for key, algorithm in ((keys.rsa, "RS256"), (keys.ec, "ES256"), (keys.ed, "EdDSA")):
        (tmp_path / "pem").write_bytes(keys.pem(key))
        (tmp_path / "jwk").write_text(json.dumps(keys.jwk(key, kid="k")))

        assert [(each.algorithm, each.kid) for each in load([tmp_path / "pem", tmp_path / "jwk"])] == [
            (algorithm, None),
            (algorithm, "k"),
        ]


def test_of_a_published_jwks_unusable_keys_are_skipped_and_secrets_never_taken(keys: Keys) -> None:
    secret = {"kty": "oct", "k": "a" * 64}
    document = {"keys": [secret, {"kty": "EC", "crv": "P-384"}, keys.jwk(keys.ec)]}

    assert [key.algorithm for key in jwks(document, symmetric=False, strict=False)] == ["ES256"]
    with pytest.raises(BadKey, match="must not be published"):
        jwks({"keys": [secret]}, symmetric=False)


def test_keys_that_are_weak_private_or_of_another_kind_are_refused_by_name(keys: Keys, tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    other = ec.generate_private_key(ec.SECP384R1())
    for content, why in (
        (keys.pem(weak), "2048 bits"),
        (keys.private_pem(keys.rsa), "private key"),
        (keys.pem(other), "RSA, P-256 or Ed25519"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a readable public key"),
        (b"", "PEM, a JWK or a JWKS"),
        (b"hello", "PEM, a JWK or a JWKS"),
        (b"[]", "a JWK, or a JWKS"),
        (b'{"keys":[]}', "a JWK, or a JWKS"),
        (b"[" * 100_000, "PEM, a JWK or a JWKS"),
        (b"x" * 300_000, "a key file has at most"),
        (json.dumps(keys.jwk(keys.rsa, alg="HS256")).encode(), "is for RS256"),
        (json.dumps(keys.jwk(keys.rsa, use="enc")).encode(), "not for signatures"),
        (json.dumps(keys.jwk(keys.rsa, key_ops=["encrypt"])).encode(), "not for verifying"),
        (json.dumps(keys.jwk(keys.rsa, kid=7)).encode(), "kid"),
        (json.dumps(keys.jwk(keys.rsa, n="!")).encode(), "not a readable JWK"),
        (json.dumps({"kty": "oct", "k": "c2hvcnQ"}).encode(), "32 bytes"),
        (json.dumps({"kty": "EC", "crv": "P-384"}).encode(), "P-256"),
        (json.dumps({**keys.jwk(keys.ed), "d": "AAAA"}).encode(), "private key"),
        (json.dumps({"kty": ["RSA"]}).encode(), "keys are"),
    ):  # fmt: skip
        path = tmp_path / "key"
        path.write_bytes(content)
        with pytest.raises(BadKey, match=why) as refused:
            load([path])
        assert str(refused.value).startswith(str(path))
    with pytest.raises(BadKey, match="No such file"):
        load([tmp_path / "nowhere"])
    with pytest.raises(BadKey):
        secret_key("short")
