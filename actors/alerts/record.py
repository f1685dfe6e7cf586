"""Lets cameras record when an alert of a rule with `record` fires: one command for each alert, and an event where it is refused."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.alerts.signals import Signal
from actors.system.caller import PRINCIPAL_HEADER
from actors.system.context import Context
from router.codec import to_json
from router.errors import BrokerError, NoResponders
from router.event import new_id
from router.nats.connection import Connection
from router.nats.headers import header
from router.subject import escape
from router.timing import full_jitter

log = logging.getLogger(__name__)

# Alerts whose command is known to have been given; an event that comes again gives none.
MAX_KNOWN = 10_000
MAX_WAITING = 1000
ANSWER_SECONDS = 5.0
# A camera's process that is being started again is waited for so long, in seconds.
PATIENT_SECONDS = 30.0
# What happened longer ago than this, in seconds, is not to be seen any more: after an outage nothing is recorded for it.
LATE_SECONDS = 300.0


@dataclass(frozen=True)
class RecordingOrder:
    """A camera is to record because of an alert."""

    rule: str
    key: str
    camera: str
    seconds: float


class RuleRecordings:
    """The commands that alerts give to cameras. They wait in order; alerts do not wait for them."""

    def __init__(self, ctx: Context, connection: Connection) -> None:
        self._ctx = ctx
        self._connection = connection
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._orders: asyncio.Queue[RecordingOrder] = asyncio.Queue(MAX_WAITING)
        ctx.source("recordings", self._run, None)

    def order(self, signal: Signal, now: int) -> None:
        """Takes a signal; one that opens an alert of a rule with `record` makes a command. `now` in ns."""
        record = signal.rule.record
        if record is None or signal.kind != "firing":
            return
        alert = (signal.rule.name, signal.key, signal.alert)
        if alert in self._known:
            return
        self._known[alert] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        age = (now - signal.at) / 1e9
        camera = record.camera.fill(signal.scope, 200)
        if age > LATE_SECONDS:
            log.warning(
                "alert is too old to record for", extra={"rule": signal.rule.name, "camera": camera, "age": round(age)}
            )
            return
        try:
            self._orders.put_nowait(RecordingOrder(signal.rule.name, signal.key, camera, record.seconds))
        except asyncio.QueueFull:
            log.warning(
                "too many recordings wait; one is not begun", extra={"rule": signal.rule.name, "camera": camera}
            )

    async def _run(self, beat: Callable[[], None]) -> None:
        while True:
            order = await self._orders.get()
            if (refusal := await self._give(order)) is None:
                log.info("rule lets a camera record", extra={"rule": order.rule, "camera": order.camera})
                continue
            log.warning(
                "camera does not record for a rule",
                extra={"rule": order.rule, "camera": order.camera, "reason": refusal},
            )
            data = {"rule": order.rule, "key": order.key, "camera": order.camera, "reason": refusal}
            await self._tell(data)

    async def _give(self, order: RecordingOrder) -> str | None:
        """Gives the command; why it was refused, or None."""
        arguments = {"seconds": order.seconds, "label": f"alert {order.rule}"}
        headers = {"Content-Type": "application/json", PRINCIPAL_HEADER: f"rule {order.rule}"}
        subject = f"cmd.camera.{escape(order.camera)}.start_recording"
        until, failures = self._ctx.now() + PATIENT_SECONDS, 0
        while True:
            try:
                reply = await self._connection.ask(subject, to_json(arguments), headers, ANSWER_SECONDS)
                return header(reply.headers, b"Nats-Service-Error")
            except BrokerError as fault:
                failures += 1
                if self._ctx.now() > until:
                    missing = isinstance(fault, NoResponders)
                    return f"no camera {order.camera!r} serves" if missing else "the camera does not answer"
                await self._ctx.sleep(full_jitter(failures, 0.1, 2.0))

    async def _tell(self, data: dict[str, Any]) -> None:
        try:
            await self._ctx.publish("system.alerts.recording_refused", data, id=new_id())
        except BrokerError as fault:
            log.warning("refused recording could not be told", extra={"fault": str(fault)})
