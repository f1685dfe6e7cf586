"""This file is where a webhook is signed as Standard Webhooks has it: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence


def sign(keys: Sequence[bytes], message_id: str, body: bytes, at: int | None = None) -> dict[str, str]:
    """Makes the three headers of one attempt: the id stays over retries, the time is that of the attempt.

    Several keys give several signatures, of which a receiver may check any: that is how a secret is rotated.
    """
    stamp = str(int(time.time()) if at is None else at)
    content = b"%b.%b.%b" % (message_id.encode(), stamp.encode(), body)
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
