"""Sends one dead letter back to where it was given up, and says what became of it.

A webhook's goes onto HOOKS, for that session; an actor's to that actor alone, which answers once the event is settled; what
could not be decoded, into EVENTS once it can, by the ledger of runs where it ends one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import NamedTuple

import msgpack

from edge.deadletters.redrive_job import MAX_REDRIVES, RedriveJob, RedriveSettings
from edge.errors import Problem
from edge.jobs import JobRun
from edge.sessions.registry import Registry
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import HEALTH
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.room import Room
from router import catalogue
from router.broker import Broker
from router.codec import decode
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters
from router.errors import BadEvent, BrokerError, Cut, NoResponders, Refused, RunConflict, Timeout
from router.event import Event
from router.event_place import place_of
from router.nats.bucket import Bucket
from router.nats.headers import header
from router.nats.publisher import is_too_large
from router.nats.refusals import has_no_room
from router.nats.stream import Ack
from router.runs import RunLedger
from router.stored import decoder
from router.topology import ENDPOINTS, HOOKS, RETRIES

log = logging.getLogger(__name__)

# How old what is known of an endpoint's state may be, and of how many endpoints it is known.
STATE_SECONDS, MAX_STATES = 1.0, 1000
_WHY_BLOCKED = {"disabled": "endpoint_disabled", "open": "breaker_open"}
# The reasons for which an endpoint takes nothing right now.
BLOCKED = frozenset(_WHY_BLOCKED.values())

_endpoint_state = decoder(EndpointState, ENDPOINTS)


class Redriven(NamedTuple):
    """What became of one dead letter: `sent`, `failed` or `skipped`, why, and what an actor said to it."""

    kind: str
    reason: str = ""
    detail: str = ""


SENT = Redriven("sent")


class Destinations:
    """Where the dead letters of a deployment are sent: its sessions, actors and streams."""

    def __init__(self, broker: Broker, registry: Registry, partitions: int, settings: RedriveSettings) -> None:
        self.broker = broker
        self.dead = DeadLetters(broker)
        self.runs = RunLedger(broker)
        self.registry = registry
        self.partitions = partitions
        self.settings = settings
        # What is sent again to a webhook counts as any other job of its session, and waits for its share of HOOKS.
        self.room = Room(broker)
        self._endpoints = Bucket(broker.connection, ENDPOINTS)

    async def blocked(self, session_id: str) -> str | None:
        """Why a webhook session takes nothing right now: `endpoint_disabled`, `breaker_open`, or None. Raises BrokerError."""
        entry = await self._endpoints.get(f"{HEALTH}.{session_id}")
        if entry is None or entry.value is None:
            return None
        state = _endpoint_state(entry.key, entry.value)
        return _WHY_BLOCKED.get(state.state) if state is not None else None


class DeadLetterSender:
    """Sends the dead letters of one redrive."""

    def __init__(self, destinations: Destinations, run: JobRun[RedriveJob]) -> None:
        """`run` is the work that it is a part of: what waits here ends with it."""
        self._to = destinations
        self._run = run
        self._job = run.job
        self._states: dict[str, tuple[float, str | None]] = {}

    async def send(self, letter: DeadLetter) -> Redriven:
        """Finds out where a dead letter goes, and sends it there."""
        if letter.redrives >= MAX_REDRIVES and not self._job.force:
            return Redriven("skipped", "needs_force")
        if letter.size:
            payload = await self._run.retry(self._to.dead.payload_of, letter)
            if payload is None:
                return Redriven("skipped", "event_gone")
            if len(payload) > self._to.broker.largest_event:
                return Redriven("skipped", "too_large")
            letter = replace(letter, payload=payload)
        match letter.kind:
            case "webhook":
                return await self._to_session(letter)
            case "actor":
                return await self._to_actor(letter)
            case "ingest":
                return await self._to_events(letter)
        return Redriven("skipped", "unknown_origin")

    def _id(self, letter: DeadLetter) -> str:
        return f"rd.{self._job.id}.{letter.sequence}"

    async def _to_session(self, letter: DeadLetter) -> Redriven:
        try:
            session = await self._run.retry(self._to.registry.find, letter.name)
        except Problem:
            return Redriven("skipped", "session_gone")
        if session.spec.webhook is None:
            return Redriven("skipped", "no_webhook")
        if not self._job.force and (why := await self._blocked(session.id)):
            return Redriven("skipped", why)
        if not letter.event_subject:
            return Redriven("skipped", "unknown_origin")
        try:
            again = Job.again(
                session.id,
                letter.payload,
                letter.event_subject,
                place_of(letter.origin.stream, letter.origin.sequence),
                unique=self._id(letter),
                run=letter.redrives + 1,
                partitions=self._to.partitions,
            )
        except BadEvent:
            return Redriven("skipped", "undecodable")
        while not self._job.dry_run and not await self._to.room.taken(session.id, len(letter.payload)):
            await self._run.pause()
        try:
            return await self._store(again.subject, letter, again.headers)
        finally:
            self._to.room.settled(session.id)

    async def _blocked(self, session_id: str) -> str | None:
        """Why a session takes nothing: read once a second at most, and not for each dead letter."""
        now = asyncio.get_running_loop().time()
        asked, why = self._states.get(session_id, (0.0, None))
        if now - asked >= STATE_SECONDS:
            why = await self._run.retry(self._to.blocked, session_id)
            if len(self._states) >= MAX_STATES:
                self._states.clear()
            self._states[session_id] = (now, why)
        return why

    async def _to_events(self, letter: DeadLetter) -> Redriven:
        if letter.name in (HOOKS, RETRIES):
            # A job that could not be read: the event in it was fanned out long ago.
            return Redriven("skipped", "no_way_back")
        try:
            # One whose data are still refused would only become a dead letter again.
            event = decode(letter.payload)
        except BadEvent:
            return Redriven("skipped", "undecodable")
        if catalogue.ending(event.subject.domain, event.type, event.data) is not None:
            return await self._to_run(letter, event)
        # Not under the event's own id: a publisher that bypassed the router may have used it within the dedup window.
        return await self._store(event.subject, letter, {}, is_event=True)

    async def _to_run(self, letter: DeadLetter, event: Event) -> Redriven:
        """Ends the run of a terminal event, unless another one has."""
        if self._job.dry_run:
            return SENT

        async def end() -> Ack:
            return await self._to.runs.end(event, letter.payload, dedup=self._id(letter))

        while True:
            try:
                return Redriven("sent", "sent_before") if (await self._run.retry(end)).duplicate else SENT
            except RunConflict:
                return Redriven("skipped", "run_over")
            except Refused as refusal:
                if not has_no_room(refusal):
                    return Redriven("skipped", "too_large" if is_too_large(refusal) else "refused")
            await self._run.pause()

    async def _store(
        self, subject: str, letter: DeadLetter, headers: dict[str, str], *, is_event: bool = False
    ) -> Redriven:
        if self._job.dry_run:
            return SENT
        store = self._to.broker.store_event if is_event else self._to.broker.store
        while True:
            try:
                ack = await store(subject, letter.payload, {**headers, "Nats-Msg-Id": self._id(letter)})
                return Redriven("sent", "sent_before") if ack.duplicate else SENT
            except Refused as refusal:
                if not has_no_room(refusal):
                    return Redriven("skipped", "too_large" if is_too_large(refusal) else "refused")
                log.debug(
                    "the stream is full; the redrive tries again",
                    extra={"job": self._job.id, "fault": refusal.description},
                )
            except Cut:
                return Redriven("skipped", "too_large")
            except BrokerError as fault:
                log.debug(
                    "NATS does not answer; the redrive tries again", extra={"job": self._job.id, "fault": str(fault)}
                )
            await self._run.pause()

    async def _to_actor(self, letter: DeadLetter) -> Redriven:
        """Hands the event to the actor that gave it up, and waits until it is settled."""
        if not letter.back.startswith("cmd."):
            return Redriven("skipped", "no_way_back")
        if self._job.dry_run:
            return await self._would_answer(letter)
        # Packed here, not as JSON: the event's bytes are not text.
        request = msgpack.packb({"id": self._id(letter), "event": letter.payload})
        unanswered = 0
        while True:
            try:
                reply = await self._to.broker.connection.ask(
                    letter.back,
                    request,
                    {"Content-Type": "application/msgpack"},
                    timeout=self._to.settings.answer_timeout,
                )
            except NoResponders:
                return Redriven("skipped", "actor_absent")
            except Refused:
                return Redriven("skipped", "too_large")
            except Timeout:
                # Asked again under the same id, it joins the first: the actor does not receive the event twice.
                unanswered += self._to.broker.connection.connected
                if unanswered >= self._to.settings.max_timeouts:
                    return Redriven("skipped", "no_answer")
            else:
                code = header(reply.headers, b"Nats-Service-Error-Code")
                if code is None:
                    return await self._answered(letter, reply.payload)
                if code != "503":
                    return Redriven("skipped", "undecodable" if code == "422" else "refused")
            await self._run.pause()

    async def _would_answer(self, letter: DeadLetter) -> Redriven:
        try:
            await self._to.broker.connection.ask(f"$SRV.PING.{letter.name}", b"", timeout=2)
        except NoResponders:
            return Redriven("skipped", "actor_absent")
        except BrokerError:
            return Redriven("skipped", "no_answer")
        return SENT

    async def _answered(self, letter: DeadLetter, payload: bytes) -> Redriven:
        try:
            said = msgpack.unpackb(payload, raw=False)
            outcome, reason, detail = said["outcome"], str(said.get("reason", "")), str(said.get("detail", ""))
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
            return Redriven("skipped", "bad_answer")
        if outcome == "acked":
            return SENT
        # The dead letter stays, with what is known now: the new one is stored first, then the old one removed.
        await self._run.retry(self._add_again, letter, reason, detail)
        await self._run.retry(self._to.dead.remove, letter.sequence)
        if reason == "attempts_spent":
            await self._run.sleep(self._to.settings.after_crash)
        return Redriven("failed", reason, detail)

    async def _add_again(self, letter: DeadLetter, reason: str, detail: str) -> None:
        await self._to.dead.add_again(letter, reason=reason, detail=detail, attempts=1, id=self._id(letter))
