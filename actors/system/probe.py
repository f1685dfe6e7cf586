"""Tests an actor without a server: with the real mailbox and supervision, and a runtime that keeps lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from actors.system.actor import Actor, Reject, check
from actors.system.context import Context
from actors.system.life import Call, EventDelivery, Message, Tick
from actors.system.metrics import Gauges
from actors.system.supervisor import supervise
from router.cluster.leases import Viewers, view_key
from router.codec import decode
from router.event import Event
from router.mailbox import Mailbox
from router.subject import matches
from router.timing import Clock, SystemClock

# Longer than any test takes; what takes longer hangs.
ANSWER_TIMEOUT = 20.0
# A lease that nobody refreshes must not run out in a test.
FOREVER = 1e9


class Probe:
    """Runs one actor; what it does is seen in lists.

    `stored` is what `ctx.latest` finds at first: (subject, data) pairs or events, oldest first. A crash is raised to
    the caller of `receive`, `tick` or `ask`, and noted in `crashes`; the actor is restarted as in production.
    """

    def __init__(
        self,
        make: Callable[[], Actor],
        *,
        instance: str = "main",
        stored: Sequence[Event | tuple[str, Mapping[str, Any]]] = (),
        clock: Clock | None = None,
    ) -> None:
        self.emitted: list[tuple[str, Mapping[str, Any]]] = []
        self.events: list[Event] = []
        self.frames: list[tuple[str, Mapping[str, Any], bytes]] = []
        self.rejected: list[tuple[Event, str]] = []
        self.retried: list[Event] = []
        self.crashes: list[Exception] = []
        self.behind: int | None = None
        # What the actor keeps over restarts.
        self.remembered: dict[str, dict[str, Any]] = {}
        self.packets_arrive = True
        # In whose name `ask` calls.
        self.caller: str | None = None
        self.actor: Actor
        self.clock = clock or SystemClock()
        self._make = make
        self._instance = instance
        self._stored = [each if isinstance(each, Event) else Event.new(*each) for each in stored]
        self._viewers: dict[tuple[str, str], list[Viewers]] = {}
        self._watching: dict[tuple[str, str], dict[tuple[str, ...], int]] = {}
        self._running: asyncio.Task[None] | None = None
        self._crash = asyncio.Event()

    async def __aenter__(self) -> Self:
        first: Actor | None = self._make()
        assert first is not None
        check(first)
        name, gauges = first.name, Gauges(first.name)
        self._mailbox: Mailbox[Message] = Mailbox(first.capacity + 1)
        started = asyncio.Event()

        def next_one() -> Actor:
            nonlocal first
            self.actor, first = first or self._make(), None
            self.actor.instance = self._instance
            return self.actor

        self._running = asyncio.ensure_future(
            supervise(
                next_one,
                self._mailbox,
                lambda: Context(name, self._instance, self, self.clock, gauges),
                started=started,
                crashed=self._crashed,
            )
        )
        ready = asyncio.ensure_future(started.wait())
        try:
            await asyncio.wait({self._running, ready}, timeout=ANSWER_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not started.is_set():
            await self._end()
            raise self.crashes[-1] if self.crashes else TimeoutError("the actor does not start")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mailbox.close()
        if self._running and kind is None:
            await asyncio.wait({self._running}, timeout=ANSWER_TIMEOUT)
        await self._end()

    async def receive(
        self, subject: str | Event, data: Mapping[str, Any] | None = None, *, attempt: int = 1, **fields: Any
    ) -> str:
        """Delivers one event and returns once it is settled: "acked", "rejected" or "retried"."""
        event = subject if isinstance(subject, Event) else Event.new(subject, data, **fields)
        settled: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        crashes = len(self.crashes)
        await self._mailbox.put(EventDelivery(event, attempt, _Settle(self, event, settled)))
        outcome: str = await self._answer_of(settled)
        if outcome == "retried" or (outcome == "rejected" and self.rejected[-1][1].startswith("attempts_spent: ")):
            await self._next_crash(crashes)
        return outcome

    async def ask(self, command: str, /, **arguments: Any) -> Any:
        """Calls a command. Raises Reject with the refusal, or what crashed the actor."""
        answer = _Answer()
        if not self._mailbox.offer_urgent(Call(command, arguments, answer, self.caller)):
            raise Reject("too many calls are waiting")
        return await self._answer_of(answer.future)

    async def tick(self) -> None:
        """Lets `tick` run once."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._mailbox.put(Tick(done))
        await self._answer_of(done)

    def set_viewers(self, domain: str, entity: str, count: int, *what: str) -> None:
        """Lets the actor see so many viewers of an entity, or of `what` of it, from now on and after restarts."""
        watching = self._watching.setdefault((domain, entity), {})
        before, watching[what] = watching.get(what, 0), count
        for viewers in self._viewers.get((domain, entity), []):
            self._show(viewers, what, before, count)

    async def publish(self, event: Event, payload: bytes, dedup: str | None = None, ttl: float | None = None) -> None:
        """Takes an event as a reader would see it, after its way through msgpack."""
        event = decode(payload)
        self.events.append(event)
        self.emitted.append((event.subject, event.data))
        self._stored.append(event)

    def horizon(self) -> int | None:
        """What a test has set as such."""
        return self.behind

    async def kept(self, name: str) -> dict[str, Any] | None:
        """What the actor has kept, or a test has set as such."""
        return self.remembered.get(name)

    async def keep(self, name: str, kept: Mapping[str, Any]) -> None:
        """Takes what the actor keeps, after its way through JSON."""
        self.remembered[name] = msgspec.json.decode(msgspec.json.encode(kept))

    def frame(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        """Takes a picture."""
        self.frames.append((subject, header, body))
        return True

    def packet(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        """Takes a packet among the pictures, and says what a test has set as `packets_arrive`."""
        self.frames.append((subject, header, body))
        return self.packets_arrive

    async def latest(self, patterns: Sequence[str]) -> list[Event]:
        """Finds the newest of what was given as stored and of what the actor said."""
        newest: dict[str, Event] = {}
        for event in self._stored:
            if any(matches(pattern, event.subject) for pattern in patterns):
                newest.pop(event.subject, None)
                newest[event.subject] = event
        return list(newest.values())

    async def last(self, subject: str) -> Event | None:
        """Finds the newest of one subject."""
        return next(iter(await self.latest([subject])), None)

    def viewers(self, domain: str, entity: str) -> Viewers:
        """Makes a count that `set_viewers` sets."""
        viewers = Viewers(domain, entity)
        self._viewers.setdefault((domain, entity), []).append(viewers)
        for what, count in self._watching.get((domain, entity), {}).items():
            self._show(viewers, what, 0, count)
        return viewers

    async def count(self, viewers: Viewers) -> None:
        """Has nothing to do: `set_viewers` counts."""

    @staticmethod
    def _show(viewers: Viewers, what: tuple[str, ...], before: int, count: int) -> None:
        for number in range(max(before, count), min(before, count), -1):
            key = view_key(viewers.domain, viewers.entity, f"probe-{number}", *what)
            viewers.saw(key, FOREVER if count > before else None)

    async def _answer_of(self, future: asyncio.Future[Any]) -> Any:
        """Waits for an answer, or for the actor's end."""
        assert self._running is not None
        await asyncio.wait({future, self._running}, timeout=ANSWER_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if self._running.done():
            self._running.result()
            raise RuntimeError("the actor has ended")
        future.cancel()
        raise TimeoutError(f"the actor did not answer within {ANSWER_TIMEOUT:g} s")

    async def _next_crash(self, before: int) -> None:
        """Raises the crash that settled a delivery, once the supervisor knows of it."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while len(self.crashes) == before:
                self._crash.clear()
                await self._crash.wait()
        raise self.crashes[-1]

    def _crashed(self, crash: Exception) -> None:
        self.crashes.append(crash)
        self._crash.set()

    async def _end(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)


class _Settle:
    """Notes what became of one delivery."""

    def __init__(self, probe: Probe, event: Event, settled: asyncio.Future[str]) -> None:
        self._probe = probe
        self._event = event
        self._settled = settled

    async def ack(self) -> None:
        self._end("acked")

    async def retry(self, delay: float) -> None:
        self._probe.retried.append(self._event)
        self._end("retried")

    async def reject(self, reason: str, detail: str) -> None:
        self._probe.rejected.append((self._event, detail if reason == "rejected" else f"{reason}: {detail}"))
        self._end("rejected")

    def _end(self, outcome: str) -> None:
        if not self._settled.done():
            self._settled.set_result(outcome)


class _Answer:
    """Keeps what became of one call."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def value(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    async def error(self, code: int, text: str, crash: Exception | None = None) -> None:
        if not self.future.done():
            self.future.set_exception(crash or Reject(text))
