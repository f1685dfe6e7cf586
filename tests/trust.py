"""Tells which authorities programs believe that are started by tests: one of the tests' own, or the system's."""

from __future__ import annotations

import os

# What OpenSSL reads in place of the system's store. To read that, of 140 authorities, costs each client and edge 40 ms.
STORE = "SSL_CERT_FILE"
_GIVEN = os.environ.get(STORE)


def downloading() -> dict[str, str]:
    """The environment of a program that downloads from others: it believes whom it would without the tests."""
    kept = {name: text for name, text in os.environ.items() if name != STORE}
    return {**kept, STORE: _GIVEN} if _GIVEN else kept
