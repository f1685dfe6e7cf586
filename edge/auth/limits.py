"""This file is where it is counted how much each address and each principal asks for, and where too much is refused.

Token buckets in bounded tables: who is unseen for longest is forgotten first, and begins with a full bucket again. Each
process counts for itself; replicas multiply what is allowed.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from edge.auth.principal import Principal
from edge.errors import Problem
from edge.settings import LimitSettings
from router.rates import TokenBucket


class Rate:
    """Token buckets, one for each key: `rate` tokens a second, at most `burst` saved up. A rate of 0 is no limit."""

    def __init__(self, rate: float, burst: float, remembered: int) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._remembered = remembered
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, count: float = 1.0) -> float:
        """Takes tokens; returns 0, or after how many seconds there will be enough. What is refused takes none."""
        if not self._rate:
            return 0.0
        bucket = self._bucket(key)
        # More than a bucket holds can be had of a full one only, and leaves a debt.
        if wait := bucket.wait(time.monotonic(), count):
            return wait
        bucket.take(count)
        return 0.0

    def empty(self, key: str) -> float:
        """Says after how many seconds there will be one token again, taking none; 0 where there is."""
        bucket = self._buckets.get(key) if self._rate else None
        return bucket.wait(time.monotonic()) if bucket is not None else 0.0

    def _bucket(self, key: str) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, time.monotonic())
            if len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket


class Count:
    """How many of something each key has just now. 0 as the most is no limit."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._counts: dict[str, int] = {}

    def __getitem__(self, key: str) -> int:
        return self._counts.get(key, 0)

    def __len__(self) -> int:
        return len(self._counts)

    def full(self, key: str) -> bool:
        return bool(self.most) and self[key] >= self.most

    def enter(self, key: str) -> None:
        self._counts[key] = self[key] + 1

    def leave(self, key: str) -> None:
        left = self[key] - 1
        if left > 0:
            self._counts[key] = left
        else:
            self._counts.pop(key, None)


class ConnectionSlot:
    """One connection as it is counted; `release` gives it back, once."""

    __slots__ = ("_address", "_limits", "_principal")

    def __init__(self, limits: Limits, address: str | None, principal: str | None) -> None:
        self._limits: Limits | None = limits
        self._address = address
        self._principal = principal

    def release(self) -> None:
        """Gives the slot back; idempotent."""
        limits, self._limits = self._limits, None
        if limits is None:
            return
        if self._address is not None:
            limits.connections_of_address.leave(self._address)
        if self._principal is not None:
            limits.connections_of_principal.leave(self._principal)


class Limits:
    """All limits of one process."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        kept = settings.remembered
        self._handshakes = Rate(settings.handshakes_per_address, settings.handshakes_per_address_burst, kept)
        self._failures = Rate(settings.failures_per_address, settings.failures_per_address_burst, kept)
        self._publish = (
            Rate(settings.publish_per_address, settings.publish_per_address_burst, kept),
            Rate(settings.publish_per_principal, settings.publish_per_principal_burst, kept),
        )
        self._creations = (
            Rate(settings.creations_per_address, settings.creations_per_address_burst, kept),
            Rate(settings.creations_per_principal, settings.creations_per_principal_burst, kept),
        )
        self.connections_of_address = Count(settings.connections_per_address)
        self.connections_of_principal = Count(settings.connections_per_principal)

    def key(self, address: str) -> str | None:
        """What an address is counted under; None for one that is not limited. Who has an IPv6 address has its /64."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return address or None
        if isinstance(parsed, IPv6Address):
            if parsed.ipv4_mapped:
                return self.key(str(parsed.ipv4_mapped))
            if not parsed.is_loopback:
                return str(IPv6Address(int(parsed) >> 64 << 64))
        return None if parsed.is_loopback and not self.settings.loopback else str(parsed)

    def open(self, address: str, principal: Principal, handshake: bool = True) -> ConnectionSlot:
        """Counts a connection that is to be opened. Raises Problem 429."""
        where, who = self.key(address), principal.id
        if where is not None:
            if handshake:
                _refuse("connections", self._handshakes.take(where))
            if self.connections_of_address.full(where):
                raise _full("connections from this address", self.connections_of_address.most)
        if who is not None and self.connections_of_principal.full(who):
            raise _full("connections of this principal", self.connections_of_principal.most)
        if where is not None:
            self.connections_of_address.enter(where)
        if who is not None:
            self.connections_of_principal.enter(who)
        return ConnectionSlot(self, where, who)

    def publish(self, address: str, principal: Principal, count: int) -> None:
        """Counts events that are to be published. Raises Problem 429."""
        self._both(self._publish, "events", address, principal, count)

    def create(self, address: str, principal: Principal, has: int) -> None:
        """Counts a session that is to be made by who has so many. Raises Problem 429."""
        most = self.settings.sessions_per_principal
        if principal.id is not None and most and has >= most:
            raise _full("sessions of this principal", most)
        self._both(self._creations, "new sessions", address, principal, 1)

    def failed(self, address: str) -> None:
        """Counts a token or ticket that proved nobody."""
        if (where := self.key(address)) is not None:
            self._failures.take(where)

    def check_failures(self, address: str) -> None:
        """Refuses an address from which too many tokens came that proved nobody. Raises Problem 429."""
        if (where := self.key(address)) is not None:
            _refuse("refused tokens", self._failures.empty(where))

    def _both(self, rates: tuple[Rate, Rate], what: str, address: str, principal: Principal, count: int) -> None:
        where, who = self.key(address), principal.id
        if where is not None:
            _refuse(what, rates[0].take(where, count))
        if who is not None:
            _refuse(what, rates[1].take(who, count))


def _refuse(what: str, wait: float) -> None:
    if wait > 0:
        seconds = max(1, math.ceil(wait))
        raise Problem("rate_limited", f"too many {what}; wait {seconds} s", headers={"Retry-After": str(seconds)})


def _full(what: str, most: int) -> Problem:
    return Problem("too_many", f"there are {most} {what} already", headers={"Retry-After": "10"})
