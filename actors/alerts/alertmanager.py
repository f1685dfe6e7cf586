"""Posts alerts to Alertmanagers by their v2 API, beside the actor: an Alertmanager that is away delays nothing.

All that fires is posted again at intervals, as an Alertmanager expects of its clients, with an end that lies some intervals
ahead: should this process die, the Alertmanager resolves the alert itself. What was resolved is posted until it was taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
from prometheus_client import Counter

from router.alerts import ALERTMANAGER, NS, AlertRecord
from router.clock import wall
from router.codec import rfc3339, to_json
from router.timing import full_jitter

log = logging.getLogger(__name__)

POSTS = Counter("actors_alerts_alertmanager_posts_total", "Posts to Alertmanagers, by outcome", ["outcome"])

# One post has at most so many alerts: some hundred KiB.
MAX_POSTED = 500
# Resolved alerts that wait for an Alertmanager that is away; of more the oldest are left to its own resolve timeout.
MAX_ENDED = 10_000
# Changes within so many seconds share a post.
GATHER_SECONDS = 0.5
# A resolved alert is posted after a restart where it ended within this time.
LATE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """Where Alertmanagers are (such as http://127.0.0.1:9093), each with credentials in its URL if need be. Times in seconds."""

    urls: tuple[str, ...] = ()
    # Where people reach this Callboard: the generatorURL of alerts leads there.
    external_url: str | None = None
    resend: float = 60.0
    timeout: float = 10.0

    def __post_init__(self) -> None:
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError("urls needs addresses that begin with http:// or https://")
        if self.resend < 1 or self.timeout <= 0:
            raise ValueError("resend must be at least a second, and timeout positive")


class AlertmanagerFeed:
    """Posts the alerts of a store to one Alertmanager."""

    def __init__(
        self, url: str, settings: AlertmanagerSettings, known: Callable[[], Mapping[str, AlertRecord]]
    ) -> None:
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._name = without_credentials(url)
        # Why it did not take the last post; None where it did.
        self._fault: str | None = None
        self._taken: int | None = None
        self._settings = settings
        self._known = known
        self._changed = asyncio.Event()
        # By id, the newest last.
        self._ended: OrderedDict[str, AlertRecord] = OrderedDict()
        self._since = wall.now_ns() - int(LATE_SECONDS * NS)

    def change(self, record: AlertRecord) -> None:
        """Takes note of a change of an alert."""
        if record.rule == ALERTMANAGER or record.updated < self._since:
            return
        if not _fires(record):
            self._ended[record.id] = record
            self._ended.move_to_end(record.id)
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        self._changed.set()

    def describe(self) -> dict[str, Any]:
        """How the Alertmanager stands: `taken` is the time of the last post that it took, None for none yet."""
        taken = None if self._taken is None else rfc3339(self._taken)
        return {"url": self._name, "fault": self._fault, "taken": taken, "ended_waiting": len(self._ended)}

    async def run(self, beat: Callable[[], None]) -> None:
        """Posts until cancelled: on each change, and all that fires at intervals."""
        failures = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._settings.timeout)) as http:
            while True:
                self._changed.clear()
                beat()
                if await self._post_all(http):
                    failures = 0
                    await self._wait(self._settings.resend)
                    await asyncio.sleep(GATHER_SECONDS)
                else:
                    failures += 1
                    await asyncio.sleep(full_jitter(failures, 0.5, 30.0))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _post_all(self, http: aiohttp.ClientSession) -> bool:
        """Posts all that fires and all that has ended; False where the Alertmanager should be tried again.

        Where there is nothing, an empty list: that an address is wrong shall be known before the first alert.
        """
        ended = list(self._ended.items())
        firing = [each for each in self._known().values() if each.rule != ALERTMANAGER and _fires(each)]
        alerts = [*firing, *(record for _, record in ended)]
        for first in range(0, max(1, len(alerts)), MAX_POSTED):
            if not await self._post(http, alerts[first : first + MAX_POSTED]):
                return False
        for id, record in ended:
            if self._ended.get(id) is record:
                del self._ended[id]
        return True

    async def _post(self, http: aiohttp.ClientSession, records: Iterable[AlertRecord]) -> bool:
        now = wall.now_ns()
        body = to_json([shape(record, now, self._settings) for record in records])
        try:
            headers = {"Content-Type": "application/json"}
            async with http.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status, said = answer.status, (await answer.content.read(500)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            POSTS.labels("failed").inc()
            self._failed("Alertmanager cannot be reached; trying again until it is", str(fault) or "no answer in time")
            return False
        if 200 <= status < 300:
            POSTS.labels("accepted").inc()
            self._took()
            return True
        # A bad request would be refused again: the Alertmanager has taken those of its alerts that are valid.
        again = status >= 500 or status == 429
        POSTS.labels("failed" if again else "refused").inc()
        told = (
            "Alertmanager cannot take alerts now; trying again until it does"
            if again
            else "Alertmanager refused alerts"
        )
        self._failed(told, f"{status}: {said}")
        return not again

    def _failed(self, told: str, fault: str) -> None:
        """Logs a fault where it is another than that of the post before: a retry every 30 s is no news."""
        # What aiohttp says of a connection has its address in it, and an answer may be long.
        fault = fault[:300]
        if fault != self._fault:
            log.warning(told, extra={"alertmanager": self._name, "fault": fault, "ended_waiting": len(self._ended)})
        self._fault = fault

    def _took(self) -> None:
        if self._fault is not None:
            log.warning("Alertmanager takes alerts again", extra={"alertmanager": self._name})
        self._fault, self._taken = None, wall.now_ns()


def without_credentials(url: str) -> str:
    """An address as logs and answers may show it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _fires(record: AlertRecord) -> bool:
    """Whether an Alertmanager shall see it fire: what somebody dismissed has ended for the others."""
    return record.state in ("firing", "acknowledged", "snoozed")


def shape(record: AlertRecord, now: int, settings: AlertmanagerSettings) -> dict[str, Any]:
    """An alert as the v2 API takes it: the labels tell it from others, so they stay the same over all its episodes."""
    begun = min(record.since, now)
    # Four intervals ahead, as Prometheus does.
    until = now + int(4 * settings.resend * NS) if _fires(record) else max(record.ended or record.updated, begun + 1)
    labels = {
        "alertname": record.rule,
        "severity": record.severity,
        "category": record.category,
        "entity": record.entity,
        "key": record.key,
        "source": "callboard",
    }
    value = "" if record.value is None else str(record.value)
    annotations = {
        "summary": record.title,
        "description": record.message,
        "value": value,
        "callboard_id": record.id,
        "callboard_state": record.state,
    }
    shaped: dict[str, Any] = {
        "labels": {name: text for name, text in labels.items() if text},
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": rfc3339(max(begun, 0)),
        "endsAt": rfc3339(until),
    }
    if settings.external_url:
        shaped["generatorURL"] = f"{settings.external_url.rstrip('/')}/alerts/{quote(record.id, safe='')}"
    return shaped
