"""Makes, checks and matches subjects: `<domain>.<entity>.<type>`, and patterns with `*` and `>`.

Outside the router a subject has no prefix; on the wire events live under `ev.`, their republished copies under `live.ev.`.
Every token that comes from data goes through `Subject.of`, so that no id can inject a dot or a wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from router.errors import BadPattern, BadSubject

STORED = "ev."
LIVE = "live.ev."

# 16 tokens and 255 bytes: far inside what NATS takes, and enough for any address a person can read.
MAX_TOKENS = 16
# Domain, entity, type.
MIN_TOKENS = 3
MAX_LENGTH = 255

_TOKEN = re.compile(r"[A-Za-z0-9_=-]+\Z")
_SUBJECT = re.compile(r"[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+){2,15}\Z")
_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
# Subjects come again and again: about 1 MB of those that were found right, forgotten all at once.
MAX_CHECKED = 5000
_checked: dict[str, Subject] = {}


def escape(token: str) -> str:
    """Turns any text into one token; injective, so that two ids never share an address (`a.b` → `a=2Eb`)."""
    if not token:
        return "="
    return _UNSAFE.sub(lambda found: b"=%02X" % found[0][0], token.encode()).decode()


def unescape(token: str) -> str:
    """Gives back the text that `escape` made a token of; a token that is not escaped comes back as it is."""
    if token == "=":
        return ""
    if "=" not in token:
        return token
    raw = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), token.encode())
    return raw.decode(errors="replace")


class Subject(str):
    """A checked address of one event, without the wire prefix."""

    __slots__ = ()

    @classmethod
    def of(cls, *tokens: object) -> Subject:
        """Builds a subject from parts, escaping each."""
        return cls.check(".".join(escape(str(token)) for token in tokens))

    @classmethod
    def check(cls, text: str) -> Subject:
        """Takes a subject as written by a person; raises BadSubject."""
        known = _checked.get(text) if isinstance(text, str) else None
        if known is not None:
            return known
        if not isinstance(text, str) or len(text) > MAX_LENGTH or not _SUBJECT.match(text):
            raise BadSubject(f"{str(text)[:80]!r}: {BadSubject.__doc__}")
        if len(_checked) >= MAX_CHECKED:
            _checked.clear()
        checked = _checked[text] = cls(text)
        return checked

    @property
    def domain(self) -> str:
        return self[: self.index(".")]

    @property
    def entity(self) -> str:
        return self.split(".", 2)[1]


def check_pattern(text: str) -> str:
    """Takes a pattern as written by a person; raises BadPattern."""
    if not isinstance(text, str) or not text or len(text) > MAX_LENGTH:
        raise BadPattern(f"{str(text)[:80]!r}: {BadPattern.__doc__}")
    tokens = text.split(".")
    for place, token in enumerate(tokens):
        if token == ">" and place == len(tokens) - 1:
            continue
        if token != "*" and not _TOKEN.match(token):
            raise BadPattern(f"{text!r}: {BadPattern.__doc__}")
    if len(tokens) > MAX_TOKENS:
        raise BadPattern(f"{text!r}: a pattern has at most {MAX_TOKENS} tokens")
    return text


def matches(pattern: str, subject: str) -> bool:
    """Says whether a subject falls under a pattern, by the rules of NATS."""
    want, have = pattern.split("."), subject.split(".")
    for place, token in enumerate(want):
        if token == ">":
            return len(have) > place
        if place >= len(have) or token not in ("*", have[place]):
            return False
    return len(want) == len(have)


def covers(wide: str, narrow: str) -> bool:
    """Says whether every subject of the narrow pattern falls under the wide one."""
    left, right = wide.split("."), narrow.split(".")
    for place, token in enumerate(left):
        if token == ">":
            return len(right) > place
        if place >= len(right) or right[place] == ">":
            return False
        if token != "*" and token != right[place]:
            return False
    return len(left) == len(right)


def overlap(one: str, other: str) -> bool:
    """Says whether some subject falls under both patterns."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if a == ">" or b == ">":
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def distinct(patterns: Iterable[str]) -> tuple[str, ...]:
    """Drops each pattern that another one of the list covers, and sorts the rest."""
    unique = sorted(set(patterns))
    return tuple(p for p in unique if not any(p != q and covers(q, p) for q in unique))


def contains(wide: Iterable[str], pattern: str) -> bool:
    """Says whether every subject under a pattern falls under one of others.

    A pattern without `>` stands for subjects of one length, and tokens are without number: so a union of patterns holds
    it only where one of them does by itself. One with `>` is the union of such patterns, one for each length that a
    subject can have, and each may be held by one of its own (`a.>` by `a.*.*` together with `a.*.*.>`).
    """
    wide = tuple(wide)
    if any(covers(one, pattern) for one in wide):
        return True
    if not pattern.endswith(">"):
        return False
    head = pattern.split(".")[:-1]
    shortest = max(len(head) + 1, MIN_TOKENS)
    return bool(wide) and all(
        any(covers(one, ".".join([*head, *("*" * (length - len(head)))])) for one in wide)
        for length in range(shortest, MAX_TOKENS + 1)
    )


def meet(one: str, other: str) -> str | None:
    """The pattern of the subjects that fall under both; None where there are none."""
    left, right = one.split("."), other.split(".")
    both: list[str] = []
    for place in range(max(len(left), len(right))):
        if place >= len(left) or place >= len(right):
            return None
        a, b = left[place], right[place]
        if a == ">":
            return ".".join(both + right[place:])
        if b == ">":
            return ".".join(both + left[place:])
        if a != b and "*" not in (a, b):
            return None
        both.append(b if a == "*" else a)
    return ".".join(both)


def common(ones: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The patterns of what falls under one of each list."""
    others = tuple(others)
    return distinct(both for one in ones for other in others if (both := meet(one, other)) is not None)
