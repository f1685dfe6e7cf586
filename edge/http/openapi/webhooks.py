"""The OpenAPI schemas of how a webhook is signed and connected: what a body may say, and what the API shows of it."""

from __future__ import annotations

from typing import Any

from edge.sessions.endpoint import certificates, oauth, proxy
from edge.sessions.endpoint import signature_format as formats
from edge.sessions.endpoint.secret import PRIVATE_PREFIX, SECRET_PREFIX

_TEXT = {"type": "string"}

SECRET = {
    "type": ["string", "null"],
    "description": f"Base64 of 24 to 75 bytes, with `{SECRET_PREFIX}` before it or not, or `{PRIVATE_PREFIX}` and base64 of "
    "an Ed25519 key (its seed, or the seed with the public key behind it). Made for you where it is left out.",
}
SIGNING = {
    "enum": ["hmac-sha256", "ed25519", None],
    "description": "How the secret signs, where one is made for you: `v1` or `v1a` of Standard Webhooks. The public key is shown as "
    "`webhook_public_key`.",
}
SIGNATURE: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "headers": {
            "type": "object",
            "additionalProperties": {**_TEXT, "minLength": 1, "maxLength": formats.MAX_TEMPLATE},
            "minProperties": 1,
            "maxProperties": formats.MAX_HEADERS,
            "description": "A format for each header, of `{hex}`, `{base64}`, `{standard}` (the value of webhook-signature), "
            "`{id}` and `{timestamp}`.",
            "examples": [{"X-Hub-Signature-256": "sha256={hex}"}, {"X-Acme-Signature": "t={timestamp},v1={hex}"}],
        },
        "content": {
            **_TEXT,
            "default": formats.STANDARD_CONTENT,
            "maxLength": formats.MAX_TEMPLATE,
            "description": "What is signed, of `{id}`, `{timestamp}` and `{body}`.",
        },
        "hash": {"enum": ["sha256", "sha512"], "default": "sha256"},
        "key": {
            "enum": ["bytes", "text"],
            "default": "bytes",
            "description": "Whether the HMAC's key is the bytes that the secret holds, or its text with the prefix.",
        },
    },
    "required": ["headers"],
    "additionalProperties": False,
    "description": "Signatures in formats of your own, beside the headers of Standard Webhooks; by the newest secret, over the body "
    "as it is once it is unpacked.",
}

CLIENT_CERTIFICATE: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "certificate": {
            **_TEXT,
            "maxLength": certificates.MAX_CERTIFICATE,
            "description": "PEM, with those that lead to its authority.",
        },
        "key": {**_TEXT, "maxLength": certificates.MAX_KEY, "description": "PEM, unencrypted; never shown."},
        "not_after": {**_TEXT, "format": "date-time", "readOnly": True},
    },
    "required": ["certificate", "key"],
    "additionalProperties": False,
    "description": "What the receiver is shown during the TLS handshake (mTLS).",
}
CA: dict[str, Any] = {
    "type": ["string", "null"],
    "maxLength": certificates.MAX_CA,
    "description": "PEM of the authorities that the receiver's certificate must come from, instead of the public ones.",
}
PROXY: dict[str, Any] = {
    "type": ["string", "null"],
    "maxLength": proxy.MAX_PROXY,
    "examples": ["http://user:password@proxy.example:3128"],
    "description": "The forward proxy on the way to the receiver, instead of that of the server's settings, if there is one; asked "
    "for a tunnel (CONNECT). Its credentials are shown as `***`.",
}
_LIMITED = {**_TEXT, "minLength": 1, "maxLength": oauth.MAX_TEXT}
_OPTIONAL = {"type": ["string", "null"], "maxLength": oauth.MAX_TEXT}
OAUTH2: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "token_url": {**_LIMITED, "format": "uri"},
        "client_id": _LIMITED,
        "client_secret": {**_LIMITED, "description": "Never shown."},
        "scope": _OPTIONAL,
        "audience": _OPTIONAL,
        "auth": {
            "enum": ["basic", "body", None],
            "default": "basic",
            "description": "How the client proves itself to the token endpoint: by HTTP Basic, or in the form.",
        },
    },
    "required": ["token_url", "client_id", "client_secret"],
    "additionalProperties": False,
    "description": "Client credentials (RFC 6749, 4.4) for an access token that each post carries. It is kept until shortly before it "
    "expires, and replaced at once where the receiver answers 401.",
}

# What a session's body may say, beside its secret.
CHOSEN: dict[str, Any] = {
    "signing": SIGNING,
    "signature": SIGNATURE,
    "client_certificate": CLIENT_CERTIFICATE,
    "ca": CA,
    "proxy": PROXY,
    "oauth2": OAUTH2,
}
# What is shown besides.
SHOWN: dict[str, Any] = {
    "webhook_public_key": {
        "type": ["string", "null"],
        "description": "`whpk_` and base64: what to verify `v1a` with; null where the secret is shared.",
    }
}
