"""Keeps tokens that were verified, so that one is verified once and not with each request and connection.

Only what a signature says for ever is kept. What changes with time is asked again at each use: whether the token is valid now,
and whether the key that signed it is still in use.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

# So many readers come back at once without a signature being verified again.
MAX_TOKENS = 10_000
# 8 MiB of tokens: the grants of a large one take as much memory again.
MAX_CHARACTERS = 8 * 1024 * 1024

T = TypeVar("T")


class VerifiedTokens(Generic[T]):
    """What is known of the tokens that were verified last, by their hash: tokens themselves are not kept in memory."""

    def __init__(self, most: int = MAX_TOKENS, most_characters: int = MAX_CHARACTERS) -> None:
        self._most = most
        self._most_characters = most_characters
        self._characters = 0
        self._known: OrderedDict[bytes, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, token: str) -> T | None:
        """What is known of a token; None where it was not verified, or long ago."""
        # A token is ASCII; what is not cannot be hashed, and is no token.
        found = self._known.get(key := _key(token)) if token.isascii() else None
        if found is None:
            return None
        self._known.move_to_end(key)
        return found[0]

    def put(self, token: str, known: T) -> None:
        """Keeps what is known of a token that was verified, and drops those that were used least recently."""
        self.drop(token)
        self._known[_key(token)] = known, len(token)
        self._characters += len(token)
        while len(self._known) > self._most or self._characters > self._most_characters:
            _, (_, characters) = self._known.popitem(last=False)
            self._characters -= characters

    def drop(self, token: str) -> None:
        """Forgets a token."""
        if (found := self._known.pop(_key(token), None)) is not None:
            self._characters -= found[1]


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
