"""The OpenAPI schemas of how a webhook is signed: what a session's body may say, and what the API shows of it."""

from __future__ import annotations

from typing import Any

from edge.webhooks import signature_format as formats
from edge.webhooks.signature import PRIVATE_PREFIX, SECRET_PREFIX

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

# What a session's body may say, beside its secret.
CHOSEN: dict[str, Any] = {"signing": SIGNING, "signature": SIGNATURE}
# What is shown besides.
SHOWN: dict[str, Any] = {
    "webhook_public_key": {
        "type": ["string", "null"],
        "description": "`whpk_` and base64: what to verify `v1a` with; null where the secret is shared.",
    }
}
