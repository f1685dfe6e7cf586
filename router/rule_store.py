"""Keeps alert rules that were made by the API in the bucket RULES, each with its last versions, changed by compare-and-set.

The text of a rule is kept as it was sent (YAML or JSON). What it means is known to the alerts actor alone, which follows the
bucket: a rule that was stored takes effect within a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from router.broker import Broker
from router.bucket_cache import BucketCache
from router.errors import BadInput, Conflict
from router.nats.bucket import Bucket, Entry, WriteGuard, read_through
from router.stored import decoder
from router.topology import RULES

is_rule_name = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z").match

# A rule is some ten lines; this is more than anybody reads.
MAX_RULE_TEXT = 16_384
# What a rule was before, so often.
MAX_VERSIONS = 10
MAX_STORED_RULES = 10_000


class RuleExists(BadInput):
    """there is a rule of that name"""

    code = "rule_exists"


class RuleVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule as it was once. `at` is in ns since the epoch."""

    version: int
    text: str
    enabled: bool
    at: int
    by: str | None = None


class StoredRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule, and what it was before, the newest version first."""

    name: str
    text: str
    version: int
    created: int
    updated: int
    enabled: bool = True
    by: str | None = None
    earlier: tuple[RuleVersion, ...] = ()

    def changed(self, now: int, by: str | None, *, text: str | None = None, enabled: bool | None = None) -> StoredRule:
        """The next version of it; itself where nothing changes."""
        text = self.text if text is None else text
        enabled = self.enabled if enabled is None else enabled
        if (text, enabled) == (self.text, self.enabled):
            return self
        was = RuleVersion(self.version, self.text, self.enabled, self.updated, self.by)
        earlier = (was, *self.earlier)[:MAX_VERSIONS]
        return replace(self, text=text, enabled=enabled, version=self.version + 1, updated=now, by=by, earlier=earlier)

    @property
    def versions(self) -> tuple[RuleVersion, ...]:
        """All versions that are kept, the newest first."""
        return (RuleVersion(self.version, self.text, self.enabled, self.updated, self.by), *self.earlier)


_rule = decoder(StoredRule, RULES)


class RuleStore:
    """All rules of the API, which follow the bucket."""

    def __init__(
        self, broker: Broker, guard: WriteGuard | None = None, changed: Callable[[], None] | None = None
    ) -> None:
        """`changed()` is called at each change, whoever made it."""
        self.ready = asyncio.Event()
        self._bucket = Bucket(broker.connection, RULES, guard)
        self._rules: BucketCache[str, StoredRule] = BucketCache()
        self._changed = changed

    @property
    def known(self) -> Mapping[str, StoredRule]:
        """Every rule by its name."""
        return self._rules.values

    async def run(self) -> None:
        """Follows the bucket until cancelled."""
        await self._bucket.watch(self._heard, "*", ready=self.ready.set, renewed=self._renewed)

    async def all(self) -> list[StoredRule]:
        """Every rule, by name. Raises Timeout where a process that has just started cannot read them."""
        await read_through(self.ready, RULES)
        return sorted(self.known.values(), key=lambda rule: rule.name)

    async def find(self, name: str) -> StoredRule | None:
        """A rule as the bucket's leader has it; None where there is none."""
        if not is_rule_name(name):
            return None
        before = self._rules.revision(name)
        entry = await self._bucket.latest(name)
        value = entry.value if entry is not None else None
        rule = _rule(name, value)
        if rule is not None or value is None:
            self._rules.correct(name, rule, entry.revision if entry is not None else before, before)
        return self._rules.get(name)

    async def create(self, rule: StoredRule) -> None:
        """Stores a new rule. Raises RuleExists or BrokerError."""
        try:
            revision = await self._bucket.create(rule.name, msgspec.json.encode(rule))
        except Conflict:
            raise RuleExists(f"there is a rule {rule.name!r}; change it with PUT") from None
        self._take(rule.name, rule, revision)

    async def update(self, rule: StoredRule) -> None:
        """Stores the next version of a rule over what `find` has given. Raises Conflict where another was first."""
        revision = await self._bucket.update(rule.name, msgspec.json.encode(rule), self._rules.revision(rule.name))
        self._take(rule.name, rule, revision)

    async def delete(self, name: str) -> None:
        """Deletes a rule; harmless where there is none."""
        self._drop(name, await self._bucket.delete(name))

    def _heard(self, entry: Entry, _ready: bool) -> None:
        if entry.value is None:
            self._drop(entry.key, entry.revision)
        elif (rule := _rule(entry.key, entry.value)) is not None and rule.name == entry.key:
            self._take(entry.key, rule, entry.revision)

    def _take(self, name: str, rule: StoredRule, revision: int) -> None:
        if self._rules.put(name, rule, revision) and self._changed:
            self._changed()

    def _drop(self, name: str, revision: int) -> None:
        if self._rules.drop(name, revision) and self._changed:
            self._changed()

    def _renewed(self) -> None:
        self._rules.clear()
        if self._changed:
            self._changed()
