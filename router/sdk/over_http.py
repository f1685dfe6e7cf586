"""Carries a run's events to an edge over HTTP: batches by POST /events under their ids, heartbeats by POST /runs/{run}/lease."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from router.codec import decode, from_json
from router.errors import BadInput, RouterError, RunEnded, RunSuperseded
from router.sdk.encoder import in_life, in_short, is_synthesized
from router.sdk.queued import Kind, Life, Queued
from router.sdk.sender import Host, Sent
from router.timing import full_jitter

log = logging.getLogger(__name__)

# 200 events or 256 KiB of msgpack a request: below what an edge takes as a body, and as a batch.
MAX_BATCH = 200
MAX_BATCH_BYTES = 256 * 1024
# What an edge takes as a body by default, less the rest of the request. One that sends more is cut off without an answer.
MAX_EVENT_BYTES = 1024 * 1024 - 8192
REQUEST_SECONDS = 10.0
# Characters of why there is no answer: aiohttp quotes what came instead.
MAX_REASON = 200
# What the edge takes, in seconds.
MIN_TTL, MAX_TTL = 2.0, 300.0
# A heartbeat may be lost twice before the lease runs out.
REFRESHES = 3
_JSON = {"Content-Type": "application/json"}
_MSGPACK = {"Content-Type": "application/msgpack"}

_pack = msgspec.msgpack.Encoder().encode


class HttpReply(NamedTuple):
    """An answer of the edge; `status` is 0 where there was none, and `body` then says why."""

    status: int
    body: Mapping[str, Any]

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))

    @property
    def text(self) -> str:
        return str(self.body.get("detail") or self.body.get("title") or self.status)


class HttpDoor:
    """One edge and the connections to it, which many runs may share."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.base = url.rstrip("/")
        parts = urlsplit(self.base)
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def call(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> HttpReply:
        """Sends one request; never raises for what the edge or the network does."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=3.0)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        try:
            async with self._session.request(method, self.base + path, data=body, headers=headers) as answer:
                text = await answer.read()
                if answer.status == 404 and "json" not in answer.content_type:
                    return HttpReply(404, {})
                given = from_json(text or b"{}")
                return HttpReply(answer.status, given if isinstance(given, dict) else {})
        except BadInput:
            return HttpReply(0, {"detail": "what answered was not Callboard"})
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as fault:
            return HttpReply(0, {"detail": str(fault)[:MAX_REASON] or type(fault).__name__})

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class HttpSender:
    """The way of one run to an edge."""

    def __init__(self, door: HttpDoor, life: Life, ttl: float, *, opens: bool) -> None:
        """With `opens` the connections are closed by `release`."""
        self.shared = door
        self.url = door.url
        self._life = life
        self._ttl = min(MAX_TTL, max(MIN_TTL, ttl))
        self._opens = opens
        self._begun = asyncio.Event()
        self._incarnation = life.incarnation
        self._revived: str | None = None  # the incarnation that was begun for a completion on its way
        self._leased = False
        self._timed = True
        self._most, self._most_bytes = MAX_BATCH, MAX_BATCH_BYTES  # less where the edge takes less
        self._refreshed = math.inf  # when the lease was refreshed last
        self._host: Host | None = None

    @property
    def incarnation(self) -> str:
        """The incarnation that was begun last."""
        return self._incarnation

    async def connect(self) -> None:
        """Returns at once: each request connects by itself."""

    async def send(self, items: Sequence[Queued], revive: Callable[[], Queued]) -> Sent:
        """Stores the first events, as `EventSender` says."""
        first = items[0]
        if first.kind is Kind.START:
            return await self._start(first)
        if first.kind is Kind.END:
            return await self._end(first, revive)
        batch: list[Queued] = []
        size = 0
        for item in itertools.islice(itertools.takewhile(lambda item: item.kind is Kind.EVENT, items), self._most):
            size += item.size
            if batch and size > self._most_bytes:
                break
            batch.append(item)
        return await self._post(batch)

    async def _post(self, batch: list[Queued]) -> Sent:
        """Sends one batch; where one event of it is refused, those before it are sent alone first."""
        if len(batch) == 1 and batch[0].size > MAX_EVENT_BYTES:
            return _refused(batch[0], f"an edge takes {MAX_EVENT_BYTES}")
        incarnation = self._incarnation
        body = _pack({"events": [{**_publication(item, self._timed), "incarnation": incarnation} for item in batch]})
        reply = await self.shared.call("POST", "/events", body, _MSGPACK)
        if self._is_untimely(reply):
            return await self._post(batch)
        if isinstance(over := _over(reply), RunSuperseded):
            if incarnation != self._incarnation or await self._is_revived(incarnation):
                return await self._post(batch)
            return Sent(refused=1, over=over)
        if 200 <= reply.status < 300:
            return Sent(stored=len(batch))
        if not _is_final(reply):
            return Sent(away=self._away(reply))
        place = reply.body.get("index")
        if len(batch) > 1:
            self._note_limit(reply, batch)
            place = place if isinstance(place, int) and 0 <= place < len(batch) else None
            # Nothing of a request that is refused for one event's sake is stored.
            half = batch[:place] if place else batch[: 1 if place == 0 else len(batch) // 2]
            return await self._post(half)
        return _refused(batch[0], reply.text)

    def _note_limit(self, reply: HttpReply, batch: list[Queued]) -> None:
        """Sends smaller batches from now on to an edge that takes no such batch (its `max_body`, its `max_batch`)."""
        if reply.code == "batch_too_large":
            self._most = max(1, len(batch) // 2)
        elif reply.status == 413 and reply.code != "event_too_large":
            self._most_bytes = sum(item.size for item in batch) // 2

    async def _start(self, item: Queued) -> Sent:
        reply = await self._single(item)
        if (over := _over(reply)) is not None:
            return Sent(refused=1, over=over)
        sent = self._settled(item, reply)
        if sent.stored:
            self._incarnation = _life_of(item)
            self._refreshed = time.monotonic()
            if decode(item.payload).data.get("resumed") is True:
                self._revived = self._incarnation
            self._begun.set()
        return sent

    async def _end(self, item: Queued, revive: Callable[[], Queued]) -> Sent:
        if item.size > MAX_EVENT_BYTES and (short := self._in_short(item, f"an edge takes {MAX_EVENT_BYTES} bytes")):
            item = short
        reply = await self._single(item if self._revived is None else in_life(item, self._revived))
        over = _over(reply)
        if isinstance(over, RunEnded) and over.synthesized and not is_synthesized(item):
            # Ended in our place, while we were frozen or cut off: the run goes on, so that its own end counts.
            begun = await self._start(revive())
            if begun.away is not None or begun.over is not None:
                return begun
            self._revived = self._incarnation
            reply = await self._single(in_life(item, self._revived))
            over = _over(reply)
        elif isinstance(over, RunSuperseded) and await self._is_revived(_life_of(item)) and self._revived is not None:
            reply = await self._single(in_life(item, self._revived))
            over = _over(reply)
        if over is not None:
            return Sent(refused=1, over=over)
        if reply.status == 413 and (short := self._in_short(item, reply.text)):
            return await self._end(short, revive)
        return self._settled(item, reply)

    def _in_short(self, item: Queued, why: str) -> Queued | None:
        if (short := in_short(item)) is not None:
            log.warning("completion of run %s is too large; only its outcome is sent: %s", self._life.run, why)
        return short

    async def _is_revived(self, incarnation: str) -> bool:
        """Whether a heartbeat of ours, the answer to which may come yet, has begun another incarnation than this one."""
        if self._host is None:
            return False
        return self._adopt(await self._beat(incarnation))

    async def _single(self, item: Queued) -> HttpReply:
        reply = await self.shared.call("POST", "/events", _pack(_publication(item, self._timed)), _MSGPACK)
        return await self._single(item) if self._is_untimely(reply) else reply

    def _away(self, reply: HttpReply) -> str:
        """Why nothing is stored. A 404 is no outage: what answers at this address is no edge, or at another path."""
        if reply.status == 404:
            return f"{self.url}/events is not found (HTTP 404): is that the address of an edge?"
        return f"{self.url}: {reply.text}" + (f" (HTTP {reply.status})" if reply.status else "")

    def _is_untimely(self, reply: HttpReply) -> bool:
        """Whether the edge takes no times of ours, as where our clock is wrong or it is of an earlier version: it has its own."""
        if self._timed and reply.status == 422 and (reply.body.get("field") == "time" or reply.code == "unknown_field"):
            log.warning("edge does not take the times of events; it sets its own: %s", reply.text)
            self._timed = False
            return True
        return False

    def _settled(self, item: Queued, reply: HttpReply) -> Sent:
        if 200 <= reply.status < 300:
            return Sent(stored=1)
        if not _is_final(reply):
            return Sent(away=self._away(reply))
        return _refused(item, reply.text)

    async def check(self) -> None:
        """Asks whether the run still lives, as `EventSender` says; the edge begins the new life where it does not."""
        if self._host is None or not self._begun.is_set() or time.monotonic() - self._refreshed < self._ttl:
            return
        if self._adopt(await self._beat(self._incarnation)):
            self._leased, self._refreshed = True, time.monotonic()

    async def resume(self, revive: Callable[[], Queued]) -> Sent:
        """Asks by a heartbeat, as `EventSender` says: the edge begins the life that goes on, whose lease is held from then on."""
        reply = await self._beat(self._incarnation)
        if reply.status == 200:
            self._leased = True
            self._adopt(reply)
        # What else is wrong is found out by sending.
        return Sent() if reply.status else Sent(away=self._away(reply))

    async def last_stored(self, incarnations: frozenset[str]) -> int:
        """Is not known over HTTP; the edge drops repeats of the last two minutes."""
        return 0

    async def serve(self, host: Host) -> None:
        """Sends heartbeats once the run is begun, and hears from their answers whether it is to stop, until cancelled."""
        self._host = host
        host.limited(MAX_EVENT_BYTES)
        failures = 0
        while True:
            await self._begun.wait()
            incarnation = self._incarnation
            reply = await self._beat(incarnation)
            pause = self._ttl / REFRESHES
            over = _over(reply)
            if incarnation != self._incarnation:
                continue
            if isinstance(over, RunSuperseded):
                self._leased = False  # it is another's by now
                host.superseded(over)
                return
            if isinstance(over, RunEnded):
                self._begun.clear()
                if over.synthesized:
                    host.lost()
            elif 200 <= reply.status < 300:
                failures = 0
                self._leased, self._refreshed = True, time.monotonic()
                self._adopt(reply)
                if reply.body.get("stop") is True:
                    host.asked_to_stop(str(reply.body.get("reason") or "") or None)
            else:
                failures += 1
                pause = min(pause, 0.1 + full_jitter(failures, 0.1, 2.0))
                log.debug("lease was not refreshed; retrying", extra={"run": self._life.run, "fault": reply.text})
            await asyncio.sleep(pause)

    async def _beat(self, incarnation: str) -> HttpReply:
        body = {"domain": self._life.domain, "ttl": self._ttl, "incarnation": incarnation}
        return await self.shared.call("POST", self._lease_path, msgspec.json.encode(body), _JSON)

    def _adopt(self, reply: HttpReply) -> bool:
        """Goes on as the incarnation that the edge has begun already where the run was ended in our place."""
        living = reply.body.get("incarnation")
        if reply.status != 200 or reply.body.get("revived") is not True or not isinstance(living, str):
            return False
        if living != self._incarnation:
            self._incarnation = self._revived = living
            if self._host is not None:
                self._host.adopted(living)
        return True

    async def release(self) -> None:
        """Gives up the lease, and closes what was opened here."""
        if self._leased:
            # Where this fails, the ttl says the same a little later.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.shared.call("DELETE", f"{self._lease_path}?domain={self._life.domain}", b"", {})
        if self._opens:
            await self.shared.close()

    @property
    def _lease_path(self) -> str:
        return f"/runs/{quote(self._life.run, safe='')}/lease"


def _life_of(item: Queued) -> str:
    """The incarnation that a start begins or a completion ends."""
    return str(decode(item.payload).data.get("incarnation"))


def _refused(item: Queued, why: str) -> Sent:
    # No retry would change this answer, and the events behind must not wait for ever.
    log.error("event %s of %d bytes refused by the edge; it is dropped: %s", item.subject, item.size, why)
    return Sent(refused=1)


def _publication(item: Queued, timed: bool) -> dict[str, Any]:
    """An event as POST /events takes it."""
    event = decode(item.payload)
    body = {
        "id": event.id, "subject": str(event.subject), "type": event.type, "source": event.source, "data": event.data,
        **({"time": event.time} if timed else {}),
    }  # fmt: skip
    more = {"key": event.key, "cause": event.cause, "trace": event.trace}
    return {**body, **{name: value for name, value in more.items() if value is not None}}


def _is_final(reply: HttpReply) -> bool:
    """Whether no retry would change an answer. A missing right may be given, and a token renewed."""
    return (400 <= reply.status < 500 and reply.status not in (401, 403, 404, 408, 425, 429)) or reply.status == 507


def _over(reply: HttpReply) -> RouterError | None:
    """Reads that the run is over, or another incarnation lives."""
    if reply.status != 409:
        return None
    body = reply.body
    if reply.code == "run_superseded":
        living = body.get("incarnation")
        return RunSuperseded(living if isinstance(living, str) else None)
    if reply.code == "run_over":
        status = str(body.get("run_status") or "ended")
        return RunEnded(str(body.get("ended_by", "")), "event", status, 0, body.get("synthesized") is True)
    return None
