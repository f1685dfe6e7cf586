"""Adds signature headers in formats of one's own, such as GitHub's or Stripe's, beside those of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from edge.errors import Problem, unknown_fields
from edge.sessions.endpoint.secret import Key, signing_of

Hash = Literal["sha256", "sha512"]
KeyAs = Literal["bytes", "text"]

MAX_HEADERS, MAX_TEMPLATE = 8, 200
STANDARD_CONTENT = "{id}.{timestamp}.{body}"
FIELDS = ("headers", "content", "hash", "key")

_PIECE = re.compile(r"\{([^{}]*)\}")
_SIGNATURES = ("hex", "base64", "standard")
_IN_HEADER = ("id", "timestamp", *_SIGNATURES)
_IN_CONTENT = ("id", "timestamp", "body")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}\Z")
# What would change how the request is read, and what is sent anyway.
_REFUSED = re.compile(
    r"(webhook-|x-callboard-|x-forwarded-|forwarded\Z|sec-|access-control-|proxy-|ce-|:|accept-encoding\Z|connection\Z"
    r"|content-|cookie|date\Z|expect\Z|host\Z|http2-settings\Z|keep-alive\Z|max-forwards\Z|origin\Z|te\Z|trailer\Z"
    r"|transfer-encoding\Z|upgrade\Z|user-agent\Z|via\Z|authorization\Z|traceparent\Z)"
)


class SignatureFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """Headers by name, each with a template of `{id}`, `{timestamp}`, `{hex}`, `{base64}` and `{standard}`.

    `{hex}` and `{base64}` are the signature of `content` by the newest secret, `{standard}` is the value of
    `webhook-signature`. `key` says whether the HMAC's key is the secret's bytes, as in Standard Webhooks, or its text.
    """

    headers: dict[str, str]
    content: str = STANDARD_CONTENT
    hash: Hash = "sha256"
    key: KeyAs = "bytes"

    def make(self, secret: str, key: Key, standard: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers of one attempt, whose id, time and signature are those of the `standard` headers."""
        values = {"id": standard["webhook-id"], "timestamp": standard["webhook-timestamp"]}
        content = b"".join(
            [body if piece is None else piece.format_map(values).encode() for piece in _pieces(self.content)]
        )
        signature = self._sign(secret, key, content)
        values |= {
            "hex": signature.hex(),
            "base64": base64.b64encode(signature).decode(),
            "standard": standard["webhook-signature"],
        }
        return {name: template.format_map(values) for name, template in self.headers.items()}

    def _sign(self, secret: str, key: Key, content: bytes) -> bytes:
        if not isinstance(key, bytes):
            return key.sign(content)
        used = secret.encode() if self.key == "text" else key
        return hmac.digest(used, content, hashlib.sha256 if self.hash == "sha256" else hashlib.sha512)


@lru_cache(maxsize=256)
def _pieces(content: str) -> tuple[str | None, ...]:
    """A template cut at its bodies, which are None."""
    first, *others = content.split("{body}")
    return (first, *(piece for other in others for piece in (None, other)))


def parse_signature(value: Any, secret: str, headers: Mapping[str, str]) -> SignatureFormat | None:
    """Reads the `signature` of a webhook; `headers` are the other ones it sends. Raises Problem `bad_webhook`."""
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("headers"), dict) or not value["headers"]:
        raise _fault(f"signature must be an object of {', '.join(FIELDS)}; headers must name at least one header")
    if fault := unknown_fields(value, FIELDS):
        raise _fault(f"signature: {fault}")
    given = {name: value[name] for name in FIELDS if value.get(name) is not None}
    templates = given["headers"]
    if len(templates) > MAX_HEADERS:
        raise _fault(f"signature: headers may be at most {MAX_HEADERS}")
    taken = {name.lower() for name in headers}
    for name, template in templates.items():
        if not _NAME.match(name) or _REFUSED.match(name.lower()):
            raise _fault(f"signature: {name[:60]!r} is no header for a signature")
        if name.lower() in taken:
            raise _fault(f"signature: {name[:60]} is given twice")
        taken.add(name.lower())
        _check_template(f"signature: the format of {name[:60]}", template, _IN_HEADER)
    if not any(f"{{{each}}}" in template for template in templates.values() for each in _SIGNATURES):
        raise _fault("signature: no header has {hex}, {base64} or {standard}")
    content = given.get("content", STANDARD_CONTENT)
    _check_template("signature: content", content, _IN_CONTENT)
    if "{body}" not in content:
        raise _fault("signature: content must have {body}")
    if given.get("hash", "sha256") not in ("sha256", "sha512"):
        raise _fault("signature: hash must be sha256 or sha512")
    if given.get("key", "bytes") not in ("bytes", "text"):
        raise _fault("signature: key must be bytes or text")
    if signing_of(secret) == "ed25519" and ("hash" in given or "key" in given):
        raise _fault("signature: hash and key are for HMAC, and the secret is an Ed25519 key")
    return SignatureFormat(**given)


def _check_template(what: str, template: Any, known: tuple[str, ...]) -> None:
    if not isinstance(template, str) or not 0 < len(template) <= MAX_TEMPLATE:
        raise _fault(f"{what} must be a text of at most {MAX_TEMPLATE} characters")
    if not all(" " <= character <= "~" for character in template) or template != template.strip():
        raise _fault(f"{what} must be printable ASCII without blanks around it")
    rest = _PIECE.sub("", template)
    if "{" in rest or "}" in rest or any(name not in known for name in _PIECE.findall(template)):
        raise _fault(f"{what} may have {', '.join(f'{{{name}}}' for name in known)}, and no other braces")


def _fault(detail: str) -> Problem:
    return Problem("bad_webhook", detail, field="signature")
