"""Adds signature headers in formats of one's own, such as GitHub's or Stripe's, beside those of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from edge.errors import Problem
from edge.sessions.endpoint.secret import Key, signing_of

Hash = Literal["sha256", "sha512"]
KeyAs = Literal["bytes", "text"]

MAX_HEADERS, MAX_TEMPLATE = 8, 200
STANDARD_CONTENT = "{id}.{timestamp}.{body}"

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


def parse_signature(
    given: SignatureFormat | None, secret: str, headers: Iterable[str], *, is_hmac: bool = False
) -> SignatureFormat | None:
    """Checks the templates of a `signature`; `headers` are the names of the other headers that the webhook sends.

    `is_hmac` says that the request names a hash or a key, which only an HMAC has. Raises Problem `bad_webhook`.
    """
    if given is None:
        return None
    taken = {name.lower() for name in headers}
    for name, template in given.headers.items():
        if not _NAME.match(name) or _REFUSED.match(name.lower()):
            raise _refused(f"signature: {name[:60]!r} cannot carry a signature")
        if name.lower() in taken:
            raise _refused(f"signature: {name[:60]} is given twice")
        taken.add(name.lower())
        _check_template(f"signature: the format of {name[:60]}", template, _IN_HEADER)
    if not any(f"{{{each}}}" in template for template in given.headers.values() for each in _SIGNATURES):
        raise _refused("signature: no header has {hex}, {base64} or {standard}")
    _check_template("signature: content", given.content, _IN_CONTENT)
    if "{body}" not in given.content:
        raise _refused("signature: content must have {body}")
    if is_hmac and signing_of(secret) == "ed25519":
        raise _refused("signature: hash and key are for HMAC, and the secret is an Ed25519 key")
    return given


def _check_template(what: str, template: str, known: tuple[str, ...]) -> None:
    if not all(" " <= character <= "~" for character in template) or template != template.strip():
        raise _refused(f"{what} must be printable ASCII without blanks around it")
    rest = _PIECE.sub("", template)
    if "{" in rest or "}" in rest or any(name not in known for name in _PIECE.findall(template)):
        raise _refused(f"{what} may have {', '.join(f'{{{name}}}' for name in known)}, and no other braces")


def _refused(detail: str) -> Problem:
    return Problem("bad_webhook", detail, field="signature")
