"""The settings of a connection to NATS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BrokerSettings:
    """Where NATS is and how to speak to it. Times in seconds."""

    url: str = "nats://127.0.0.1:4222"
    user: str | None = None
    password: str | None = None
    token: str | None = None
    # Files, read anew for each connection: the creds of a user with a JWT, or the seed of an nkey (one of the two).
    creds: Path | None = None
    nkey_seed: Path | None = None
    # Files in PEM: whom to believe instead of the system's authorities, and the certificate that we show.
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    # What answers to us are sent to. A name of its own for each component lets the server keep them apart.
    inbox: str = "_INBOX"
    connect_timeout: float = 5.0
    request_timeout: float = 5.0

    def __post_init__(self) -> None:
        if self.creds and self.nkey_seed:
            raise ValueError("nkey_seed and creds say the same in two ways; give one of them")
        if self.key and not self.cert:
            raise ValueError("key needs cert, the certificate that it belongs to")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.inbox):
            raise ValueError("inbox needs one token of A-Z, a-z, 0-9, - and _")

    @property
    def requires_tls(self) -> bool:
        """Whether the connection must be encrypted: an address says so, or files for TLS are given."""
        return bool(self.ca or self.cert) or any(url.startswith(("tls://", "wss://")) for url in self.servers)

    @property
    def servers(self) -> list[str]:
        """The addresses one by one, each with its scheme in lower case."""
        given = [url.strip() for url in self.url.split(",")]
        parts = [url.partition("://") for url in given if url]
        return [f"{scheme.lower()}://{rest}" if sep else f"nats://{scheme}" for scheme, sep, rest in parts]
