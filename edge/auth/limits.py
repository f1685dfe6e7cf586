"""Rate limits and connection limits per address and per principal: token buckets in bounded LRU tables.

The least recently seen key is evicted first, and starts with a full bucket again. Each process counts for itself, so replicas
multiply what is allowed.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from edge.auth.principal import Principal
from edge.errors import Problem
from edge.settings import LimitSettings
from router.rates import TokenBucket

# Behind a proxy that is not trusted, all clients have its address.
PROXY = "; behind a proxy, set CALLBOARD_EDGE_TRUSTED_PROXIES to its network: clients are then told apart"


class Rate:
    """One token bucket per key: `rate` tokens a second, at most `burst` saved up. A rate of 0 is no limit."""

    def __init__(self, rate: float, burst: float, remembered: int) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._remembered = remembered
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, count: float = 1.0) -> float:
        """Takes tokens and returns 0; or takes none and returns the seconds until there are enough."""
        if not self._rate:
            return 0.0
        bucket = self._bucket(key)
        # More than the burst needs a full bucket, and leaves it in debt.
        if wait := bucket.wait(time.monotonic(), count):
            return wait
        bucket.take(count)
        return 0.0

    def empty(self, key: str) -> float:
        """The seconds until there is a token, 0 where there is one; takes none."""
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
    """Counts per key, up to `limit`; 0 is no limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: dict[str, int] = {}

    def __getitem__(self, key: str) -> int:
        return self._counts.get(key, 0)

    def __len__(self) -> int:
        return len(self._counts)

    def full(self, key: str) -> bool:
        return bool(self.limit) and self[key] >= self.limit

    def enter(self, key: str) -> None:
        self._counts[key] = self[key] + 1

    def leave(self, key: str) -> None:
        left = self[key] - 1
        if left > 0:
            self._counts[key] = left
        else:
            self._counts.pop(key, None)


class ConnectionSlot:
    """The slot of one open connection in the counts of its address and principal."""

    __slots__ = ("_address", "_limits", "_principal")

    def __init__(self, limits: Limits, address: str | None, principal: str | None) -> None:
        self._limits: Limits | None = limits
        self._address = address
        self._principal = principal

    def release(self) -> None:
        """Frees the slot; idempotent."""
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
        """The key of an address, None for one without limits. IPv6 is counted by /64: a client has a whole one."""
        return _key(address, self.settings.loopback)

    def has_room(self, address: str, principal: Principal) -> bool:
        """Whether a connection may be opened just now; counts nothing."""
        where, who = self.key(address), principal.id
        if where is not None and (self._handshakes.empty(where) > 0 or self.connections_of_address.full(where)):
            return False
        return who is None or not self.connections_of_principal.full(who)

    def open(self, address: str, principal: Principal, handshake: bool = True) -> ConnectionSlot:
        """Counts a connection that is being opened. Raises Problem 429."""
        where, who = self.key(address), principal.id
        if where is not None:
            if handshake:
                _refuse("connections from this address", self._handshakes.take(where), PROXY)
            if self.connections_of_address.full(where):
                raise _full("connections from this address", self.connections_of_address.limit, PROXY)
        if who is not None and self.connections_of_principal.full(who):
            raise _full("connections of this principal", self.connections_of_principal.limit)
        if where is not None:
            self.connections_of_address.enter(where)
        if who is not None:
            self.connections_of_principal.enter(who)
        return ConnectionSlot(self, where, who)

    def publish(self, address: str, principal: Principal, count: int) -> None:
        """Counts events that are being published. Raises Problem 429."""
        self._both(self._publish, "events", address, principal, count)

    def create(self, address: str, principal: Principal, has: int) -> None:
        """Counts a session that is being created; the principal owns `has`. Raises Problem 429."""
        limit = self.settings.sessions_per_principal
        if principal.id is not None and limit and has >= limit:
            raise _full("sessions of this principal", limit)
        self._both(self._creations, "new sessions", address, principal, 1)

    def failed(self, address: str) -> None:
        """Counts an invalid token or ticket."""
        if (where := self.key(address)) is not None:
            self._failures.take(where)

    def check_failures(self, address: str) -> None:
        """Refuses an address that sent too many invalid tokens or tickets. Raises Problem 429."""
        if (where := self.key(address)) is not None:
            _refuse("invalid tokens from this address", self._failures.empty(where), PROXY)

    def _both(self, rates: tuple[Rate, Rate], what: str, address: str, principal: Principal, count: int) -> None:
        where, who = self.key(address), principal.id
        if where is not None:
            _refuse(f"{what} from this address", rates[0].take(where, count), PROXY)
        if who is not None:
            _refuse(what, rates[1].take(who, count))


# Addresses are few and ask often; to parse one takes as long as the rest of a small request's checks.
@lru_cache(4096)
def _key(address: str, loopback: bool) -> str | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address or None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return _key(str(parsed.ipv4_mapped), loopback)
        if not parsed.is_loopback:
            return str(IPv6Address(int(parsed) >> 64 << 64))
    return None if parsed.is_loopback and not loopback else str(parsed)


def _refuse(what: str, wait: float, advice: str = "") -> None:
    if wait > 0:
        seconds = max(1, math.ceil(wait))
        raise Problem(
            "rate_limited", f"too many {what}; wait {seconds} s{advice}", headers={"Retry-After": str(seconds)}
        )


def _full(what: str, limit: int, advice: str = "") -> Problem:
    return Problem("too_many", f"there are {limit} {what} already{advice}", headers={"Retry-After": "10"})
